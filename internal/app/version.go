package app

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
)

func newVersion(sys cli.System) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(sys.Stdout, cli.Version())
			return nil
		},
	}
}
