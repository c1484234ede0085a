package rolecall_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// namedPath is the path of a file of this repository, from its root, in a comment, a
// message or a page.
var namedPath = regexp.MustCompile(
	`(?:^|[^\w./-])((?:api|cmd|docs|examples|hack|internal|test)/[\w./-]+\.(?:md|go|sh|py|ya?ml|json|txtar))\b`)

// TestPaths: each file that the tree names is there. Specifications may name files that
// others have, or that are to come; the changelog those that were.
func TestPaths(t *testing.T) {
	t.Parallel()
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	for name, text := range treeFiles(t, citing...) {
		if strings.HasPrefix(name, specs) || name == "CHANGELOG.md" || name == "paths_test.go" {
			continue
		}
		for _, complaint := range deadPaths(name, text, exists) {
			t.Error(complaint)
		}
	}
}

// TestPathsNotices: a path that leads nowhere is seen, wherever it is written.
func TestPathsNotices(t *testing.T) {
	t.Parallel()
	exists := func(path string) bool { return path == "docs/here.md" }
	for _, row := range []struct{ text, want string }{
		{"// docs/here.md is its manual", ""},
		{"// docs/gone.md is its manual", "f:1: there is no docs/gone.md"},
		{"a\n# see `docs/guide/gone.md`.", "f:2: there is no docs/guide/gone.md"},
		{`Hint("read docs/gone.md")`, "there is no docs/gone.md"},
		{"[internal/gone_test.go](x)", "there is no internal/gone_test.go"},
		{"hack/gone.sh", "there is no hack/gone.sh"},
		{"https://example.com/docs/gone.md", ""},
		{"other/docs/gone.md", ""},
	} {
		got := strings.Join(deadPaths("f", row.text, exists), "\n")
		if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%q: got %q, want %q", row.text, got, row.want)
		}
	}
}

func deadPaths(name, text string, exists func(path string) bool) []string {
	var found []string
	for _, place := range namedPath.FindAllStringSubmatchIndex(text, -1) {
		if path := text[place[2]:place[3]]; !exists(path) {
			found = append(found, fmt.Sprintf("%s:%d: there is no %s", name, lineOf(text, place[2]), path))
		}
	}
	return found
}
