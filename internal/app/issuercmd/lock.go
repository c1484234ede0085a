package issuercmd

import (
	"github.com/gofrs/flock"

	"github.com/rolecall/rolecall/internal/fault"
)

// lockFile is held by whoever changes the issuer's folder or what it publishes.
const lockFile = ".lock"

// lock keeps other commands of the same folder out until unlock is called or the
// process ends, however it ends: a step of a rotation reads the state, looks,
// publishes and writes the state, and another step in between would publish what
// the first has left behind. It refuses at once, since nobody knows how long the
// other takes, or whether the step is still wanted after it.
func (f *issuerFolder) lock() (unlock func(), err error) {
	held := flock.New(f.path(lockFile), flock.SetPermissions(0o600))
	got, err := held.TryLock()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "lock the folder: %w", err)
	}
	if !got {
		return nil, fault.New(fault.Conflict, "another command works in %s", f.dir).Hint("try again when it has ended")
	}
	return func() { _ = held.Unlock() }, nil
}
