package rolecall_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// treeFiles returns the text of every file of the repository whose name ends as
// one of endings, or that has one of these paths. Folders whose name starts with a
// dot hold nothing else that is ours.
func treeFiles(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && path != ".ci" && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || !slices.Contains(endings, filepath.Ext(path)) && !slices.Contains(endings, path):
			return nil
		}
		text, err := os.ReadFile(path)
		files[filepath.ToSlash(path)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d files found", len(files))
	}
	return files
}

// lineOf returns the number of the line that offset is in.
func lineOf(text string, offset int) int { return 1 + strings.Count(text[:offset], "\n") }
