package issuercmd

import (
	"errors"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/filelock"
)

// lockFile is held by whoever changes the issuer's folder or what it publishes.
const lockFile = ".lock"

// lock keeps other commands of the same folder out until unlock is called or the
// process ends, however it ends: a step of a rotation reads the state, looks,
// publishes and writes the state, and another step in between would publish what
// the first has left behind. It refuses at once, since nobody knows how long the
// other takes, or whether the step is still wanted after it.
func (f *issuerFolder) lock() (unlock func(), err error) {
	lock, err := filelock.Try(f.path(lockFile))
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return nil, fault.New(fault.Conflict, "another command works in %s", f.dir).Hint("try again when it has ended")
	case err != nil:
		return nil, fault.New(fault.Unavailable, "lock the folder: %w", err)
	}
	return func() { _ = lock.Release() }, nil
}
