// Package flags has the groups of flags that several commands share, each once: how to
// reach the cluster, read an issuer, open a key store, log, inject; with what makes the
// thing that the flags describe.
//
// It knows no command.
package flags

import (
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/obs"
)

// Logs say how a server logs.
type Logs struct{ Format, Level string }

// Add adds --log-format and --log-level.
func (c *Logs) Add(cmd *cobra.Command) {
	cli.Group(cmd, "Logs", func(f *pflag.FlagSet) {
		f.StringVar(&c.Format, "log-format", "text", "text or json")
		f.StringVar(&c.Level, "log-level", "info", "debug, info, warn or error")
	})
	cli.CompleteFlag(cmd, "log-format", "text", "json")
	cli.CompleteFlag(cmd, "log-level", "debug", "info", "warn", "error")
}

// Logger logs to standard error as the flags say.
func (c *Logs) Logger(sys cli.System) (*slog.Logger, error) {
	return obs.NewLogger(sys.Stderr, c.Format, c.Level)
}
