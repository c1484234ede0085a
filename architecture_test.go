package rolecall_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const architecture = "docs/architecture.md"

// TestArchitecture: the page has each package in its table of rooms, and the layers as
// layers_test.go has them.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	var packages []string
	for path := range readGraph(t) {
		if isOurs(path) {
			packages = append(packages, path)
		}
	}
	for _, complaint := range append(roomsComplaints(string(page), packages), layersComplaints(string(page))...) {
		t.Errorf("%s: %s", architecture, complaint)
	}
}

// TestArchitectureNotices: what is left out, stays too long or stands elsewhere is seen.
func TestArchitectureNotices(t *testing.T) {
	t.Parallel()
	packages := []string{"internal/a", "internal/b", "internal/b/c", "test/d", "test/d/e"}
	for _, row := range []struct{ name, table, want string }{
		{"all", "| `internal/a`, `b` | x |\n| `internal/b/c` | x |\n| `test/...` | x |", ""},
		{"a name beside another's", "| `internal/b`, `b/c`, `a` | x |\n| `test/...` | x |", ""},
		{"none for a package", "| `internal/a`, `b` | x |\n| `test/...` | x |", "no row for internal/b/c"},
		{"a tree without dots", "| `internal/a`, `b`, `b/c` | x |\n| `test/d` | x |", "no row for test/d/e"},
		{"a package that is gone", "| `internal/a`, `b`, `b/c`, `z` | x |\n| `test/...` | x |", "no package is z"},
		{"one only in the text", "| `internal/a`, `b` | with `b/c` |\n| `test/...` | x |", "no row for internal/b/c"},
		{
			"two rows", "| `internal/a`, `b`, `b/c` | x |\n| `test/...` | x |\n| `internal/a` | x |",
			"two rows for internal/a",
		},
	} {
		got := strings.Join(roomsComplaints(tableHead+row.table+"\n\nText.\n", packages), "\n")
		if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	list := layerList()
	for _, row := range []struct{ name, page, want string }{
		{"as it is", "Text.\n\n" + list + "\nText.\n", ""},
		{"a room too few", strings.Replace(list, "`internal/policy`, ", "", 1), "want line 3"},
		{"a room in another layer", strings.Replace(list, "`internal/webhook`", "`internal/follow`", 1), "want line"},
		{
			"a layer too many", list + fmt.Sprintf("%d. the attic: `internal/attic`\n", len(layers)+1),
			"one line too many",
		},
	} {
		got := strings.Join(layersComplaints(row.page), "\n")
		if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

const tableHead = "| package | question it answers | knows nothing of |\n|---|---|---|\n"

var code = regexp.MustCompile("`([^`]+)`")

// roomsComplaints holds the table of rooms to the packages that there are. A row names a
// package by its whole path, and those after it from a folder that the first is in.
func roomsComplaints(page string, packages []string) []string {
	_, table, ok := strings.Cut(page, tableHead)
	if !ok {
		return []string{"no table begins with " + tableHead}
	}
	table, _, _ = strings.Cut(table, "\n\n")
	exists := func(pattern string) bool {
		return slices.ContainsFunc(packages, func(path string) bool { return within(path, pattern) })
	}
	var found, patterns []string
	for line := range strings.Lines(table) {
		folder := ""
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, name := range code.FindAllStringSubmatch(cell, -1) {
			pattern := name[1]
			for at := folder; at != "" && !exists(pattern); at = parent(at) {
				if exists(at + "/" + name[1]) {
					pattern = at + "/" + name[1]
				}
			}
			if !exists(pattern) {
				found = append(found, "no package is "+name[1])
				continue
			}
			if folder == "" {
				folder = parent(pattern)
			}
			if slices.Contains(patterns, pattern) {
				found = append(found, "two rows for "+pattern)
			}
			patterns = append(patterns, pattern)
		}
	}
	for _, path := range packages {
		if !within(path, patterns...) {
			found = append(found, "no row for "+path)
		}
	}
	return found
}

// parent returns the folder that a path is in, or nothing.
func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)]
}

var numbered = regexp.MustCompile(`(?m)^\d+\. .*\n`)

// layerList is the list of layers as the page has it.
func layerList() string {
	var list strings.Builder
	for i, l := range layers {
		fmt.Fprintf(&list, "%d. %s: `%s`\n", i+1, l.name, strings.Join(l.rooms, "`, `"))
	}
	return list.String()
}

func layersComplaints(page string) []string {
	want := slices.Collect(strings.Lines(layerList()))
	got := numbered.FindAllString(page, -1)
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			return []string{fmt.Sprintf("want line %d of the list of layers to be\n%s", i+1, want[i])}
		}
	}
	if len(got) > len(want) {
		return []string{"one line too many in the list of layers: " + got[len(want)]}
	}
	return nil
}
