package account

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrNotFound says that what was named does not exist.
var ErrNotFound = errors.New("not found")

// Table says where records of one kind are kept in the store. Each service has
// its own and lists them in its service.Service; those of identities are here.
type Table struct {
	// Name is the table's name in the store. It is written to data folders, so
	// it never changes, and no two services have tables of the same name.
	Name string
	// Shared says that there is one table for all accounts; otherwise each has its
	// own.
	Shared bool
	// Eventual says that others see what is written only after a while, if
	// Set.Delay was called.
	Eventual bool
}

// Bytes returns the values of the table as they are stored; below names a part
// of the table that is kept for itself, such as one cluster's.
func (t Table) Bytes(s State, below ...string) Bytes {
	kind := t.Name
	if !t.Shared {
		kind = s.account.ID + "/" + kind
	}
	return Bytes{s, strings.Join(append([]string{kind}, below...), "/")}
}

// Bytes are the values of a table, or of a part of it, within a transaction.
type Bytes struct {
	state State
	kind  string
}

// Get returns a value, which must not be changed; nil if there is none.
func (b Bytes) Get(key string) []byte { return b.state.reader.Get(b.kind, key) }

// Count returns how many values there are.
func (b Bytes) Count() int { return b.state.reader.Count(b.kind) }

// Put creates or replaces a value.
func (b Bytes) Put(key string, value []byte) error { return b.state.writer.Put(b.kind, key, value) }

// Delete removes a value.
func (b Bytes) Delete(key string) error { return b.state.writer.Delete(b.kind, key) }

// Clear removes all values.
func (b Bytes) Clear() error {
	var keys []string
	err := b.state.reader.Each(b.kind, func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	})
	for _, key := range keys {
		if err == nil {
			err = b.Delete(key)
		}
	}
	return err
}

// Records are the values of a table, or of a part of it, in JSON.
type Records[T any] struct{ values Bytes }

// In returns the records of a table, see Table.Bytes.
func In[T any](s State, t Table, below ...string) Records[T] { return Records[T]{t.Bytes(s, below...)} }

func (r Records[T]) decode(key string, text []byte) (*T, error) {
	value := new(T)
	if err := json.Unmarshal(text, value); err != nil {
		return nil, fmt.Errorf("decode %s %q: %w", r.values.kind, key, err)
	}
	return value, nil
}

// Get returns a record, or ErrNotFound.
func (r Records[T]) Get(key string) (*T, error) {
	text := r.values.Get(key)
	if text == nil {
		return nil, ErrNotFound
	}
	return r.decode(key, text)
}

// All returns all records by key.
func (r Records[T]) All() ([]*T, error) {
	var values []*T
	err := r.Walk("", "", func(value *T) bool {
		values = append(values, value)
		return true
	})
	return values, err
}

// After calls f for the records after a key until it has enough.
func (r Records[T]) After(key string, f func(*T) (more bool)) error {
	return r.Walk("", key+"\x00", f)
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// Walk calls f for the records whose keys begin with prefix, by key from start
// on, until it has enough.
func (r Records[T]) Walk(prefix, start string, f func(*T) (more bool)) error {
	err := r.values.state.reader.From(r.values.kind, max(prefix, start), func(key string, text []byte) error {
		if !strings.HasPrefix(key, prefix) {
			return errEnough
		}
		value, err := r.decode(key, text)
		if err == nil && !f(value) {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// Mentioning returns the records in which a text occurs as a whole. It decodes
// no others: decoding all of them for one would make work on many quadratic.
func (r Records[T]) Mentioning(text string) ([]*T, error) {
	needle, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	var values []*T
	err = r.values.state.reader.Each(r.values.kind, func(key string, text []byte) error {
		if !bytes.Contains(text, needle) {
			return nil
		}
		value, err := r.decode(key, text)
		if err == nil {
			values = append(values, value)
		}
		return err
	})
	return values, err
}

// Count returns how many records there are.
func (r Records[T]) Count() int { return r.values.Count() }

// Put creates or replaces a record.
func (r Records[T]) Put(key string, value *T) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", r.values.kind, key, err)
	}
	return r.values.Put(key, text)
}

// Delete removes a record.
func (r Records[T]) Delete(key string) error { return r.values.Delete(key) }
