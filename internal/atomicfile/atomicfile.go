// Package atomicfile replaces a file in one step: readers, and processes that start
// again after a crash, find the old text or the new, never half of one.
//
// It makes no folders and locks nothing. What a killed process has left behind is removed
// by those who know that nobody else writes: see Sweep and SweepUnnamed.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Prefix begins the names of temporary files.
const Prefix = ".rolecall-"

// temporaries is what the names of a file's temporary files begin with; digits follow.
func temporaries(path string) string { return Prefix + filepath.Base(path) + "-" }

// Sweep removes what processes have left behind that were killed while they replaced the file
// at path. It is for who holds the lock that all hold who write that file.
func Sweep(path string) error {
	return sweep(filepath.Dir(path), func(name string) bool {
		rest, ours := strings.CutPrefix(name, temporaries(path))
		return ours && isNumber(rest)
	})
}

// SweepUnnamed removes what versions have left behind that named no file in the names of
// their temporary ones.
func SweepUnnamed(dir string) error {
	return sweep(dir, func(name string) bool {
		rest, ours := strings.CutPrefix(name, Prefix)
		return ours && isNumber(rest)
	})
}

func isNumber(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}

func sweep(dir string, left func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	failed := []error{err}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !left(entry.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// Write replaces the file at path, or makes it, with exactly the mode given. The text
// is on the disk before the name is: a new mode applies to a new file, so that nobody
// who has the old file open reads a private text.
func Write(path string, text []byte, mode fs.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), temporaries(path)+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // gone already if all went well
	_, err = temporary.Write(text)
	if mode != 0o600 {
		err = errors.Join(err, temporary.Chmod(mode))
	}
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
