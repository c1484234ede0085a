package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"regexp"
	"strings"
)

// name is what a mutant is known by: not its line, which changes.
type name struct{ file, function, operator, expression string }

// String returns the name as equivalent.txt has it.
func (n name) String() string {
	return fmt.Sprintf("%s %s %s `%s`", n.file, n.function, n.operator, n.expression)
}

// mutant is one and what became of it, in gremlins' words.
type mutant struct {
	name
	line   int
	status string
}

var equivalentLine = regexp.MustCompile("^(\\S+) (\\S+) ([A-Z_]+) `([^`]+)` (.+)$")

// parseEquivalents reads the file of mutants that change nothing, with the
// reason of each.
func parseEquivalents(text string) (map[name]string, error) {
	reasons := map[name]string{}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := equivalentLine.FindStringSubmatch(line)
		if parts == nil {
			return nil, fmt.Errorf("equivalent.txt:%d: want FILE FUNCTION OPERATOR `EXPRESSION` reason", i+1)
		}
		one := name{parts[1], parts[2], parts[3], parts[4]}
		if _, twice := reasons[one]; twice {
			return nil, fmt.Errorf("equivalent.txt:%d: %s stands there twice", i+1, one)
		}
		reasons[one] = parts[5]
	}
	return reasons, nil
}

// tally is what became of the mutants of a room.
type tally struct {
	room                        string
	mutants, killed, equivalent int
	hung, survived, notCovered  []mutant
	stale                       []name // named as equivalent, and not among the survivors
}

// count sorts mutants. Those that do not compile are no mutants.
func count(room string, mutants []mutant, equivalents map[name]string, whole bool) *tally {
	t := &tally{room: room}
	met := map[name]bool{}
	for _, m := range mutants {
		if m.status == "NOT VIABLE" || m.status == "SKIPPED" {
			continue
		}
		t.mutants++
		_, equivalent := equivalents[m.name]
		switch {
		case m.status == "KILLED":
			t.killed++
		case m.status == "TIMED OUT":
			t.killed++
			t.hung = append(t.hung, m)
		case equivalent:
			met[m.name] = true
			t.equivalent++
		case m.status == "NOT COVERED":
			t.notCovered = append(t.notCovered, m)
		default:
			t.survived = append(t.survived, m)
		}
	}
	for one := range equivalents {
		if whole && !met[one] && one.room() == room {
			t.stale = append(t.stale, one)
		}
	}
	return t
}

func (n name) room() string { return n.file[:max(0, strings.LastIndexByte(n.file, '/'))] }

// percent is how many of those were killed that are not equivalent.
func (t *tally) percent() float64 {
	if t.mutants == t.equivalent {
		return 100
	}
	return 100 * float64(t.killed) / float64(t.mutants-t.equivalent)
}

// report names what somebody has to look at.
func (t *tally) report(out io.Writer) {
	for _, group := range []struct {
		what    string
		mutants []mutant
	}{
		{"survived", t.survived},
		{"not covered", t.notCovered},
		{"hung (is that so, or was the machine slow?)", t.hung},
	} {
		for _, m := range group.mutants {
			fmt.Fprintf(out, "%s: line %d: %s\n", group.what, m.line, m.name)
		}
	}
	for _, one := range t.stale {
		fmt.Fprintf(out, "equivalent.txt names what did not survive, or is not there: %s\n", one)
	}
}

// anchors finds the function and the expression that a mutant is in.
type anchors struct {
	set  *token.FileSet
	file *ast.File
	text []byte
}

func parseAnchors(path string) (*anchors, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
	return &anchors{set, file, text}, err
}

// at returns the name of the declaration around a place, and the text of the
// expression or statement whose operator stands there.
func (a *anchors) at(line, column int) (function, expression string) {
	for _, declaration := range a.file.Decls {
		ast.Inspect(declaration, func(n ast.Node) bool {
			var operator token.Pos
			switch n := n.(type) {
			case *ast.ValueSpec:
				if function == "" && a.around(n, line, column) {
					function = n.Names[0].Name
				}
			case *ast.FuncDecl:
				if a.around(n, line, column) {
					function = functionName(n)
				}
			case *ast.BinaryExpr:
				operator = n.OpPos
			case *ast.UnaryExpr:
				operator = n.OpPos
			case *ast.IncDecStmt:
				operator = n.TokPos
			case *ast.AssignStmt:
				operator = n.TokPos
			case *ast.BranchStmt:
				operator = n.TokPos
			}
			if at := a.set.Position(operator); operator.IsValid() && at.Line == line && at.Column == column {
				text := string(a.text[a.set.Position(n.Pos()).Offset:a.set.Position(n.End()).Offset])
				expression = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "`", "'")
			}
			return true
		})
	}
	return function, expression
}

func (a *anchors) around(n ast.Node, line, column int) bool {
	from, to := a.set.Position(n.Pos()), a.set.Position(n.End())
	return (from.Line < line || (from.Line == line && from.Column <= column)) &&
		(line < to.Line || (line == to.Line && column <= to.Column))
}

// functionName is Type.Method, or the function's name.
func functionName(declaration *ast.FuncDecl) string {
	if declaration.Recv == nil {
		return declaration.Name.Name
	}
	of := declaration.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	return types.ExprString(of) + "." + declaration.Name.Name
}
