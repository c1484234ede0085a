package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/atomicfile"
)

// TestWrite: a file is made or replaced, has the mode that was asked for whatever it had
// before, and nothing is left beside it.
func TestWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	for _, row := range []struct {
		name, text string
		mode       fs.FileMode
	}{
		{"a private file is made", "one", 0o600},
		{"it is replaced by one that all may read", "two", 0o644},
		{"and by a private one again, shorter", "", 0o600},
		{"and by one that only its owner reads", "four", 0o400},
	} {
		if err := atomicfile.Write(path, []byte(row.text), row.mode); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		text, err := os.ReadFile(path)
		if err != nil || string(text) != row.text {
			t.Errorf("%s: read %q, %v", row.name, text, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != row.mode {
			t.Errorf("%s: mode %v, %v", row.name, info.Mode(), err)
		}
	}
	alone(t, path)
}

// TestWriteKeepsOldReaders: a reader that has the old file open keeps reading the
// old text.
func TestWriteKeepsOldReaders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := atomicfile.Write(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	if err := atomicfile.Write(path, []byte("new secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 64)
	if n, err := open.Read(text); err != nil || string(text[:n]) != "old" {
		t.Errorf("the old file reads %q, %v", text[:n], err)
	}
}

// TestWriteFails: what cannot be replaced stays as it is, with nothing beside it.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := atomicfile.Write(filepath.Join(dir, "none", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
	taken := filepath.Join(dir, "folder")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(taken, []byte("text"), 0o600); err == nil {
		t.Error("a folder is replaced by a file")
	}
	alone(t, taken)
}

func alone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), atomicfile.Prefix) {
			t.Errorf("left behind: %s", entry.Name())
		}
	}
	if len(entries) != 1 {
		t.Errorf("%d files, want one", len(entries))
	}
}
