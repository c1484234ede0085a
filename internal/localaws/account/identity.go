package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// Tag is a key and its value.
type Tag struct{ Key, Value string }

// Document is a named policy document, byte for byte as it was given.
type Document struct{ Name, Text string }

// Permissions are what users, groups and roles alike are given.
type Permissions struct {
	// Policies are the inline policies, sorted by name.
	Policies []Document `json:",omitempty"`
	// Attached are ARNs of managed policies, in the order they were attached.
	Attached []string `json:",omitempty"`
}

// Role is an IAM role.
type Role struct {
	Name, Path, ID string
	Description    string
	// Trust is the trust policy byte for byte as it was given.
	Trust string
	// Principals are the unique ids that users and roles named in Trust had
	// when it was written, by ARN.
	Principals map[string]string `json:",omitempty"`
	Permissions
	// Boundary is the ARN of the managed policy that limits the role.
	Boundary string `json:",omitempty"`
	// MaxSession is in seconds.
	MaxSession int
	Tags       []Tag
	Created    time.Time
}

// User is an IAM user.
type User struct {
	Name, Path, ID string
	Permissions
	// Boundary is the ARN of the managed policy that limits the user.
	Boundary string `json:",omitempty"`
	// Groups are the names of the groups that the user is in.
	Groups  []string `json:",omitempty"`
	Tags    []Tag    `json:",omitempty"`
	Created time.Time
}

// Group is an IAM group. Its members are recorded with the users.
type Group struct {
	Name, Path, ID string
	Permissions
	Created time.Time
}

// ManagedPolicy is a policy that users, groups and roles share.
type ManagedPolicy struct {
	Name, Path, ID string
	Description    string
	// Versions are what is kept, oldest first; one of them is the default.
	Versions []PolicyVersion
	// Last is the number of the newest version there ever was.
	Last             int
	Tags             []Tag `json:",omitempty"`
	Created, Updated time.Time
	// AWS says that it is one of AWS's own, which nobody can change.
	AWS bool `json:"-"`
}

// PolicyVersion is one version of a managed policy.
type PolicyVersion struct {
	ID      string // v1, v2, …
	Text    string
	Default bool `json:",omitempty"`
	Created time.Time
}

// Default returns the version that counts.
func (p *ManagedPolicy) Default() *PolicyVersion {
	for i := range p.Versions {
		if p.Versions[i].Default {
			return &p.Versions[i]
		}
	}
	return &PolicyVersion{}
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
	text := tx.Get(keyTable.Name, id)
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
	return &AccessKey{
		ID:       id,
		Secret:   credential.NewSecret(stored.Secret),
		Account:  stored.Account,
		User:     stored.User,
		Inactive: stored.Inactive,
		Created:  stored.Created,
	}, nil
}

// Keys returns the access keys of a user of this account, by id.
func (s State) Keys(user string) ([]*AccessKey, error) {
	var keys []*AccessKey
	needle := []byte(`"user":"` + UniqueName(user) + `"`) // to decode all keys would make work on many users quadratic
	err := s.reader.Each(keyTable.Name, func(id string, text []byte) error {
		if !bytes.Contains(bytes.ToLower(text), needle) {
			return nil
		}
		key, err := decodeKey(id, text)
		if err == nil && key.Account == s.account.ID && UniqueName(key.User) == UniqueName(user) {
			keys = append(keys, key)
		}
		return err
	})
	return keys, err
}

// PutKey creates or replaces an access key; its account is this one.
func (s State) PutKey(k *AccessKey) error {
	return In[storedKey](s, keyTable).Put(k.ID, &storedKey{
		Secret:   k.Secret.Reveal(),
		Account:  s.account.ID,
		User:     k.User,
		Inactive: k.Inactive,
		Created:  k.Created,
	})
}

// DeleteKey removes an access key.
func (s State) DeleteKey(id string) error { return keyTable.Bytes(s).Delete(id) }
