// Package flagpage holds the pages of docs/reference to the flags that there are: what
// stands between two marks of a page is generated. It does not know how a table of flags
// looks; the tests that own a page do.
package flagpage

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is generated into the pages of docs/reference")

// Check holds what stands between <!-- NAME --> and <!-- end --> in a file against what
// it must be, for each NAME of sections; with -update it writes that instead.
func Check(t *testing.T, file string, sections map[string]string) {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := string(page)
	for name, text := range sections {
		begin, end := "<!-- "+name+" -->\n", "<!-- end -->\n"
		before, rest, found := strings.Cut(want, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s has no place %s", file, begin)
		}
		want = before + begin + text + end + after
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Errorf("%s is not what is generated; run this test with -run '^%s$' -update", file, t.Name())
	}
}
