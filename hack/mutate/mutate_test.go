package main

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnchorsNameWhatWasBroken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.go")
	const text = `package a

const day = 24 * hour

type list[T any] struct{ n int }

func (l *list[T]) short(m int) bool {
	l.n++
	return l.n < m &&
		m > 0
}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := parseAnchors(path)
	if err != nil {
		t.Fatal(err)
	}
	for mark, want := range map[string][2]string{
		"* hour": {"day", "24 * hour"},
		"++":     {"list[T].short", "l.n++"},
		"< m":    {"list[T].short", "l.n < m"},
		"&&":     {"list[T].short", "l.n < m && m > 0"},
	} {
		before := text[:strings.Index(text, mark)]
		line, column := strings.Count(before, "\n")+1, len(before)-strings.LastIndexByte(before, '\n')
		function, expression := a.at(line, column)
		if diff := cmp.Diff(want, [2]string{function, expression}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", mark, diff)
		}
	}
}

// TestWhatCounts: a mutant that hangs is killed, one that does not compile is
// none, and one that is named as equivalent does not count.
func TestWhatCounts(t *testing.T) {
	t.Parallel()
	equivalents, err := parseEquivalents("# why\n\na/a.go f CONDITIONALS_BOUNDARY `x < y` both are the same\na/a.go " +
		"gone INVERT_LOGICAL `x && y` no more\n")
	if err != nil {
		t.Fatal(err)
	}
	of := func(expression, status string) mutant {
		return mutant{name: name{"a/a.go", "f", "CONDITIONALS_BOUNDARY", expression}, status: status}
	}
	got := count("a", []mutant{
		of("x < y", "LIVED"),
		of("x < z", "LIVED"),
		of("x < 1", "KILLED"),
		of("x < 2", "TIMED OUT"),
		of("x < 3", "NOT COVERED"),
		of("x < 4", "NOT VIABLE"),
	}, equivalents, true)
	if got.mutants != 5 || got.killed != 2 || got.equivalent != 1 || got.percent() != 50 {
		t.Errorf("%d mutants, %d killed, %d equivalent, %g %%; want 5, 2, 1 and 50", got.mutants, got.killed,
			got.equivalent, got.percent())
	}
	if len(got.stale) != 1 || got.stale[0].function != "gone" {
		t.Errorf("stale are %v, want the one that is not there", got.stale)
	}
}

func TestEquivalentsNeedAReason(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"a/a.go f CONDITIONALS_BOUNDARY `x < y`",
		"a/a.go f CONDITIONALS_BOUNDARY x < y because",
		"a/a.go f INVERT_LOGICAL `x` because\na/a.go f INVERT_LOGICAL `x` because",
	} {
		if _, err := parseEquivalents(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestEquivalentsAreThere: each line names a function and an expression of its file.
func TestEquivalentsAreThere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("equivalent.txt")
	if err != nil {
		t.Fatal(err)
	}
	equivalents, err := parseEquivalents(string(text))
	if err != nil || len(equivalents) == 0 {
		t.Fatalf("%d lines, %v", len(equivalents), err)
	}
	for one := range equivalents {
		a, err := parseAnchors(filepath.Join("../../internal", one.file))
		if err != nil {
			t.Error(err)
			continue
		}
		found := false
		ast.Inspect(a.file, func(n ast.Node) bool {
			var operator token.Pos
			switch n := n.(type) {
			case *ast.BinaryExpr:
				operator = n.OpPos
			case *ast.BranchStmt:
				operator = n.TokPos
			default:
				return true
			}
			at := a.set.Position(operator)
			function, expression := a.at(at.Line, at.Column)
			found = found || function == one.function && expression == one.expression
			return true
		})
		if !found {
			t.Errorf("%s is not there", one)
		}
	}
}

// TestCoverageIsTurnedAround: between blocks that were run or not there is code
// that no block has.
func TestCoverageIsTurnedAround(t *testing.T) {
	t.Parallel()
	got, err := coveredOf("mode: set\nm/a.go:5.2,6.9 2 1\nm/a.go:8.1,9.3 1 0\nm/b.go:1.1,2.2 1 1\n")
	want := "mode: set\nm/a.go:1.1,8.1 1 1\nm/a.go:9.3,1000000.1 1 1\nm/b.go:1.1,1000000.1 1 1\n"
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := coveredOf("mode: set\nm/a.go:5.2"); err == nil {
		t.Error("a profile that is cut off is read")
	}
}
