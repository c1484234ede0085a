// Package boltfile opens a database file and says what is wrong with one that cannot be
// used: in use, on a read-only file system, or damaged. It saves what can be read of a
// damaged one.
//
// It does not know what a file holds. Buckets within buckets are not expected.
package boltfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rolecall/rolecall/internal/fault"
)

// lockTimeout is how long Open waits for another process to release the file.
const lockTimeout = time.Second

// Open opens a file, which is made with mode 0600 if missing, and reads all of it once, so
// that a damaged page is an error now and not the end of the process later. Only one
// process can have it open: a second one gets a Conflict. elsewhere is the end of the
// sentence "or give another …" of hints.
func Open(path, elsewhere string) (*bbolt.DB, error) {
	var db *bbolt.DB
	at := "its first pages"
	err := guard(func() (err error) {
		if db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout}); err != nil {
			return err
		}
		if err := db.View(func(tx *bbolt.Tx) error {
			return walk(tx, func(bucket, key, _ []byte) { at = place(bucket, key) })
		}); err != nil {
			return err
		}
		// Writing needs the list of free pages, too.
		at = "its list of free pages"
		return db.Update(func(*bbolt.Tx) error { return nil })
	})
	damaged := errors.Is(err, errDamaged)
	if err != nil && db != nil && !damaged { // of a damaged one, closing may fail as reading did
		err = errors.Join(err, db.Close())
	}
	switch {
	case err == nil:
		return db, nil
	case damaged:
		return nil, fault.New(fault.Invalid, "%s is damaged at %s: %w", path, at, err).
			Hint("restore it from a copy, or start once with --salvage, which keeps what can be read")
	case errors.Is(err, bbolt.ErrTimeout): //nolint:staticcheck // its new home is internal
		return nil, fault.New(fault.Conflict, "%s is in use by another process", path).
			Hint("stop it, or give another %s", elsewhere)
	case errors.Is(err, syscall.EROFS):
		return nil, fault.New(fault.Unavailable, "open %s: the file system is read-only", path).
			Hint("mount it writable, or give another %s", elsewhere)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return nil, fault.New(fault.Unavailable, "open %s: %w", path, err).
			Hint("make room there, or give another %s", elsewhere)
	case errors.Is(err, fs.ErrPermission):
		return nil, fault.New(fault.Unavailable, "open %s: %w", path, err).
			Hint("the file and its folder must be writable by you")
	}
	if _, system := errors.AsType[syscall.Errno](err); !system { // the database's own
		return nil, fault.New(fault.Invalid, "%s is no database, or damaged at its first pages: %w", path, err).
			Hint("restore it from a copy, or move it away to start from scratch")
	}
	return nil, fault.New(fault.Unavailable, "open %s: %w", path, err).
		Hint("see whether the disk is well, or give another %s", elsewhere)
}

// errDamaged is a page that is not what the database wrote.
var errDamaged = errors.New("a page cannot be read")

// guard turns what the database does with a page that it cannot read into an error: it
// panics, or reads beyond the end of the file. f must contain nothing but its calls.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %.200s", errDamaged, fmt.Sprint(cause))
		}
	}()
	return f()
}

// walk shows all pairs of all buckets.
func walk(tx *bbolt.Tx, see func(bucket, key, value []byte)) error {
	return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		see(name, nil, nil)
		return bucket.ForEach(func(key, value []byte) error {
			see(name, key, append([]byte(nil), value...)) // every byte is read
			return nil
		})
	})
}

func place(bucket, key []byte) string {
	if key == nil {
		return "the beginning of " + strconv.Quote(string(bucket))
	}
	return "what follows " + strconv.Quote(string(key)) + " of " + strconv.Quote(string(bucket))
}

// Salvaged is what became of a damaged file.
type Salvaged struct {
	// Pairs are how many were saved.
	Pairs int
	// Damaged are the buckets of which some could not be read. There may be others that
	// nobody knows of, if All is false.
	Damaged []string
	All     bool
	// Kept is where the file from before is now; empty if there was none.
	Kept string
}

// Salvage replaces a damaged file by one with all that can be read of it. The damaged one
// is kept beside it. No file is made where there is none.
func Salvage(path string) (*Salvaged, error) {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &Salvaged{All: true}, nil
		}
		return nil, fault.New(fault.Unavailable, "open %s: %w", path, err)
	}
	s := &Salvaged{}
	saved := map[string]map[string][]byte{}
	var db *bbolt.DB
	err := guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: lockTimeout, ReadOnly: true, PreLoadFreelist: false,
		})
		return err
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s cannot be salvaged: %w", path, err).
			Hint("restore it from a copy, or move it away to start from scratch")
	}
	defer func() { _ = guard(db.Close) }()
	if err := read(db, saved, s); err != nil {
		return nil, fault.New(fault.Invalid, "%s cannot be salvaged: %w", path, err).
			Hint("restore it from a copy, or move it away to start from scratch")
	}
	next := path + ".salvaged"
	if err := write(next, saved); err != nil {
		return nil, fault.New(fault.Unavailable, "write %s: %w", next, err)
	}
	for n := 1; ; n++ {
		s.Kept = path + ".damaged-" + strconv.Itoa(n)
		if _, err := os.Lstat(s.Kept); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	// Linked before it is replaced: at no moment is there no file of the name.
	if err := os.Link(path, s.Kept); err != nil {
		return nil, fault.New(fault.Unavailable, "keep the damaged file: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return nil, fault.New(fault.Unavailable, "replace the damaged file: %w", err)
	}
	return s, nil
}

// read takes what can be read: of each bucket from both ends, as far as a damaged page.
func read(db *bbolt.DB, saved map[string]map[string][]byte, s *Salvaged) error {
	var buckets []string
	s.All = true
	for _, backwards := range []bool{false, true} {
		err := pass(db, nil, backwards, func(name, _ []byte) { buckets = append(buckets, string(name)) })
		if err == nil {
			break
		}
		s.All = false
	}
	slices.Sort(buckets)
	buckets = slices.Compact(buckets)
	if len(buckets) == 0 && !s.All {
		return errDamaged
	}
	for _, name := range buckets {
		saved[name] = map[string][]byte{}
		for _, backwards := range []bool{false, true} {
			err := pass(db, []byte(name), backwards, func(key, value []byte) {
				saved[name][string(key)] = value
			})
			if err == nil {
				break
			}
			if !backwards {
				s.Damaged = append(s.Damaged, name)
			}
		}
		s.Pairs += len(saved[name])
	}
	return nil
}

// pass shows the pairs of a bucket, or the names of all if it is nil, until the end or a
// damaged page.
func pass(db *bbolt.DB, name []byte, backwards bool, see func(key, value []byte)) error {
	return guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			cursor := tx.Cursor()
			if name != nil {
				cursor = tx.Bucket(name).Cursor()
			}
			first, next := cursor.First, cursor.Next
			if backwards {
				first, next = cursor.Last, cursor.Prev
			}
			for key, value := first(); key != nil; key, value = next() {
				see(append([]byte(nil), key...), append([]byte(nil), value...))
			}
			return nil
		})
	})
}

func write(path string, saved map[string]map[string][]byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for name, pairs := range saved {
			bucket, err := tx.CreateBucketIfNotExists([]byte(name))
			if err != nil {
				return err
			}
			for key, value := range pairs {
				if err := bucket.Put([]byte(key), value); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return errors.Join(err, db.Close())
}
