// Package flags has the groups of flags that several commands share, each once: how to
// reach the cluster, read an issuer, open a key store, log, inject; with what makes the
// thing that the flags describe.
//
// It knows no command.
package flags

import "github.com/spf13/cobra"

// logConfig is how a server logs.
type Logs struct{ Format, Level string }

func (c *Logs) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.Format, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&c.Level, "log-level", "info", "debug, info, warn or error")
}
