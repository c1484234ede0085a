// Package account has the AWS accounts that local AWS emulates: the store in
// which all services keep their records, the principals of each account, and
// the sealed credentials of sessions.
//
// Users, groups, roles, managed policies, OIDC providers and access keys are
// changed by IAM, but their records are here: an account is made with its
// administrator, every signature is checked against these records and every
// call decided by them, and STS and EKS read them too. What only one service
// needs is with that service, in tables of its own, see Table.
//
// It does not know the wire protocol and decides no request.
package account

import "github.com/rolecall/rolecall/internal/arn"

// Account is one account's state in a store. It is safe for concurrent use.
type Account struct {
	ID, Partition string
	set           *Set
}

// What the store has for all accounts together, besides the tables.
const (
	kindMeta    = "meta"    // what is of the whole store
	kindAccount = "account" // the accounts, by number
)

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
// accounts that do not exist here are left out, since nobody knows them; the
// first one missing from an account that does is returned with ErrNotFound.
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
