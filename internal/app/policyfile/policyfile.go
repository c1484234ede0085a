// Package policyfile reads policy documents from files, lints them, writes them back and
// prints what was found, for the commands that take documents.
//
// What is wrong with a document is decided in internal/policy.
package policyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/policy"
)

// maxDocumentFile is more than any policy may have, in bytes.
const MaxBytes = 1<<20 + 1

func ReadDocument(file, hint string) ([]byte, error) {
	opened, err := os.Open(filepath.Clean(file))
	if err != nil {
		return nil, fault.New(fault.Usage, "read policy: %w", err).Hint("%s", hint)
	}
	defer func() { _ = opened.Close() }()
	text, err := io.ReadAll(io.LimitReader(opened, MaxBytes))
	if err != nil {
		return nil, fault.New(fault.Usage, "read policy: %w", err)
	}
	return text, nil
}

// documentFault gives a document that is refused the exit code of wrong input.
func Fault(err error) error {
	refused, ok := errors.AsType[*policy.SyntaxError](err)
	if !ok {
		return err
	}
	return fault.New(fault.Usage, "%w", err).Hint("rolecall policy lint %s lists everything that is wrong in it", refused.Name)
}

// lintKinds are the values of --kind.
var Kinds = []string{"identity", "managed", "boundary", "session", "trust", "resource", "scp", "rcp", "endpoint"}

func Needed(cmd *cobra.Command, files []string) error {
	if len(files) > 0 {
		return nil
	}
	return fault.New(fault.Usage, "no file given").Hint("%s policy.json", cmd.CommandPath())
}

// Linted is one document and what was found in it.
type Linted struct {
	File     string           `json:"file"`
	Kind     string           `json:"kind"`
	Findings []policy.Finding `json:"findings"`
	Text     []byte
}

func Lint(stdin io.Reader, files []string, kind string, options policy.LintOptions) ([]Linted, error) {
	chosen := policy.Identity
	if kind == "managed" {
		options.Managed = true
	} else if known, found := policy.ParseKind(kind); found {
		chosen = known
	} else if kind != "" {
		return nil, fault.New(fault.Usage, "--kind %q: want %s", kind, strings.Join(Kinds, ", "))
	}
	checked := make([]Linted, 0, len(files))
	for _, file := range files {
		name, text, err := Read(stdin, file)
		if err != nil {
			return nil, err
		}
		if kind == "" {
			chosen = policy.GuessKind(text)
		}
		one := Linted{File: name, Kind: chosen.Source(), Findings: policy.Lint(chosen, name, text, options), Text: text}
		if one.Findings == nil {
			one.Findings = []policy.Finding{}
		}
		checked = append(checked, one)
	}
	return checked, nil
}

func Read(stdin io.Reader, file string) (name string, text []byte, err error) {
	if file != "-" {
		text, err = ReadDocument(file, "give a file with one policy document, or - for standard input")
		return file, text, err
	}
	text, err = io.ReadAll(io.LimitReader(stdin, MaxBytes))
	return "standard input", text, err
}

func PrintFindings(sys cli.System, output string, checked []Linted) error {
	counts := map[policy.Severity]int{}
	for i := range checked {
		for j := range checked[i].Findings {
			counts[checked[i].Findings[j].Severity]++
		}
	}
	var err error
	switch output {
	case "json":
		err = cli.PrintJSON(sys.Stdout, map[string]any{"documents": checked})
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

func printFindingTable(w io.Writer, checked []Linted) error {
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

// Replace writes a file anew, in one step and with the mode that it has.
func Replace(file string, text []byte) error {
	info, err := os.Stat(file)
	if err != nil {
		return fault.New(fault.Unavailable, "write policy: %w", err)
	}
	if err := atomicfile.Write(file, text, info.Mode().Perm()); err != nil {
		return fault.New(fault.Unavailable, "write policy: %w", err)
	}
	return nil
}

// PrintDiff shows a change of a document, statement by statement where it can be
// formatted.
func PrintDiff(w io.Writer, before, after []byte) {
	formatted := func(text []byte) []byte {
		if pretty, err := policy.Format("policy", text); err == nil {
			return pretty
		}
		return append(bytes.TrimRight(text, "\n"), '\n')
	}
	_, _ = w.Write(diff.Diff("present", formatted(before), "new", formatted(after)))
}
