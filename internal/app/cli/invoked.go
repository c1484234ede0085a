package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// standIns are the commands that stand for programs whose names are fixed in charts and
// manifests of others (spec charts §2).
var standIns = map[string][]string{
	"webhook":                {"serve", "webhook"},
	"eks-pod-identity-agent": {"serve", "agent"},
}

// runner is the program that starts another in AWS's images, which is its first argument.
const runner = "go-runner"

// Invoked returns the command line for a program that was started as file with args: an image
// has it under the names of the programs that it replaces.
func Invoked(file string, args []string) []string {
	name := base(file)
	if name == runner && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = base(args[0]), args[1:]
	}
	return slices.Concat(standIns[name], args)
}

// TakesWords marks a command whose switches may be followed by true or false, in any case,
// as a word of its own, as charts write them that have a map of flags.
const TakesWords = "rolecall.io/takes-words"

// JoinWords makes --switch=true of --switch true where the command takes that.
func JoinWords(root *cobra.Command, args []string) []string {
	found, _, err := root.Find(args)
	if err != nil || found.Annotations[TakesWords] == "" {
		return args
	}
	isSwitch := func(word string) bool {
		var flag *pflag.Flag
		switch name, long := strings.CutPrefix(word, "--"); {
		case long:
			flag = found.Flag(name)
		case len(word) == 2 && word[0] == '-':
			flag = found.Flags().ShorthandLookup(word[1:])
		}
		return flag != nil && flag.Value.Type() == "bool"
	}
	var joined []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(joined, args[i:]...)
		}
		word := args[i]
		if i+1 < len(args) && isSwitch(word) {
			if value := strings.ToLower(args[i+1]); value == "true" || value == "false" {
				i++
				word += "=" + value
			}
		}
		joined = append(joined, word)
	}
	return joined
}
