package account

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/credential"
)

// Set is the accounts that one store holds. It is safe for concurrent use.
type Set struct {
	store Store
	seal  *sealer
	first string

	mu       sync.RWMutex
	accounts map[string]*Account

	parsing parsed
}

// Admin is the name of the user that every account is made with.
const Admin = "admin"

// NewSet reads the accounts of a store and makes those whose ids are missing,
// each with a user named admin who may do everything and has an access key. The
// first id is the default account. Without ids the accounts are those in the
// store.
func NewSet(store Store, ids []string, now time.Time) (*Set, error) {
	s := &Set{store: store, accounts: map[string]*Account{}}
	err := store.Update(func(tx Writer) error {
		key := tx.Get(kindMeta, "seal")
		if key == nil {
			key = randomBytes(32)
			if err := tx.Put(kindMeta, "seal", key); err != nil {
				return err
			}
		}
		var err error
		if s.seal, err = newSealer(key); err != nil {
			return err
		}
		if len(ids) > 0 {
			s.first = ids[0]
			if err := tx.Put(kindMeta, "default", []byte(s.first)); err != nil {
				return err
			}
		} else if s.first = string(tx.Get(kindMeta, "default")); s.first == "" {
			return ErrNotFound
		}
		return tx.Each(kindAccount, func(id string, _ []byte) error {
			s.accounts[id] = s.account(id)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the accounts: %w", err)
	}
	for _, id := range ids {
		if _, err := s.Add(id, now); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) account(id string) *Account { return &Account{ID: id, Partition: "aws", set: s} }

// Add returns an account, making it if it does not exist.
func (s *Set) Add(id string, now time.Time) (*Account, error) {
	if !arn.IsAccount(id) {
		return nil, fmt.Errorf("account %q: want 12 digits", id)
	}
	if found, ok := s.Find(id); ok {
		return found, nil
	}
	// The store's lock is taken first and the set's within, never the other way.
	made := s.account(id)
	err := made.Update(func(state State) error {
		if state.reader.Get(kindAccount, id) != nil {
			return nil
		}
		admin := &User{
			Name:        Admin,
			Path:        "/",
			ID:          NewUserID(),
			Created:     now.UTC(),
			Permissions: Permissions{Attached: []string{AdministratorAccess}},
		}
		return errors.Join(
			state.PutUser(admin), state.PutKey(made.NewKey(Admin, now)),
			state.writer.Put(kindAccount, id, []byte("{}")),
		)
	})
	if err != nil {
		return nil, fmt.Errorf("make account %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[id] = made
	return made, nil
}

// Find returns an account by its number.
func (s *Set) Find(id string) (*Account, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	found, ok := s.accounts[id]
	return found, ok
}

// Default returns the account that stands for callers that name none.
func (s *Set) Default() *Account {
	found, _ := s.Find(s.first)
	return found
}

// All returns the accounts, the default one first, then by number.
func (s *Set) All() []*Account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	accounts := []*Account{s.accounts[s.first]}
	for _, id := range slices.Sorted(maps.Keys(s.accounts)) {
		if id != s.first {
			accounts = append(accounts, s.accounts[id])
		}
	}
	return accounts
}

// Update runs f on the states of all accounts at once, beginning with the
// default one; if f fails nothing is changed.
func (s *Set) Update(f func(State) error) error { return s.Default().Update(f) }

// View runs f on one consistent state of all accounts, beginning with the default
// one.
func (s *Set) View(f func(State) error) error { return s.Default().View(f) }

// Key returns an access key by its id, or ErrNotFound.
func (s *Set) Key(id string) (key *AccessKey, err error) {
	err = s.store.View(func(tx Reader) error {
		key, err = readKey(tx, id)
		return err
	})
	return key, err
}

// AdminKey returns the first active access key of the account's administrator,
// or ErrNotFound if it was removed.
func (a *Account) AdminKey() (credential.AWS, error) {
	found := credential.AWS{}
	err := a.View(func(state State) error {
		keys, err := state.Keys(Admin)
		for _, key := range keys {
			if !key.Inactive {
				found = credential.AWS{AccessKeyID: key.ID, SecretKey: key.Secret}
				return nil
			}
		}
		return errors.Join(err, ErrNotFound)
	})
	return found, err
}
