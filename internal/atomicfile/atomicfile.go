// Package atomicfile replaces a file in one step: readers, and processes that start
// again after a crash, find the old text or the new, never half of one.
//
// It makes no folders, locks nothing, and does not remove what a killed process
// left behind: temporary files begin with Prefix.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Prefix begins the names of temporary files.
const Prefix = ".rolecall-"

// Write replaces the file at path, or makes it, with exactly the mode given. The text
// is on the disk before the name is: a new mode applies to a new file, so that nobody
// who has the old file open reads a private text.
func Write(path string, text []byte, mode fs.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), Prefix+"*") // mode 0600
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
