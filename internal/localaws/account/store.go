package account

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rolecall/rolecall/internal/fault"
)

// Store keeps values, mostly JSON, by kind and key. Updates are all or nothing, one at a
// time; views see a state between two updates.
type Store interface {
	View(func(Reader) error) error
	Update(func(Writer) error) error
	Close() error
}

// Reader reads within a transaction. Returned bytes must not be changed.
type Reader interface {
	// Get returns nil when there is no such key.
	Get(kind, key string) []byte
	// Each calls f in the order of keys until it fails.
	Each(kind string, f func(key string, value []byte) error) error
	// From is like Each, from the first key that is not before start.
	From(kind, start string, f func(key string, value []byte) error) error
	// Count returns how many keys there are.
	Count(kind string) int
}

// Writer also writes.
type Writer interface {
	Reader
	Put(kind, key string, value []byte) error
	Delete(kind, key string) error
}

// lockTimeout is how long Open waits for another process to release the file.
const lockTimeout = time.Second

// Open returns a store in the folder, which is made if missing. Only one
// process can have it open: a second one gets a Conflict.
func Open(_ context.Context, dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "make the data folder: %w", err)
	}
	path := filepath.Join(dir, "aws.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	switch {
	case errors.Is(err, bbolt.ErrTimeout): //nolint:staticcheck // its new home is internal
		return nil, fault.New(fault.Conflict, "%s is in use by another process", path).
			Hint("stop it, or give another folder with --data")
	case errors.Is(err, fs.ErrPermission):
		return nil, fault.New(fault.Unavailable, "open %s: %w", path, err).
			Hint("the folder must be writable")
	case err != nil:
		return nil, fault.New(fault.Invalid, "open %s: %w", path, err).
			Hint("is it a file of local AWS? move it away to start from scratch")
	}
	return &bolt{db}, nil
}

type bolt struct{ db *bbolt.DB }

func (b *bolt) View(f func(Reader) error) error {
	return b.db.View(func(tx *bbolt.Tx) error { return f(boltTx{tx}) })
}

func (b *bolt) Update(f func(Writer) error) error {
	return b.db.Update(func(tx *bbolt.Tx) error { return f(boltTx{tx}) })
}

func (b *bolt) Close() error { return b.db.Close() }

type boltTx struct{ tx *bbolt.Tx }

func (t boltTx) Get(kind, key string) []byte {
	if bucket := t.tx.Bucket([]byte(kind)); bucket != nil {
		return slices.Clone(bucket.Get([]byte(key)))
	}
	return nil
}

func (t boltTx) Each(kind string, f func(string, []byte) error) error {
	bucket := t.tx.Bucket([]byte(kind))
	if bucket == nil {
		return nil
	}
	return bucket.ForEach(func(key, value []byte) error { return f(string(key), slices.Clone(value)) })
}

func (t boltTx) From(kind, start string, f func(string, []byte) error) error {
	bucket := t.tx.Bucket([]byte(kind))
	if bucket == nil {
		return nil
	}
	cursor := bucket.Cursor()
	for key, value := cursor.Seek([]byte(start)); key != nil; key, value = cursor.Next() {
		if err := f(string(key), slices.Clone(value)); err != nil {
			return err
		}
	}
	return nil
}

func (t boltTx) Count(kind string) int {
	bucket, count := t.tx.Bucket([]byte(kind)), 0
	if bucket == nil {
		return 0
	}
	// Not by Stats, which knows nothing of what the transaction wrote.
	cursor := bucket.Cursor()
	for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
		count++
	}
	return count
}

func (t boltTx) Put(kind, key string, value []byte) error {
	bucket, err := t.tx.CreateBucketIfNotExists([]byte(kind))
	if err != nil {
		return err
	}
	return bucket.Put([]byte(key), value)
}

func (t boltTx) Delete(kind, key string) error {
	if bucket := t.tx.Bucket([]byte(kind)); bucket != nil {
		return bucket.Delete([]byte(key))
	}
	return nil
}
