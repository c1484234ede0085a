package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
)

// outputFlag adds -o and returns where its value will be.
func Output(cmd *cobra.Command, formats ...string) *string {
	output := new(string)
	cmd.Flags().StringVarP(output, "output", "o", formats[0], "how to print: "+strings.Join(formats, " or "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if slices.Contains(formats, *output) {
			return run(cmd, args)
		}
		return fault.New(fault.Usage, "output format %q: want %s", *output, strings.Join(formats, " or "))
	}
	return output
}
