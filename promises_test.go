package rolecall_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// promised are the sections of the security model that promise something.
var promised = []string{"What every yes needs", "What leaves a process", "Bounds"}

// named is a test by package and function.
var named = regexp.MustCompile("`([a-z0-9./]+) ((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestPromises: each promise of the security model stands in its table of tests,
// and each test that is named there exists.
func TestPromises(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/security-model.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, complaint := range checkPromises(string(text), testsOf(t)) {
		t.Error(complaint)
	}
}

// TestPromisesNotices: a promise without a test is seen, and a test that is not
// there.
func TestPromisesNotices(t *testing.T) {
	t.Parallel()
	const page = "# M\n## What every yes needs\n| yes | to whom | on what proof |\n|---|---|---|\n" +
		"| a | b | one; two |\n\nThree holds. Four\nholds.\n" +
		"## Bounds\n- Five has an end.\n## Elsewhere\nSix is not promised.\n" +
		"## How each promise is tested\n| promise | tests |\n|---|---|\n" +
		"| one | `a TestOne` |\n| two | `a TestTwo` |\n| Three holds | `a TestOne` |\n" +
		"| Four holds | `a TestOne`, `b FuzzFour` |\n| Five has an end | `b FuzzFour` |\n"
	exist := map[string]bool{"a TestOne": true, "a TestTwo": true, "b FuzzFour": true}
	for _, row := range []struct{ name, old, new, want string }{
		{"nothing is wrong", "", "", ""},
		{"a promise more", "one; two", "one; two; seven", `"seven" has no test`},
		{"a sentence more", "Four\nholds.", "Four\nholds. Eight too.", `"Eight too" has no test`},
		{"a row less", "| two | `a TestTwo` |\n", "", `"two" has no test`},
		{"a row without a test", "| `a TestTwo` |", "| soon |", `"two" has no test`},
		{"a test that is not there", "`a TestTwo`", "`a TestGone`", "there is no a TestGone"},
		{"a promise that is no longer made", "one; two", "one", `"two" is promised nowhere`},
	} {
		got := strings.Join(checkPromises(strings.Replace(page, row.old, row.new, 1), exist), "\n")
		if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func checkPromises(page string, exist map[string]bool) []string {
	var found []string
	tested := map[string]bool{} // promises, and whether they are made
	for _, row := range rowsOf(sectionOf(page, "How each promise is tested")) {
		tests := named.FindAllStringSubmatch(row[len(row)-1], -1)
		for _, test := range tests {
			if name := test[1] + " " + test[2]; !exist[name] {
				found = append(found, "docs/security-model.md: there is no "+name)
			}
		}
		if len(tests) > 0 {
			tested[row[0]] = false
		}
	}
	for _, section := range promised {
		for _, promise := range promisesOf(sectionOf(page, section)) {
			if _, ok := tested[promise]; !ok {
				found = append(found, "docs/security-model.md: "+strconv.Quote(promise)+" has no test")
				continue
			}
			tested[promise] = true
		}
	}
	for promise, made := range tested {
		if !made {
			found = append(found, "docs/security-model.md: "+strconv.Quote(promise)+" is promised nowhere")
		}
	}
	return found
}

// sectionOf returns the text below a heading.
func sectionOf(page, heading string) string {
	_, text, _ := strings.Cut(page, "\n## "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	return text + "\n"
}

// rowsOf returns the cells of a table's rows.
func rowsOf(text string) [][]string {
	var rows [][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		rows = append(rows, cells)
	}
	return rows[min(2, len(rows)):] // without the heading
}

// sentenceEnd is where one promise of running text ends.
var sentenceEnd = regexp.MustCompile(`\.(?:\s+|$)`)

// promisesOf returns the promises of a section: the parts of the last column of
// its table, and the sentences of its text.
func promisesOf(section string) []string {
	var promises []string
	for _, row := range rowsOf(section) {
		promises = append(promises, strings.Split(row[len(row)-1], "; ")...)
	}
	var prose []string
	for line := range strings.Lines(section) {
		if line = strings.TrimPrefix(strings.TrimSpace(line), "- "); !strings.HasPrefix(line, "|") {
			prose = append(prose, line)
		}
	}
	promises = append(promises, sentenceEnd.Split(strings.Join(prose, " "), -1)...)
	for i, promise := range promises {
		promises[i] = strings.Join(strings.Fields(promise), " ")
	}
	return slices.DeleteFunc(promises, func(promise string) bool { return promise == "" })
}

// testsOf returns the tests and fuzz targets of the tree, by package and name.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	exist := map[string]bool{}
	for name, text := range treeFiles(t, ".go") {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil {
				exist[path.Dir(name)+" "+function.Name.Name] = true
			}
		}
	}
	return exist
}
