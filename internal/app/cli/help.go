package cli

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groupKey marks a flag with the heading that help shows it under, and a command with
// its headings, in order.
const groupKey = "rolecall.io/group"

// Group adds the flags that add defines to cmd, under a heading of their own in its help.
// Flags outside all groups are the command's own, which help shows first.
func Group(cmd *cobra.Command, heading string, add func(*pflag.FlagSet)) {
	set := pflag.NewFlagSet(heading, pflag.ContinueOnError)
	set.SortFlags = false
	add(set)
	set.VisitAll(func(f *pflag.Flag) {
		if f.Annotations == nil {
			f.Annotations = map[string][]string{}
		}
		f.Annotations[groupKey] = []string{heading}
	})
	cmd.Flags().AddFlagSet(set)
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	if known := cmd.Annotations[groupKey]; !strings.Contains("\n"+known, "\n"+heading+"\n") {
		cmd.Annotations[groupKey] = known + heading + "\n"
	}
}

// SetHelp makes root and all commands below it print their help as this program does:
// what it is for, how it is called, examples, commands by group, its own flags, then the
// shared flags by group. It uses no template, which would keep the linker from leaving
// methods out that nobody calls.
func SetHelp(sys System, root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := io.WriteString(cmd.OutOrStderr(), sys.AsCalled(usage(cmd, columns(sys))))
		return err
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		about := strings.TrimSpace(cmp.Or(cmd.Long, cmd.Short+"."))
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", sys.AsCalled(about), sys.AsCalled(usage(cmd, columns(sys))))
	})
	root.SetHelpCommand(newHelp())
}

// newHelp is cobra's help command, but what it does not know is wrong usage.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]...",
		Short: "Explain a command",
		Long:  `Explain a command, as COMMAND --help does.`,
		Example: `  rolecall help run
  rolecall help association create`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			found, rest, err := cmd.Root().Find(args)
			var names []string
			if err == nil && len(rest) == 0 {
				for _, below := range found.Commands() {
					if below.IsAvailableCommand() {
						names = append(names, below.Name()+"\t"+below.Short)
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := FindCommand(cmd.Root(), args); err != nil {
				return err
			}
			found, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return NoSuchCommand(found, rest)
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

func usage(cmd *cobra.Command, columns int) string {
	out := &strings.Builder{}
	printUsage(out, cmd, columns)
	return out.String()
}

func printUsage(out io.Writer, cmd *cobra.Command, columns int) {
	fmt.Fprint(out, "Usage:\n")
	if !cmd.HasAvailableSubCommands() || takesFlags(cmd) {
		fmt.Fprintf(out, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(out, "  %s COMMAND\n", cmd.CommandPath())
	}
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(out, "\nAliases:\n  %s\n", cmd.NameAndAliases())
	}
	if cmd.HasExample() {
		fmt.Fprintf(out, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	printCommands(out, cmd)
	printFlags(out, cmd, columns)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(out, "\n%s COMMAND --help says more about a command.\n", cmd.CommandPath())
	}
}

// takesFlags reports whether a command that holds others does something by itself.
func takesFlags(cmd *cobra.Command) bool {
	own := false
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		own = own || !f.Hidden && f.Name != "help" && f.Name != "version"
	})
	return own
}

func printCommands(out io.Writer, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	list := func(heading, group string) {
		first := true
		for _, below := range cmd.Commands() {
			if below.GroupID != group || !below.IsAvailableCommand() && below.Name() != "help" {
				continue
			}
			if first {
				fmt.Fprintf(out, "\n%s:\n", heading)
				first = false
			}
			fmt.Fprintf(out, "  %-*s  %s\n", cmd.NamePadding(), below.Name(), below.Short)
		}
	}
	for _, group := range cmd.Groups() {
		list(group.Title, group.ID)
	}
	if len(cmd.Groups()) == 0 {
		list("Commands", "")
		return
	}
	list("Other commands", "")
}

func printFlags(out io.Writer, cmd *cobra.Command, columns int) {
	groups := map[string]*pflag.FlagSet{"": pflag.NewFlagSet("", pflag.ContinueOnError)}
	headings := strings.Split(cmd.Annotations[groupKey], "\n") // ends with "", the command's own
	for _, heading := range headings {
		groups[heading] = pflag.NewFlagSet(heading, pflag.ContinueOnError)
		groups[heading].SortFlags = false
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		heading := ""
		if marked := f.Annotations[groupKey]; len(marked) > 0 && groups[marked[0]] != nil {
			heading = marked[0]
		}
		groups[heading].AddFlag(f)
	})
	if groups[""].HasAvailableFlags() {
		fmt.Fprintf(out, "\nFlags:\n%s", groups[""].FlagUsagesWrapped(columns))
	}
	for _, heading := range headings {
		if heading != "" && groups[heading].HasAvailableFlags() {
			fmt.Fprintf(out, "\n%s:\n%s", heading, groups[heading].FlagUsagesWrapped(columns))
		}
	}
	if inherited := cmd.InheritedFlags(); inherited.HasAvailableFlags() {
		fmt.Fprintf(out, "\nFlags of all its commands:\n%s", inherited.FlagUsagesWrapped(columns))
	}
}

// Columns that help is wrapped to: those of the terminal where a shell says them.
const defaultColumns = 100

func columns(sys System) int {
	if sys.Getenv != nil {
		if told, err := strconv.Atoi(sys.Getenv("COLUMNS")); err == nil && told >= 60 {
			return told
		}
	}
	return defaultColumns
}
