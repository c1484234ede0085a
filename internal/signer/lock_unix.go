//go:build unix

package signer

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFolder waits until nobody else has the folder locked. The lock ends with
// unlock, or with the process, and leaves no file behind.
func lockFolder(dir string) (unlock func(), err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		_ = folder.Close()
		return nil, err
	}
	return func() { _ = folder.Close() }, nil
}
