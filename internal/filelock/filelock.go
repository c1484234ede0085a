// Package filelock keeps two processes of one machine from changing the same files
// at once: exclusive locks that end with the process, however it ends.
//
// It is a few lines around flock(2) of golang.org/x/sys, and LockFileEx on Windows,
// A library is not worth a dependency for that, and one that opens the file itself
// cannot lock a folder. Locks are advisory: they bind only those who ask for them.
// Databases lock themselves, and what replicas on several machines share is not
// locked here.
//
// What the holder does, and what to tell a person who finds a lock held, is up
// to the caller.
package filelock

import (
	"errors"
	"os"
)

// ErrHeld is returned by Try for a lock that somebody else holds.
var ErrHeld = errors.New("somebody else holds the lock")

// Lock is a lock that is held.
type Lock struct{ file *os.File }

// Acquire waits until nobody else holds the lock of a file, which is created with
// mode 0600 if it does not exist. Every holder must release it soon, since waiting
// cannot be given up. The file stays when the lock ends: removing it would let two
// processes lock two files of one name.
func Acquire(path string) (*Lock, error) { return acquire(path, os.O_RDWR|os.O_CREATE, true) }

// AcquireFolder waits until nobody else holds the lock of a folder, which must
// exist. It leaves nothing behind. It is for Unix: elsewhere folders cannot be
// locked, and that is an error.
func AcquireFolder(path string) (*Lock, error) { return acquire(path, os.O_RDONLY, true) }

// Try is Acquire without waiting: it returns ErrHeld at once if somebody else
// holds the lock, another Lock of this process included.
func Try(path string) (*Lock, error) { return acquire(path, os.O_RDWR|os.O_CREATE, false) }

func acquire(path string, flags int, wait bool) (*Lock, error) {
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(file, wait); err != nil {
		_ = file.Close()
		if errors.Is(err, ErrHeld) {
			return nil, err
		}
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return &Lock{file}, nil
}

// Release ends the lock. Closing the file is what unlocks it.
func (l *Lock) Release() error { return l.file.Close() }
