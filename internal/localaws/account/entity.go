package account

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// Tag is a key and its value.
type Tag struct{ Key, Value string }

// Document is a named policy document, byte for byte as it was given.
type Document struct{ Name, Text string }

// Role is an IAM role.
type Role struct {
	Name, Path, ID string
	Description    string
	// Trust is the trust policy byte for byte as it was given.
	Trust string
	// Principals are the unique ids that users and roles named in Trust had
	// when it was written, by ARN.
	Principals map[string]string `json:",omitempty"`
	// Policies are the inline policies by name.
	Policies []Document `json:",omitempty"`
	// MaxSession is in seconds.
	MaxSession int
	Tags       []Tag
	Created    time.Time
}

// User is an IAM user.
type User struct {
	Name, Path, ID string
	// Policies are the inline policies by name.
	Policies []Document `json:",omitempty"`
	Tags     []Tag      `json:",omitempty"`
	Created  time.Time
}

// Provider is an IAM OIDC provider.
type Provider struct {
	// IssuerID is the issuer URL without scheme.
	IssuerID    string
	ClientIDs   []string
	Thumbprints []string
	Tags        []Tag
	Created     time.Time
}

// AccessKey is a long-term access key of a user.
type AccessKey struct {
	ID            string
	Secret        credential.Secret
	Account, User string
	Inactive      bool
	Created       time.Time
}

// storedKey is an access key's form in the store, the one place where its
// secret is written.
type storedKey struct {
	Secret, Account, User string
	Inactive              bool `json:",omitempty"`
	Created               time.Time
}

// Key returns an access key of any account by its id, or ErrNotFound.
func (s State) Key(id string) (*AccessKey, error) { return readKey(s.reader, id) }

func readKey(tx Reader, id string) (*AccessKey, error) {
	text := tx.Get(kindKey, id)
	if text == nil {
		return nil, ErrNotFound
	}
	return decodeKey(id, text)
}

func decodeKey(id string, text []byte) (*AccessKey, error) {
	var stored storedKey
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("decode access key %q: %w", id, err)
	}
	return &AccessKey{id, credential.NewSecret(stored.Secret), stored.Account, stored.User, stored.Inactive, stored.Created}, nil
}

// Keys returns the access keys of a user of this account, by id.
func (s State) Keys(user string) ([]*AccessKey, error) {
	var keys []*AccessKey
	err := s.reader.Each(kindKey, func(id string, text []byte) error {
		key, err := decodeKey(id, text)
		if err == nil && key.Account == s.account.ID && entityKey(key.User) == entityKey(user) {
			keys = append(keys, key)
		}
		return err
	})
	return keys, err
}

// PutKey creates or replaces an access key; its account is this one.
func (s State) PutKey(k *AccessKey) error {
	return put(s, kindKey, k.ID, storedKey{k.Secret.Reveal(), s.account.ID, k.User, k.Inactive, k.Created})
}

// DeleteKey removes an access key.
func (s State) DeleteKey(id string) error { return s.writer.Delete(kindKey, id) }
