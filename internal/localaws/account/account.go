// Package account is the state of the AWS accounts that local AWS plays: their
// users, access keys, roles and OIDC providers, and the credentials of
// sessions.
//
// It does not know the wire protocol and decides no request.
package account

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rolecall/rolecall/internal/arn"
)

// Account is one account's state in a store. It is safe for concurrent use.
type Account struct {
	ID, Partition string
	set           *Set
}

// Kinds of values in the store. Those of an account stand below its number,
// see State.kind.
const (
	kindMeta    = "meta"    // of the whole store
	kindAccount = "account" // the accounts, by number
	kindKey     = "key"     // access keys of all accounts, by id

	// By lower-case name: names are unique without regard to case.
	kindUser    = "user"
	kindGroup   = "group"
	kindRole    = "role"
	kindPolicy  = "policy"
	kindProfile = "profile"
	// By the issuer without scheme.
	kindProvider  = "provider"
	kindParameter = "parameter" // of SSM, by name

	// Buckets of all accounts by name, and what is in each of them.
	kindBucket   = "bucket"
	kindObject   = "object/"
	kindBody     = "body/"
	kindUpload   = "upload/"
	kindPart     = "part/"
	kindPartBody = "partbody/"
)

// ErrNotFound says that what was named is not there.
var ErrNotFound = errors.New("not found")

// View runs f on one consistent state.
func (a *Account) View(f func(State) error) error {
	return a.set.store.View(func(tx Reader) error { return f(State{tx, nil, a}) })
}

// Update runs f on a state it may change; if f fails nothing is changed.
func (a *Account) Update(f func(State) error) error {
	return a.set.store.Update(func(tx Writer) error { return f(State{tx, tx, a}) })
}

// State is an account within a transaction.
type State struct {
	reader  Reader
	writer  Writer // nil in a View
	account *Account
}

func (s State) kind(of string) string { return s.account.ID + "/" + of }

// Account returns whose state it is.
func (s State) Account() *Account { return s.account }

// In returns the state of another account within the same transaction, or
// ErrNotFound.
func (s State) In(id string) (State, error) {
	other, found := s.account.set.Find(id)
	if !found {
		return State{}, ErrNotFound
	}
	return State{s.reader, s.writer, other}, nil
}

// Principals looks up the unique ids of users and roles by ARN. Those of
// accounts that are not played here are left out, since nobody knows them; the
// first one missing from an account that is played is returned with
// ErrNotFound.
func (s State) Principals(entities []string) (ids map[string]string, missing string, err error) {
	ids = map[string]string{}
	for _, entity := range entities {
		parsed, err := arn.Parse(entity)
		if err != nil {
			return nil, entity, ErrNotFound
		}
		owner, err := s.In(parsed.Account)
		if err != nil || owner.account.Partition != parsed.Partition {
			continue
		}
		id, err := owner.entityID(entity)
		if err != nil {
			return nil, entity, err
		}
		ids[entity] = id
	}
	return ids, "", nil
}

// EntityID returns the unique id of a user or role of a known account by its
// ARN, or ErrNotFound.
func (s State) EntityID(entity string) (string, error) {
	ids, _, err := s.Principals([]string{entity})
	if err == nil && ids[entity] == "" {
		return "", ErrNotFound
	}
	return ids[entity], err
}

func (s State) entityID(entity string) (string, error) {
	if named, err := ParseRole(entity); err == nil {
		role, err := s.Role(named.Name)
		if err == nil && s.account.RoleARN(role) != entity {
			err = ErrNotFound
		}
		if err != nil {
			return "", err
		}
		return role.ID, nil
	}
	user, err := s.User(lastSegment(entity))
	if err == nil && s.account.UserARN(user) != entity {
		err = ErrNotFound
	}
	if err != nil {
		return "", err
	}
	return user.ID, nil
}

func get[T any](s State, kind, key string) (*T, error) {
	text := s.reader.Get(kind, key)
	if text == nil {
		return nil, ErrNotFound
	}
	value := new(T)
	if err := json.Unmarshal(text, value); err != nil {
		return nil, fmt.Errorf("decode %s %q: %w", kind, key, err)
	}
	return value, nil
}

func all[T any](s State, kind string) ([]*T, error) {
	var values []*T
	err := after(s, kind, "", func(value *T) bool {
		values = append(values, value)
		return true
	})
	return values, err
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// after calls f for the values after a key until it has enough.
func after[T any](s State, kind, key string, f func(*T) (more bool)) error {
	err := s.reader.From(kind, key+"\x00", func(key string, text []byte) error {
		value := new(T)
		if err := json.Unmarshal(text, value); err != nil {
			return fmt.Errorf("decode %s %q: %w", kind, key, err)
		}
		if !f(value) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// mentioning decodes only the values in which a text stands as a whole; to
// decode all of them for one would make work on many quadratic.
func mentioning[T any](s State, kind, text string) ([]*T, error) {
	needle, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	var values []*T
	err = s.reader.Each(kind, func(key string, text []byte) error {
		if !bytes.Contains(text, needle) {
			return nil
		}
		value := new(T)
		if err := json.Unmarshal(text, value); err != nil {
			return fmt.Errorf("decode %s %q: %w", kind, key, err)
		}
		values = append(values, value)
		return nil
	})
	return values, err
}

func put(s State, kind, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", kind, key, err)
	}
	return s.writer.Put(kind, key, text)
}
