package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
)

// NoSuchCommand is the Args of commands that only hold others.
func NoSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fault.New(fault.Usage, "unknown command %q for %q", args[0], cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2 // letters apart; cobra's own default
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		return err.Hint("did you mean %s?", strings.Join(similar, " or "))
	}
	return err.Hint("%s --help lists the commands", cmd.CommandPath())
}

// NoArguments is the Args of commands that take flags only.
func NoArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fault.New(fault.Usage, "unexpected argument %q", args[0]).Hint("%s --help shows what it takes", cmd.CommandPath())
}

func Usage(format string, args ...any) *fault.Error { return fault.New(fault.Usage, format, args...) }

func LowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}
