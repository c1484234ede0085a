// Command mutate breaks rooms on purpose, one operator at a time, and sees
// whether the room's own tests notice: mutation testing with gremlins.
//
//	mutate -gremlins FILE glob grant agent:cache.go,lru.go
//
// For each room it prints how many mutants there are and what became of them,
// names those that survived, and fails when less than -floor percent of those
// that are not named as equivalent in equivalent.txt were killed.
//
// Gremlins has three habits that would make the numbers better or worse than
// they are. A mutant that does not compile counts as killed, code between the
// blocks of Go's coverage (the conditions of a switch's cases, above all) counts
// as not covered and is not tried, and the whole module is copied for each
// worker, caches too. So gremlins works on a copy of what Git knows of, and finds
// this program in the place of go: see shim.go.
//
// It does not invent mutants or run tests itself.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// operators are gremlins' mutations, all of them: by default it leaves out what
// policies are made of, && and ||.
var operators = []string{
	"arithmetic-base", "conditionals-boundary", "conditionals-negation", "increment-decrement",
	"invert-assignments", "invert-bitwise", "invert-bwassign", "invert-logical", "invert-loopctrl",
	"invert-negatives", "remove-self-assignments",
}

func main() {
	if filepath.Base(os.Args[0]) == "go" {
		os.Exit(shim(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutate", flag.ExitOnError)
	gremlins := flags.String("gremlins", "gremlins", "the `program` that makes the mutants")
	floor := flags.Float64("floor", 90, "`percent` of the mutants of a room that must be killed")
	workers := flags.Int("workers", runtime.NumCPU(), "`mutants` at a time")
	patience := flags.Int("patience", 20, "`times` as long as the tests take is long enough to say that a mutant hangs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	named, err := os.ReadFile("hack/mutate/equivalent.txt")
	if err != nil {
		return err
	}
	equivalents, err := parseEquivalents(string(named))
	if err != nil {
		return err
	}
	program, err := filepath.Abs(*gremlins)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	t := tree{work: work, gremlins: program, workers: *workers, patience: *patience}
	if err := t.prepare(ctx); err != nil {
		return err
	}
	var failed []string
	var tallies []*tally
	for _, argument := range flags.Args() {
		room, files, _ := strings.Cut(argument, ":")
		if _, err := os.Stat(filepath.Join("internal", room)); errors.Is(err, os.ErrNotExist) {
			fmt.Fprintf(out, "%s: there is no such room\n", room)
			continue
		}
		mutants, err := t.unleash(ctx, room, files)
		if err != nil {
			return fmt.Errorf("%s: %w", room, err)
		}
		one := count(room, mutants, equivalents, files == "")
		one.report(out)
		if one.percent() < *floor || len(one.stale) > 0 {
			failed = append(failed, room)
		}
		tallies = append(tallies, one)
	}
	printTable(out, tallies)
	if len(failed) > 0 {
		return fmt.Errorf("less than %g %% killed, or a line of equivalent.txt too much: %s", *floor,
			strings.Join(failed, ", "))
	}
	return nil
}

// tree is a copy of the repository, and how mutants are made of it.
type tree struct {
	work, gremlins    string
	workers, patience int
}

func (t *tree) root() string { return filepath.Join(t.work, "tree") }

// prepare copies what Git knows of, and puts this program before the real go.
func (t *tree) prepare(ctx context.Context) error {
	list, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others",
		"--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return err
		}
		to := filepath.Join(t.root(), name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(t.work, "bin"), 0o700); err != nil {
		return err
	}
	return os.Symlink(self, filepath.Join(t.work, "bin", "go"))
}

// unleash runs gremlins on one room, or on some files of it, and returns what
// became of each mutant.
func (t *tree) unleash(ctx context.Context, room, files string) ([]mutant, error) {
	report := filepath.Join(t.work, "report.json")
	if err := os.RemoveAll(report); err != nil {
		return nil, err
	}
	args := []string{
		"unleash", "./" + filepath.Join("internal", room), "--output", report, "--exclude-files", "/",
		"--workers", fmt.Sprint(t.workers), "--timeout-coefficient", fmt.Sprint(t.patience),
	}
	for _, operator := range operators {
		args = append(args, "--"+operator)
	}
	real, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, t.gremlins, args...)
	cmd.Dir = t.root()
	cmd.Env = append(os.Environ(), "TMPDIR="+t.work, realGo+"="+real,
		"PATH="+filepath.Join(t.work, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	if files != "" {
		others, err := otherFiles(filepath.Join(t.root(), "internal", room), strings.Split(files, ","))
		if err != nil {
			return nil, err
		}
		for _, other := range others {
			cmd.Args = append(cmd.Args, "--exclude-files", "^"+regexp.QuoteMeta(other)+"$")
		}
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gremlins: %w\n%s", err, said)
	}
	text, err := os.ReadFile(report)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // nothing to break
	}
	if err != nil {
		return nil, err
	}
	return readReport(text, filepath.Join(t.root(), "internal", room), room)
}

func otherFiles(folder string, wanted []string) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(folder, "*.go"))
	var others []string
	for _, path := range all {
		if name := filepath.Base(path); !slices.Contains(wanted, name) {
			others = append(others, name)
		}
	}
	return others, err
}

func readReport(text []byte, folder, room string) ([]mutant, error) {
	var report struct {
		Files []struct {
			Name      string `json:"file_name"`
			Mutations []struct {
				Type, Status string
				Line, Column int
			} `json:"mutations"`
		} `json:"files"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, err
	}
	var all []mutant
	for _, file := range report.Files {
		anchors, err := parseAnchors(filepath.Join(folder, file.Name))
		if err != nil {
			return nil, err
		}
		for _, m := range file.Mutations {
			function, expression := anchors.at(m.Line, m.Column)
			if m.Type == "INVERT_BITWISE" && strings.HasPrefix(expression, "&") {
				m.Status = "NOT VIABLE" // gremlins takes the address of something for a bitwise and
			}
			all = append(all, mutant{
				name:   name{room + "/" + file.Name, function, m.Type, expression},
				line:   m.Line,
				status: m.Status,
			})
		}
	}
	slices.SortFunc(all, func(a, b mutant) int {
		if a.file != b.file {
			return strings.Compare(a.file, b.file)
		}
		return a.line - b.line
	})
	return all, nil
}

func printTable(out io.Writer, tallies []*tally) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table,
		"room\tmutants\tkilled\tof these hung\tsurvived\tnot covered\tequivalent\tkilled of the others\t")
	for _, t := range tallies {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f %%\t\n",
			t.room, t.mutants, t.killed, len(t.hung), len(t.survived), len(t.notCovered), t.equivalent, t.percent())
	}
	table.Flush()
}
