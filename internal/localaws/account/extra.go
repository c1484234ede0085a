package account

import (
	"encoding/json"
	"errors"
)

// Kinds of what an account has besides entities.
const (
	kindAlias    = "alias"    // the account's other name, under the key "alias"
	kindDeletion = "deletion" // tasks that deleted service-linked roles, by id
)

// Alias returns the account's alias; empty if it has none.
func (s State) Alias() (string, error) {
	alias, err := get[string](s, s.kind(kindAlias), "alias")
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return *alias, nil
}

// SetAlias gives the account an alias, or takes it away.
func (s State) SetAlias(alias string) error {
	if alias == "" {
		return s.writer.Delete(s.kind(kindAlias), "alias")
	}
	return put(s, s.kind(kindAlias), "alias", alias)
}

// AddDeletion notes that a task deleted a service-linked role.
func (s State) AddDeletion(task string) error {
	return put(s, s.kind(kindDeletion), task, struct{}{})
}

// HasDeletion reports whether there was such a task.
func (s State) HasDeletion(task string) bool {
	return s.reader.Get(s.kind(kindDeletion), task) != nil
}

// ARNOf returns the ARN that the user or role of a unique id has now, or
// ErrNotFound. It looks at all of them.
func (s State) ARNOf(id string) (string, error) {
	users, err := s.UsersMentioning(id)
	for _, one := range users {
		if one.ID == id {
			return s.account.UserARN(one), nil
		}
	}
	roles, err2 := s.RolesMentioning(id)
	for _, one := range roles {
		if one.ID == id {
			return s.account.RoleARN(one), nil
		}
	}
	return "", errors.Join(err, err2, ErrNotFound)
}

// CountVersions returns how many versions all managed policies have together.
func (s State) CountVersions() (int, error) {
	count := 0
	err := s.reader.Each(s.kind(kindPolicy), func(_ string, text []byte) error {
		var one struct{ Versions []struct{} }
		err := json.Unmarshal(text, &one)
		count += len(one.Versions)
		return err
	})
	return count, err
}
