package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
)

// Output adds -o, refuses formats that the command does not have, and returns where the
// one that was chosen will be. The first format is the default.
func Output(cmd *cobra.Command, formats ...string) *string {
	output := new(string)
	cmd.Flags().StringVarP(output, "output", "o", formats[0], "how to print: "+Choice(formats))
	CompleteFlag(cmd, "output", formats...)
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if slices.Contains(formats, *output) {
			return run(cmd, args)
		}
		return fault.New(fault.Usage, "output format %q: want %s", *output, Choice(formats))
	}
	return output
}
