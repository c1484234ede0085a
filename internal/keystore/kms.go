package keystore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rolecall/rolecall/internal/fault"
)

// KeySize is that of data keys and of a local KMS's key, in bytes: AES-256.
const KeySize = 32

// KMS wraps the data key that a store is encrypted with. It never sees the
// store. What it returns is opaque to us and at most a few kilobytes.
type KMS interface {
	// Name says which key of which KMS wraps, for people and to notice another
	// key; it is not secret.
	Name() string
	// Wrap encrypts a data key of KeySize bytes.
	Wrap(ctx context.Context, dataKey []byte) ([]byte, error)
	// Unwrap is the inverse. It fails for anything that Wrap with this key did
	// not return.
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// Local is a KMS whose key is a file of this machine: KeySize random bytes.
type Local struct {
	name string
	aead cipher.AEAD
}

// OpenLocal reads the key file. A file that is not a regular one, has another
// size, or may be read by anybody but its owner is refused.
func OpenLocal(path string) (*Local, error) {
	// It is opened first and checked then, so that the file that is checked is
	// the one that is read.
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "KMS key file %s does not exist", path)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open the KMS key file: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "inspect the KMS key file: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fault.New(fault.Invalid, "KMS key file %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fault.New(fault.Denied, "KMS key file %s has mode %#o: only its owner may be able to read or write it", path, info.Mode().Perm()).Hint("chmod 600 %s", fault.Quote(path))
	case info.Size() != KeySize:
		return nil, fault.New(fault.Invalid, "KMS key file %s has %d bytes: want %d random ones", path, info.Size(), KeySize)
	}
	key := make([]byte, KeySize)
	if _, err := io.ReadFull(file, key); err != nil {
		return nil, fault.New(fault.Unavailable, "read the KMS key file: %w", err)
	}
	return newLocal(key)
}

// CreateLocal creates a key file with mode 0600. An existing file is a Conflict
// and stays as it is.
func CreateLocal(path string) (*Local, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "create the KMS key file: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fault.New(fault.Conflict, "KMS key file %s exists already", path)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "create the KMS key file: %w", err)
	}
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails
	_, err = file.Write(key)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, fault.New(fault.Unavailable, "write the KMS key file: %w", err)
	}
	return newLocal(key)
}

func newLocal(key []byte) (*Local, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("rolecall local KMS key\n"), key...))
	return &Local{name: "local:" + hex.EncodeToString(sum[:8]), aead: aead}, nil
}

// Name is "local:" and a fingerprint of the key.
func (l *Local) Name() string { return l.name }

// wrapping binds what is wrapped to its use.
var wrapping = []byte("rolecall keystore data key v1")

// Wrap encrypts with AES-256-GCM and a random nonce.
func (l *Local) Wrap(_ context.Context, dataKey []byte) ([]byte, error) {
	return sealWith(l.aead, dataKey, wrapping), nil
}

// Unwrap decrypts what Wrap encrypted.
func (l *Local) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	return openWith(l.aead, wrapped, wrapping)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use a key of AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("use AES-GCM: %w", err)
	}
	return aead, nil
}

func sealWith(aead cipher.AEAD, text, bound []byte) []byte { return aead.Seal(nil, nil, text, bound) }

var errSealed = errors.New("it was made with another key or has been changed")

func openWith(aead cipher.AEAD, sealed, bound []byte) ([]byte, error) {
	text, err := aead.Open(nil, nil, sealed, bound)
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}
