package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rolecall/rolecall/internal/fault"
)

// Types of file systems that are gone after a restart of the machine.
const (
	tmpfs = 0x01021994
	ramfs = 0x858458f6
)

// stateVolatile refuses a place that keeps credentials on a disk.
func stateVolatile(file string) error {
	var at syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(file), &at); err != nil {
		return fault.New(fault.NotFound, "state file: %s: %w", filepath.Dir(file), err).Hint(
			"mount a volume in memory there: an emptyDir with medium Memory, or /run of the host",
		)
	}
	kind := uint32(at.Type) //nolint:gosec // the kernel's own number, of either width
	if kind != tmpfs && kind != ramfs {
		return fault.New(
			fault.Usage, "state file: %s is not in memory (tmpfs), and the file holds live credentials",
			filepath.Dir(file),
		).
			Hint("mount a volume in memory there: an emptyDir with medium Memory, or /run of the host")
	}
	return nil
}

// readState reads a file that only this user could read and write.
func readState(file string) ([]byte, error) {
	opened, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link", file)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	info, err := opened.Stat()
	if err != nil {
		return nil, err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", file)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s has mode %#o", file, info.Mode().Perm())
	case !known || int(owner.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to another user", file)
	case owner.Nlink != 1:
		return nil, fmt.Errorf("%s has another hard link", file)
	case info.Size() > maxState:
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxState)
	}
	return io.ReadAll(io.LimitReader(opened, maxState))
}

// writeState replaces the file in one step, by a new one that nobody else has
// open.
func writeState(file string, text []byte) error {
	next := file + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	opened, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = opened.Write(text)
	if err = errors.Join(err, opened.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return os.Rename(next, file)
}
