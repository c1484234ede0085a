package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

const (
	// realGo is the variable that says where the real go is.
	realGo = "MUTATE_GO"
	// notViable is the exit code that gremlins takes for a mutant that does not
	// compile.
	notViable = 2
	// memory is what a mutant may use: one that appends forever must not take
	// the machine with it.
	memory = 8 << 30
)

// shim is go, as gremlins calls it. go test exits with 1 for tests that fail and
// for those that do not compile; here the latter is another code. The profile
// that says what is covered is turned around: covered is what Go does not say is
// not covered.
func shim(args []string) int {
	isTest := len(args) > 0 && args[0] == "test"
	profile := ""
	if isTest {
		more := []string{"test", "-vet=off"}
		if i := slices.Index(args, "-coverprofile"); i >= 0 && i+1 < len(args) {
			profile = args[i+1]
			more = append(more, "-count=1") // how long this takes is how long a mutant may take
		}
		args = append(more, args[1:]...)
		limit := syscall.Rlimit{Cur: memory, Max: memory}
		if err := syscall.Setrlimit(syscall.RLIMIT_AS, &limit); err != nil {
			return fail(err)
		}
	}
	var said bytes.Buffer
	cmd := exec.Command(os.Getenv(realGo), args...) //nolint:noctx // gremlins ends it
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, &said, &said
	err := cmd.Run()
	os.Stdout.Write(said.Bytes())
	if failure, isFailure := errors.AsType[*exec.ExitError](err); isFailure {
		if isTest && (strings.Contains(said.String(),
			"[build failed]") || strings.Contains(said.String(), "[setup failed]")) {
			return notViable
		}
		return max(1, failure.ExitCode())
	}
	if err == nil && profile != "" {
		err = coverGaps(profile)
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "mutate:", err)
	return 1
}

// coverGaps rewrites a profile of coverage, for which see coveredOf.
func coverGaps(path string) error {
	profile, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	covered, err := coveredOf(string(profile))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(covered), 0o600)
}

// place is a line and a column.
type place struct{ line, column int }

func (p place) compare(q place) int {
	if p.line != q.line {
		return p.line - q.line
	}
	return p.column - q.column
}

type block struct{ from, to place }

// coveredOf returns the profile in which all is covered but the blocks that were
// not run.
func coveredOf(profile string) (string, error) {
	missed := map[string][]block{}
	lines := strings.Split(strings.TrimSpace(profile), "\n")
	for _, line := range lines[1:] {
		file, rest, _ := strings.Cut(line, ":")
		var b block
		var statements, runs int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.from.line, &b.from.column, &b.to.line, &b.to.column,
			&statements, &runs); err != nil {
			return "", fmt.Errorf("%q of the profile cannot be read: %w", line, err)
		}
		missed[file] = append(missed[file], block{})
		if runs == 0 {
			missed[file][len(missed[file])-1] = b
		}
	}
	var out strings.Builder
	out.WriteString(lines[0] + "\n")
	for _, file := range slices.Sorted(maps.Keys(missed)) {
		at := place{1, 1}
		slices.SortFunc(missed[file], func(a, b block) int { return a.from.compare(b.from) })
		for _, b := range missed[file] {
			if b.from.compare(at) > 0 {
				fmt.Fprintf(&out, "%s:%d.%d,%d.%d 1 1\n", file, at.line, at.column, b.from.line, b.from.column)
			}
			if b.to.compare(at) > 0 {
				at = b.to
			}
		}
		fmt.Fprintf(&out, "%s:%d.%d,%d.%d 1 1\n", file, at.line, at.column, 1_000_000, 1)
	}
	return out.String(), nil
}
