package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/boltfile"
	"github.com/rolecall/rolecall/internal/fault"
)

// Buckets of the file. The first holds objects as JSON by NAMESPACE/NAME; the
// second the last resourceVersion given.
var (
	objectBucket  = []byte("podidentityassociations")
	counterBucket = []byte("counters")
	versionKey    = []byte("resourceVersion")
)

// Open returns a store in a file, which is created if missing, with mode 0600. Only one
// process can have it open: a second one gets a Conflict.
func Open(path string, now func() time.Time) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "create the folder for associations: %w", err)
	}
	db, err := boltfile.Open(path, "file")
	if err != nil {
		return nil, err
	}
	s := Memory(now)
	s.db = db
	if err := s.load(); err != nil {
		return nil, errors.Join(
			fault.New(fault.Invalid, "read %s: %w", path, err).Hint("move it away to start with an empty one"),
			db.Close(),
		)
	}
	s.Set(association.NewSet(s.all()))
	return s, nil
}

// load reads all there is. An object that cannot be read is not left out: its
// account would look like one without an association.
func (s *Store) load() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		objects, err := tx.CreateBucketIfNotExists(objectBucket)
		if err != nil {
			return err
		}
		counters, err := tx.CreateBucketIfNotExists(counterBucket)
		if err != nil {
			return err
		}
		if version := counters.Get(versionKey); len(version) == 8 {
			s.version = binary.BigEndian.Uint64(version)
		}
		return objects.ForEach(func(key, text []byte) error {
			read := &v1alpha1.PodIdentityAssociation{}
			if err := json.Unmarshal(text, read); err != nil || name(read).String() != string(key) {
				return fmt.Errorf("association %q is damaged: %w", key, err)
			}
			s.objects[name(read)] = read
			return nil
		})
	})
}

// persist writes an object, or removes it if it is nil, and counts the version.
func (s *Store) persist(key types.NamespacedName, next *v1alpha1.PodIdentityAssociation) error {
	if s.db == nil {
		return nil
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		version := binary.BigEndian.AppendUint64(nil, s.version+1)
		if err := tx.Bucket(counterBucket).Put(versionKey, version); err != nil {
			return err
		}
		if next == nil {
			return tx.Bucket(objectBucket).Delete([]byte(key.String()))
		}
		text, err := json.Marshal(next)
		if err != nil {
			return err
		}
		return tx.Bucket(objectBucket).Put([]byte(key.String()), text)
	})
	if err != nil {
		return fault.New(fault.Unavailable, "write association %s: %w", key, err)
	}
	return nil
}

// Close closes the file. Current stays what it was.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.db == nil {
		return nil
	}
	return s.db.Close()
}
