package signer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/token"
)

// maxKeyFile is more than a hundred keys take up, in bytes.
const maxKeyFile = 1 << 20

// Files are keys in PEM files, or in folders of such, in the order given; the
// files of a folder in the order of their names. The first private key signs,
// all verify: as k3s has it in service.key. It is read again at each Read.
type Files struct {
	Paths []string
	Now   func() time.Time

	text  [sha256.Size]byte // of what keys holds
	keys  []Key
	first string // the key that signed when this process began
}

// Read returns the keys. Files that contain anything invalid are an error as a
// whole: half of the keys must not pass for all of them.
func (f *Files) Read(context.Context) (Set, error) {
	text, err := f.load()
	if err != nil {
		return Set{}, err
	}
	now := f.Now()
	if sum := sha256.Sum256(text); f.keys == nil || sum != f.text {
		keys, err := parseKeys(text)
		if err != nil {
			return Set{}, err
		}
		for i := range keys {
			if f.first == "" && keys[i].Private != nil {
				f.first = keys[i].ID
			}
			// At the start the first key signs as it would with kube-apiserver
			// itself; one that becomes the first later must be known to clients
			// before it signs.
			if keys[i].ID == f.first {
				keys[i].SignsAnyway = now
			}
		}
		f.text, f.keys = sum, keys
	}
	return Set{Keys: f.keys, ReadAt: now}, nil
}

// load returns the texts of all files, one after the other.
func (f *Files) load() ([]byte, error) {
	var all []byte
	for _, path := range f.Paths {
		names := []string{path}
		entries, err := os.ReadDir(path)
		if err == nil {
			names = nil
			for _, entry := range entries { // sorted; ..data and the like are a mounted Secret's own
				if !strings.HasPrefix(entry.Name(), ".") {
					names = append(names, filepath.Join(path, entry.Name()))
				}
			}
		}
		for _, name := range names {
			text, err := readKeyFile(name)
			if err != nil {
				return nil, err
			}
			all = append(append(all, text...), '\n')
		}
	}
	return all, nil
}

func readKeyFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "open the key file: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "inspect the key file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.Unavailable, "read the key file: %w", err)
	case len(text) > maxKeyFile:
		return nil, fault.New(fault.Invalid, "key file %s is longer than a megabyte", path)
	case info.Mode().Perm()&0o007 != 0 && bytes.Contains(text, []byte("PRIVATE KEY")):
		return nil, fault.New(fault.Denied, "key file %s holds a private key and has mode %#o, with which everybody may read or write it", path, info.Mode().Perm()).Hint("chmod 600 %s", fault.Quote(path))
	}
	if _, err := parseKeys(text); err != nil {
		return nil, fault.New(fault.Invalid, "key file %s: %w", path, err)
	}
	return text, nil
}

// parseKeys reads all keys of a PEM text. A key whose private and public halves
// both occur is one key, in the place of the first.
func parseKeys(text []byte) ([]Key, error) {
	var keys []Key
	at := map[string]int{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PARAMETERS" { // openssl writes it before each EC key
			continue
		}
		key, err := parseKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, err
		}
		i, twice := at[key.ID]
		switch {
		case !twice:
			at[key.ID] = len(keys)
			keys = append(keys, key)
		case keys[i].Private == nil:
			keys[i] = key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in PEM")
	}
	return keys, nil
}

func parseKey(block []byte) (Key, error) {
	public, err := token.ParsePublicKeys(block)
	if err != nil {
		return Key{}, err
	}
	named, err := token.NewPublicKey(public[0])
	if err != nil {
		return Key{}, err
	}
	key := Key{ID: named.ID, Public: named.Public}
	if private, err := token.ParsePrivateKey(block); err == nil {
		key.Private = private
	} else if bytes.Contains(block, []byte("PRIVATE KEY")) {
		return Key{}, fmt.Errorf("key %s: %w", named.ID, err)
	}
	return key, nil
}
