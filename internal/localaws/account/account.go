// Package account is the state of the AWS accounts that local AWS plays: their
// users, access keys, roles and OIDC providers, and the credentials of
// sessions.
//
// It does not know the wire protocol and decides no request.
package account

import (
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

	kindUser     = "user" // by lower-case name: names are unique without regard to case
	kindRole     = "role" // by lower-case name
	kindProvider = "provider"
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

// RoleARN returns the ARN of a role of this account.
func (a *Account) RoleARN(r *Role) string {
	return arn.Role{Partition: a.Partition, Account: a.ID, Path: r.Path, Name: r.Name}.ARN().String()
}

// UserARN returns the ARN of a user of this account.
func (a *Account) UserARN(u *User) string {
	return arn.ARN{Partition: a.Partition, Service: "iam", Account: a.ID, Resource: "user" + u.Path + u.Name}.String()
}

// ProviderARN returns the ARN of a provider of this account.
func (a *Account) ProviderARN(p *Provider) string {
	return arn.OIDCProvider(a.Partition, a.ID, p.IssuerID).String()
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
	if named, err := arn.ParseRole(entity); err == nil {
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

// User returns a user by name, in any letter case, or ErrNotFound.
func (s State) User(name string) (*User, error) {
	return get[User](s, s.kind(kindUser), entityKey(name))
}

// Users returns all users by name.
func (s State) Users() ([]*User, error) { return all[User](s, s.kind(kindUser)) }

// PutUser creates or replaces a user.
func (s State) PutUser(u *User) error { return put(s, s.kind(kindUser), entityKey(u.Name), u) }

// DeleteUser removes a user.
func (s State) DeleteUser(name string) error {
	return s.writer.Delete(s.kind(kindUser), entityKey(name))
}

// Role returns a role by name, in any letter case, or ErrNotFound.
func (s State) Role(name string) (*Role, error) {
	return get[Role](s, s.kind(kindRole), entityKey(name))
}

// Roles returns all roles by name.
func (s State) Roles() ([]*Role, error) { return all[Role](s, s.kind(kindRole)) }

// PutRole creates or replaces a role.
func (s State) PutRole(r *Role) error { return put(s, s.kind(kindRole), entityKey(r.Name), r) }

// DeleteRole removes a role.
func (s State) DeleteRole(name string) error {
	return s.writer.Delete(s.kind(kindRole), entityKey(name))
}

// Provider returns a provider by its issuer without scheme, or ErrNotFound.
func (s State) Provider(issuerID string) (*Provider, error) {
	return get[Provider](s, s.kind(kindProvider), issuerID)
}

// Providers returns all providers by issuer.
func (s State) Providers() ([]*Provider, error) { return all[Provider](s, s.kind(kindProvider)) }

// PutProvider creates or replaces a provider.
func (s State) PutProvider(p *Provider) error { return put(s, s.kind(kindProvider), p.IssuerID, p) }

// DeleteProvider removes a provider.
func (s State) DeleteProvider(issuerID string) error {
	return s.writer.Delete(s.kind(kindProvider), issuerID)
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
	err := s.reader.Each(kind, func(key string, text []byte) error {
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
