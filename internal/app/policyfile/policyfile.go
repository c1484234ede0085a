// Package policyfile reads policy documents from files and folders, lints them, writes them
// back and prints what was found, for the commands that take documents.
//
// It does not decide what is wrong with a document, which is for internal/policy, nor how
// findings look, which is for internal/finding/report.
package policyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/finding/report"
	"github.com/rolecall/rolecall/internal/policy"
)

// MaxBytes is more than any policy may have.
const MaxBytes = 1<<20 + 1

// StandardInput is the name of a document that was read from there.
const StandardInput = "standard input"

// ReadDocument reads a file, but no more than any policy may have. The hint is for
// files that cannot be opened.
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

// Fault gives a document that is refused the exit code of wrong input.
func Fault(err error) error {
	refused, ok := errors.AsType[*policy.SyntaxError](err)
	if !ok {
		return err
	}
	return fault.New(fault.Usage, "%w", err).
		Hint("rolecall policy lint %s lists everything that is wrong in it", refused.Name)
}

// Kinds are the values of --kind.
var Kinds = []string{"identity", "managed", "boundary", "session", "trust", "resource", "scp", "rcp", "endpoint"}

// Needed is for commands that take one file or more.
func Needed(cmd *cobra.Command, files []string) error {
	if len(files) > 0 {
		return nil
	}
	return fault.New(fault.Usage, "no file given").Hint("%s policy.json", cmd.CommandPath())
}

// Linted is one document and what was found in it.
type Linted struct {
	File     string            `json:"file"`
	Kind     string            `json:"kind"`
	Findings []finding.Finding `json:"findings"`
	Text     []byte            `json:"-"`
}

// Lint reads documents and lints each as the kind, or as what it seems to be if
// kind is empty. A folder stands for the documents in it.
func Lint(
	stdin io.Reader, paths []string, kind string, options policy.LintOptions, choices *Choices,
) ([]Linted, error) {
	if err := choices.check(); err != nil {
		return nil, err
	}
	chosen := policy.Identity
	if kind == "managed" {
		options.Managed = true
	} else if known, found := policy.ParseKind(kind); found {
		chosen = known
	} else if kind != "" {
		return nil, fault.New(fault.Usage, "--kind %q: want %s", kind, strings.Join(Kinds, ", "))
	}
	files, err := expand(paths)
	if err != nil {
		return nil, err
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
		one := Linted{
			File:     name,
			Kind:     chosen.Source(),
			Findings: policy.Lint(chosen, name, text, options),
			Text:     text,
		}
		if one.Findings == nil {
			one.Findings = []finding.Finding{}
		}
		checked = append(checked, one)
	}
	return checked, nil
}

// expand replaces folders by their documents, in the order of their names: all
// files *.json in them and below, but not what is hidden.
func expand(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			files = append(files, path) // reading it says what is wrong
			continue
		}
		before := len(files)
		err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case name != path && strings.HasPrefix(entry.Name(), "."):
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			case filepath.Ext(name) != ".json":
				return nil
			}
			// Files of a mounted ConfigMap are links.
			if info, err := os.Stat(name); err != nil || info.Mode().IsRegular() {
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			return nil, fault.New(fault.Usage, "read policies: %w", err)
		}
		if len(files) == before {
			return nil, fault.New(fault.Usage, "%s: no file *.json in it or below", path).
				Hint("name files that are called otherwise")
		}
	}
	return files, nil
}

// Read reads a file, or standard input if that is called "-", and returns what to
// call it.
func Read(stdin io.Reader, file string) (name string, text []byte, err error) {
	if file != "-" {
		text, err = ReadDocument(file, "give a file with one policy document, or - for standard input")
		return file, text, err
	}
	text, err = io.ReadAll(io.LimitReader(stdin, MaxBytes))
	return StandardInput, text, err
}

// Report prints what was found and how much was looked at. What the choices call bad
// enough is an error.
func Report(sys cli.System, output string, checked []Linted, choices *Choices) error {
	var all, findings []finding.Finding
	for i := range checked {
		choices.suppress(checked[i].Findings)
		all = append(all, checked[i].Findings...)
	}
	shown, hidden := choices.hide(checked)
	for i := range shown {
		findings = append(findings, shown[i].Findings...)
	}
	if err := report.Print(sys.Stdout, output, findings, map[string]any{"documents": shown}); err != nil {
		return err
	}
	choices.remarks(sys, hidden)
	verdict := report.Count(len(checked), "document") + ": " + report.Summary(all)
	if choices.fails(all) {
		return fault.New(fault.Denied, "%s", verdict)
	}
	fmt.Fprintln(sys.Stderr, verdict)
	return nil
}

// Replace writes a file again, in one step and with the mode that it has.
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

// PrintDiff shows a change of a document, in the bytes that it has and would have: what
// is printed can be applied as a patch.
func PrintDiff(w io.Writer, before, after []byte) {
	_, _ = w.Write(diff.Diff("present", before, "new", after))
}

// PrintFormattedDiff shows a change of a document statement by statement, where both can
// be formatted, for a new one that is not written as the present one is.
func PrintFormattedDiff(w io.Writer, before, after []byte) {
	pretty, err := policy.Format("policy", before)
	prettier, alsoErr := policy.Format("policy", after)
	if err != nil || alsoErr != nil {
		PrintDiff(w, before, after)
		return
	}
	_, _ = w.Write(diff.Diff("present, formatted", pretty, "new, formatted", prettier))
}
