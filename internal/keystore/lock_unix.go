//go:build unix

package keystore

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile waits until nobody else has the file locked. Closing it unlocks it,
// and so does the end of the process.
func lockFile(file *os.File) error { return unix.Flock(int(file.Fd()), unix.LOCK_EX) }
