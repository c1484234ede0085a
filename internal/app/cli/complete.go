package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// CompletionTimeout is how long a shell waits for what has to be asked for: somebody has
// pressed a key.
const CompletionTimeout = 3 * time.Second

// CompleteFlag lets shells offer the values of a flag that has a few.
func CompleteFlag(cmd *cobra.Command, flag string, values ...string) {
	offer := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // no such flag
	}
}

// CompleteFiles lets shells offer files with these extensions, or any.
func CompleteFiles(cmd *cobra.Command, flag string, extensions ...string) {
	if err := cmd.MarkFlagFilename(flag, extensions...); err != nil {
		panic(err) // no such flag
	}
}

// Candidates looks for what a shell may offer, in a short time. What fails is not said:
// the shell would print it in the middle of the line.
type Candidates func(ctx context.Context, args []string, toComplete string) ([]string, error)

// CompleteFound lets shells offer what is found, and no files.
func CompleteFound(find Candidates) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), CompletionTimeout)
		defer cancel()
		found, err := find(ctx, args, toComplete)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		fits := func(word string) bool { return !strings.HasPrefix(word, toComplete) }
		return slices.DeleteFunc(found, fits), cobra.ShellCompDirectiveNoFileComp
	}
}
