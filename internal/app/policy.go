package app

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/policy"
)

func newPolicy(sys System) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check and format IAM policy documents",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyLint(sys), newPolicyFmt(sys))
	return cmd
}

// lintKinds are the values of --kind.
var lintKinds = []string{"identity", "managed", "boundary", "session", "trust", "resource", "scp", "rcp", "endpoint"}

func newPolicyLint(sys System) *cobra.Command {
	var (
		kind, account string
		output        *string
	)
	cmd := &cobra.Command{
		Use:   "lint FILE...",
		Short: "Find what AWS refuses in policy documents, and what it accepts in silence",
		Long: `Check policy documents: what AWS would refuse, with its words; what allows more
than it seems to; what can never match. Each finding has a place, a reason and,
where there is an obvious one, an edit. FILE may be - for standard input.

The kind of a document is told from its elements unless --kind names it.

Exit codes: 0 nothing but warnings, 1 errors or security findings, 2 wrong usage.`,
		Args: needFiles,
		RunE: func(_ *cobra.Command, files []string) error {
			checked, err := lintFiles(sys.Stdin, files, kind, policy.LintOptions{Account: account})
			if err != nil {
				return err
			}
			return printFindings(sys, *output, checked)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "what the documents are: "+strings.Join(lintKinds, ", "))
	cmd.Flags().StringVar(&account, "account", "", "the account that owns the documents, 12 digits, to find trust in other accounts")
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(lintKinds, cobra.ShellCompDirectiveNoFileComp))
	output = outputFlag(cmd, "table", "json", "sarif")
	return cmd
}

func needFiles(cmd *cobra.Command, files []string) error {
	if len(files) > 0 {
		return nil
	}
	return fault.New(fault.Usage, "no file given").Hint("%s policy.json", cmd.CommandPath())
}

// linted is one document and what was found in it.
type linted struct {
	File     string           `json:"file"`
	Kind     string           `json:"kind"`
	Findings []policy.Finding `json:"findings"`
	text     []byte
}

func lintFiles(stdin io.Reader, files []string, kind string, options policy.LintOptions) ([]linted, error) {
	chosen := policy.Identity
	if kind == "managed" {
		options.Managed = true
	} else if known, found := policy.ParseKind(kind); found {
		chosen = known
	} else if kind != "" {
		return nil, fault.New(fault.Usage, "--kind %q: want %s", kind, strings.Join(lintKinds, ", "))
	}
	checked := make([]linted, 0, len(files))
	for _, file := range files {
		name, text, err := readPolicyFile(stdin, file)
		if err != nil {
			return nil, err
		}
		if kind == "" {
			chosen = policy.GuessKind(text)
		}
		one := linted{File: name, Kind: chosen.Source(), Findings: policy.Lint(chosen, name, text, options), text: text}
		if one.Findings == nil {
			one.Findings = []policy.Finding{}
		}
		checked = append(checked, one)
	}
	return checked, nil
}

func readPolicyFile(stdin io.Reader, file string) (name string, text []byte, err error) {
	if file != "-" {
		text, err = readDocument(file, "give a file with one policy document, or - for standard input")
		return file, text, err
	}
	text, err = io.ReadAll(io.LimitReader(stdin, maxDocumentFile))
	return "standard input", text, err
}

func printFindings(sys System, output string, checked []linted) error {
	counts := map[policy.Severity]int{}
	for i := range checked {
		for j := range checked[i].Findings {
			counts[checked[i].Findings[j].Severity]++
		}
	}
	var err error
	switch output {
	case "json":
		err = printJSON(sys.Stdout, map[string]any{"documents": checked})
	case "sarif":
		err = printSARIF(sys.Stdout, checked)
	default:
		err = printFindingTable(sys.Stdout, checked)
	}
	if err != nil {
		return err
	}
	if counts[policy.Error]+counts[policy.Security] > 0 {
		return fault.New(fault.Denied, "%d errors, %d security findings, %d warnings", counts[policy.Error], counts[policy.Security], counts[policy.Warning])
	}
	return nil
}

func printFindingTable(w io.Writer, checked []linted) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range checked {
		for j := range checked[i].Findings {
			f := &checked[i].Findings[j]
			message := f.Message
			if f.AWS != "" {
				message += " (AWS says: " + f.AWS + ")"
			}
			fmt.Fprintf(table, "%s:%d:%d\t%s\t%s\t%s\n", checked[i].File, f.Line, f.Column, f.Severity, f.Rule, message)
			if fix := f.Suggested; fix != nil {
				decide := ""
				if fix.Manual {
					decide = " (yours to decide or to fill in)"
				}
				fmt.Fprintf(table, "\t\t\tfix: %s: at %d:%d write %s%s\n", fix.Description, fix.Line, fix.Column, strings.TrimSpace(fix.New), decide)
			}
			if f.Command != "" {
				fmt.Fprintf(table, "\t\t\trun: %s\n", f.Command)
			}
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	return nil
}

func newPolicyFmt(sys System) *cobra.Command {
	var write, check bool
	cmd := &cobra.Command{
		Use:   "fmt FILE...",
		Short: "Format policy documents",
		Long: `Write policy documents in one form: elements in the order of the grammar, two
spaces a level. Values stay as written. The result goes to standard output, or with
--write back to the files. FILE may be - for standard input.

Exit codes: 0 done; 1 with --check, a file is not formatted; 2 a file is not JSON.`,
		Args: needFiles,
		RunE: func(_ *cobra.Command, files []string) error { return formatFiles(sys, files, write, check) },
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the result to the files")
	cmd.Flags().BoolVar(&check, "check", false, "print the names of files that are not formatted, and change nothing")
	cmd.MarkFlagsMutuallyExclusive("write", "check")
	return cmd
}

// formatFiles writes nothing unless all files can be formatted.
func formatFiles(sys System, files []string, write, check bool) error {
	before, after := make([][]byte, len(files)), make([][]byte, len(files))
	for i, file := range files {
		name, text, err := readPolicyFile(sys.Stdin, file)
		if err != nil {
			return err
		}
		if before[i] = text; write && file == "-" {
			return fault.New(fault.Usage, "--write needs files, not standard input")
		}
		if after[i], err = policy.Format(name, text); err != nil {
			return documentFault(err)
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
			if err := replaceFile(file, after[i]); err != nil {
				return err
			}
		case !check && !write:
			if _, err := sys.Stdout.Write(after[i]); err != nil {
				return fmt.Errorf("print policy: %w", err)
			}
		}
	}
	if unformatted > 0 {
		return fault.New(fault.Denied, "%d of %d files are not formatted", unformatted, len(files)).Hint("rolecall policy fmt --write FILE...")
	}
	return nil
}

// replaceFile keeps the file's mode; a crash leaves the old text or the new.
func replaceFile(file string, text []byte) error {
	info, err := os.Stat(file)
	if err != nil {
		return fault.New(fault.Unavailable, "write policy: %w", err)
	}
	temporary := file + ".rolecall-tmp"
	if err := os.WriteFile(temporary, text, info.Mode().Perm()); err != nil {
		return fault.New(fault.Unavailable, "write policy: %w", err)
	}
	if err := os.Rename(temporary, file); err != nil {
		return fault.New(fault.Unavailable, "write policy: %w", err)
	}
	return nil
}
