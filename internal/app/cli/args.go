package cli

import (
	"slices"
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
		return err.Hint("did you mean %s?", Choice(similar))
	}
	return err.Hint("%s --help lists the commands", cmd.CommandPath())
}

// FindCommand refuses a command line whose first word that is not a command of the tree
// stands where one is wanted. Cobra complains of flags first, and shows help where it is
// asked for: neither says what is wrong with "nosuch --flag" and "nosuch --help".
func FindCommand(root *cobra.Command, args []string) error {
	asked := []string{cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}
	if len(args) > 0 && slices.Contains(asked, args[0]) {
		return nil // cobra adds these when it runs
	}
	found, rest, err := root.Find(args)
	if err != nil || !found.HasSubCommands() || len(rest) == 0 || strings.HasPrefix(rest[0], "-") {
		return err
	}
	return NoSuchCommand(found, rest)
}

// Parent makes a command of commands: alone it shows its help, and a word that names no
// command is said to be unknown.
func Parent(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.Args = NoSuchCommand
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(commands...)
	return cmd
}

// NoArguments is the Args of commands that take flags only.
func NoArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return NoSuchCommand(cmd, args)
	}
	return fault.New(fault.Usage, "unexpected argument %q", args[0]).
		Hint("%s --help shows its flags and arguments", cmd.CommandPath())
}

// Usage is a refusal of how a command was called.
func Usage(format string, args ...any) *fault.Error { return fault.New(fault.Usage, format, args...) }

// LowerFirst begins a sentence of somebody else's as the messages of this program begin.
func LowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// Choice lists words of which one is wanted: a, b or c.
func Choice(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
