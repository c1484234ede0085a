// Package policycmd has the commands of `rolecall policy`, which check and format policy
// documents.
//
// It has no rules of its own: they are in internal/policy.
package policycmd

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/policyfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding/report"
	"github.com/rolecall/rolecall/internal/policy"
)

// New returns `rolecall policy`.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:     "policy",
		Aliases: []string{"policies"},
		Short:   "Check and format IAM policy documents",
		Example: `  rolecall policy lint policy.json
  rolecall policy fmt --write policy.json`,
	}, newPolicyLint(sys), newPolicyFmt(sys))
}

func newPolicyLint(sys cli.System) *cobra.Command {
	var (
		kind, account string
		output        *string
		choices       policyfile.Choices
	)
	cmd := &cobra.Command{
		Use:   "lint FILE|FOLDER...",
		Short: "Find what AWS refuses in policy documents, and what it silently accepts",
		Long: `Check policy documents: what AWS would refuse, with its words; what allows more
than it seems to; what can never match. Each finding has a place, a reason and,
where there is an obvious one, an edit. FILE may be - for standard input. FOLDER stands
for all files *.json in it and below, except hidden ones.

The kind of a document is told from its elements unless --kind names it. Each finding
has a code; --ignore CODE=REASON suppresses those of a rule, which are still counted.

Exit codes: 0 nothing but warnings, 1 an error or a security finding (see --fail-on),
2 wrong usage.`,
		Args: policyfile.Needed,
		Example: `  rolecall policy lint policy.json
  rolecall policy lint --kind trust --account 111122223333 -o sarif trust.json
  aws iam get-role --role-name app --query Role.AssumeRolePolicyDocument | rolecall policy lint -`,
		RunE: func(_ *cobra.Command, files []string) error {
			checked, err := policyfile.Lint(sys.Stdin, files, kind, policy.LintOptions{Account: account}, &choices)
			if err != nil {
				return err
			}
			return policyfile.Report(sys, *output, checked, &choices)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "what the documents are: "+strings.Join(policyfile.Kinds, ", "))
	cmd.Flags().StringVar(&account, "account", "",
		"the account that owns the documents, 12 digits, to find trust in other accounts")
	_ = cmd.RegisterFlagCompletionFunc("kind",
		cobra.FixedCompletions(policyfile.Kinds, cobra.ShellCompDirectiveNoFileComp))
	choices.Flags(cmd)
	output = cli.Output(cmd, report.Formats()...)
	return cmd
}

func newPolicyFmt(sys cli.System) *cobra.Command {
	var write, check bool
	cmd := &cobra.Command{
		Use:   "fmt FILE...",
		Short: "Format policy documents",
		Long: `Write policy documents in one form: elements in the order of the grammar, two
spaces a level. Values stay as written. The result goes to standard output, or with
--write back to the files. FILE may be - for standard input.

Exit codes: 0 done; 1 with --check, a file is not formatted; 2 a file is not JSON.`,
		Args: policyfile.Needed,
		Example: `  rolecall policy fmt policy.json
  rolecall policy fmt --write *.json
  rolecall policy fmt --check *.json`,
		RunE: func(_ *cobra.Command, files []string) error { return formatFiles(sys, files, write, check) },
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the result to the files")
	cmd.Flags().BoolVar(&check, "check", false, "print the names of files that are not formatted, and change nothing")
	cmd.MarkFlagsMutuallyExclusive("write", "check")
	return cmd
}

// formatFiles writes nothing unless all files can be formatted.
func formatFiles(sys cli.System, files []string, write, check bool) error {
	before, after := make([][]byte, len(files)), make([][]byte, len(files))
	for i, file := range files {
		name, text, err := policyfile.Read(sys.Stdin, file)
		if err != nil {
			return err
		}
		if before[i] = text; write && file == "-" {
			return fault.New(fault.Usage, "--write needs files, not standard input")
		}
		if after[i], err = policy.Format(name, text); err != nil {
			return policyfile.Fault(err)
		}
	}
	unformatted := 0
	for i, file := range files {
		same := bytes.Equal(before[i], after[i])
		switch {
		case check && !same:
			unformatted++
			fmt.Fprintln(sys.Stdout, file)
		case write && !same:
			if err := policyfile.Replace(file, after[i]); err != nil {
				return err
			}
		case !check && !write:
			if _, err := sys.Stdout.Write(after[i]); err != nil {
				return fmt.Errorf("print policy: %w", err)
			}
		}
	}
	if unformatted > 0 {
		return fault.New(fault.Denied, "%s not formatted", report.Of(unformatted, len(files), "file")).
			Hint("rolecall policy fmt --write FILE...")
	}
	return nil
}
