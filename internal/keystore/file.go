package keystore

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/filelock"
)

// Store is an encrypted file of keys. Several processes may use it: changes are
// made one after the other, and readers see the file as it was before or after
// one.
type Store struct {
	Path string
	KMS  KMS
	// Flags name the store to a command, for hints; quoted for a shell.
	Flags string
}

// Load reads the store.
func (s *Store) Load(ctx context.Context) (*Contents, error) {
	text, err := s.Text()
	if err != nil {
		return nil, err
	}
	contents, err := Decode(ctx, s.KMS, text)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "read %s: %w", s.Path, err)
	}
	contents.flags = s.Flags
	return contents, nil
}

// Text returns the file as it is, to tell two states of it apart.
func (s *Store) Text() ([]byte, error) {
	file, err := os.Open(s.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "key store %s does not exist", s.Path).
			Hint("create one with `rolecall signer init %[1]s`, or import a cluster's key with `rolecall signer "+
				"import --key-file /etc/kubernetes/pki/sa.key %[1]s`", s.Flags)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open the key store: %w", err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the key store: %w", err)
	}
	return text, nil
}

// Create writes a new store. An existing one is a Conflict.
func (s *Store) Create(ctx context.Context, contents *Contents) error {
	return s.locked(ctx, func() error {
		if _, err := os.Lstat(s.Path); !errors.Is(err, os.ErrNotExist) {
			return fault.New(fault.Conflict, "file %s exists already", s.Path).
				Hint("`rolecall signer keys %s` shows what it holds", s.Flags)
		}
		contents.Generation = 1
		return s.write(ctx, contents)
	})
}

// Unchanged is returned by a change that changes nothing.
var Unchanged = errors.New("nothing to change") //nolint:staticcheck // a value to return, like io.EOF

// Update lets change work on the newest contents and writes them. Nothing is
// written if it returns an error; Unchanged is not passed on.
func (s *Store) Update(ctx context.Context, change func(*Contents) error) error {
	return s.locked(ctx, func() error {
		contents, err := s.Load(ctx)
		if err != nil {
			return err
		}
		if err := change(contents); errors.Is(err, Unchanged) {
			return nil
		} else if err != nil {
			return err
		}
		contents.Generation++
		return s.write(ctx, contents)
	})
}

// locked holds the lock of the store, a file beside it: the store itself is
// replaced, and a lock on it would go with it.
func (s *Store) locked(ctx context.Context, do func() error) (err error) {
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		return fault.New(fault.Unavailable, "lock the key store: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Its holder writes one file and releases it; nobody waits for a person.
	lock, err := filelock.Acquire(s.Path + ".lock")
	if err != nil {
		return fault.New(fault.Unavailable, "lock the key store: %w", err).
			Hint("a signer that must not change the store runs with --read-only")
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := atomicfile.Sweep(s.Path); err != nil {
		return fault.New(fault.Unavailable, "remove what a killed process has left beside the key store: %w", err)
	}
	return do()
}

// write replaces the file, mode 0600, so that after a crash the old one or the
// new one is there.
func (s *Store) write(ctx context.Context, contents *Contents) error {
	text, err := Encode(ctx, s.KMS, contents)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.Path, text, 0o600); err != nil {
		return fault.New(fault.Unavailable, "write the key store: %w", err)
	}
	folder, err := os.Open(filepath.Dir(s.Path))
	if err != nil {
		return fault.New(fault.Unavailable, "write the key store: %w", err)
	}
	// The name is on disk only when its folder is.
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fault.New(fault.Unavailable, "write the key store: %w", err)
	}
	return nil
}
