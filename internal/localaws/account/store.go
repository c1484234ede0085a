package account

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/rolecall/rolecall/internal/boltfile"
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

// File is the database in a folder.
func File(dir string) string { return filepath.Join(dir, "aws.db") }

// Open returns a store in the folder, which is made if missing. Only one
// process can have it open: a second one gets a Conflict.
func Open(_ context.Context, dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "make the data folder: %w", err)
	}
	path := File(dir)
	db, err := boltfile.Open(path, "folder with --data")
	if err != nil {
		return nil, err
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
