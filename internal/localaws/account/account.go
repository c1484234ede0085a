// Package account is the state of the one AWS account that local AWS plays:
// its roles, OIDC providers and administrator, and the credentials of sessions.
//
// It does not know the wire protocol and decides no request.
package account

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/credential"
)

// Tag is a key and its value.
type Tag struct{ Key, Value string }

// Role is an IAM role.
type Role struct {
	Name, Path, ID string
	Description    string
	// Trust is the trust policy byte for byte as it was given.
	Trust string
	// Principals are the unique ids that users and roles named in Trust had
	// when it was written, by ARN.
	Principals map[string]string `json:",omitempty"`
	// MaxSession is in seconds.
	MaxSession int
	Tags       []Tag
	Created    time.Time
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

// Account is the account's state in a store. It is safe for concurrent use.
type Account struct {
	ID, Partition string
	store         Store
	seal          *sealer
}

// Kinds of values in the store.
const (
	kindRole     = "role" // by lower-case name: role names are unique without regard to case
	kindProvider = "provider"
	kindMeta     = "meta"
)

// ErrNotFound says that what was named is not there.
var ErrNotFound = errors.New("not found")

// New reads the account from a store, making what every account has: the key
// that seals session tokens and, unless it is given, the administrator's key.
func New(id string, store Store, admin credential.AWS) (*Account, credential.AWS, error) {
	if !arn.IsAccount(id) {
		return nil, admin, fmt.Errorf("account %q: want 12 digits", id)
	}
	a := &Account{ID: id, Partition: "aws", store: store}
	err := store.Update(func(tx Writer) error {
		key := tx.Get(kindMeta, "seal")
		if key == nil {
			key = randomBytes(32)
			if err := tx.Put(kindMeta, "seal", key); err != nil {
				return err
			}
		}
		var err error
		if a.seal, err = newSealer(key); err != nil {
			return err
		}
		admin, err = ensureAdmin(tx, admin)
		return err
	})
	if err != nil {
		return nil, admin, fmt.Errorf("prepare account %s: %w", id, err)
	}
	return a, admin, nil
}

// adminKey is the stored form of the administrator's access key.
type adminKey struct{ ID, Secret string }

func ensureAdmin(tx Writer, given credential.AWS) (credential.AWS, error) {
	var key adminKey
	if stored := tx.Get(kindMeta, "admin"); stored != nil {
		if err := json.Unmarshal(stored, &key); err != nil {
			return given, err
		}
	}
	switch {
	case given.AccessKeyID != "":
		key = adminKey{given.AccessKeyID, given.SecretKey.Reveal()}
	case key.ID == "":
		key = adminKey{"AKIA" + randomID(16), randomSecret()}
	}
	text, err := json.Marshal(key)
	if err != nil {
		return given, err
	}
	return credential.AWS{AccessKeyID: key.ID, SecretKey: credential.NewSecret(key.Secret)}, tx.Put(kindMeta, "admin", text)
}

// View runs f on one consistent state.
func (a *Account) View(f func(State) error) error {
	return a.store.View(func(tx Reader) error { return f(State{tx, nil}) })
}

// Update runs f on a state it may change; if f fails nothing is changed.
func (a *Account) Update(f func(State) error) error {
	return a.store.Update(func(tx Writer) error { return f(State{tx, tx}) })
}

// RoleARN returns the ARN of a role of this account.
func (a *Account) RoleARN(r *Role) string {
	return arn.Role{Partition: a.Partition, Account: a.ID, Path: r.Path, Name: r.Name}.ARN().String()
}

// ProviderARN returns the ARN of a provider of this account.
func (a *Account) ProviderARN(p *Provider) string {
	return arn.OIDCProvider(a.Partition, a.ID, p.IssuerID).String()
}

// AdminARN is the ARN of the local administrator, an IAM user.
func (a *Account) AdminARN() string { return "arn:" + a.Partition + ":iam::" + a.ID + ":user/admin" }

// State is the account within a transaction.
type State struct {
	reader Reader
	writer Writer // nil in a View
}

// EntityID returns the unique id of a user or role of this account by its ARN.
func (a *Account) EntityID(s State, entity string) (string, error) {
	if entity == a.AdminARN() {
		return AdminID, nil
	}
	named, err := arn.ParseRole(entity)
	if err != nil {
		return "", ErrNotFound
	}
	role, err := s.Role(named.Name)
	switch {
	case err != nil:
		return "", err
	case a.RoleARN(role) != entity:
		return "", ErrNotFound
	}
	return role.ID, nil
}

// Owns reports whether an ARN is of this account.
func (a *Account) Owns(entity string) bool {
	parsed, err := arn.Parse(entity)
	return err == nil && parsed.Account == a.ID && parsed.Partition == a.Partition
}

// Role returns a role by name, in any letter case, or ErrNotFound.
func (s State) Role(name string) (*Role, error) { return get[Role](s, kindRole, roleKey(name)) }

// Roles returns all roles by name.
func (s State) Roles() ([]*Role, error) { return all[Role](s, kindRole) }

// PutRole creates or replaces a role.
func (s State) PutRole(r *Role) error { return put(s, kindRole, roleKey(r.Name), r) }

// DeleteRole removes a role.
func (s State) DeleteRole(name string) error { return s.writer.Delete(kindRole, roleKey(name)) }

// Provider returns a provider by its issuer without scheme, or ErrNotFound.
func (s State) Provider(issuerID string) (*Provider, error) {
	return get[Provider](s, kindProvider, issuerID)
}

// Providers returns all providers by issuer.
func (s State) Providers() ([]*Provider, error) { return all[Provider](s, kindProvider) }

// PutProvider creates or replaces a provider.
func (s State) PutProvider(p *Provider) error { return put(s, kindProvider, p.IssuerID, p) }

// DeleteProvider removes a provider.
func (s State) DeleteProvider(issuerID string) error { return s.writer.Delete(kindProvider, issuerID) }

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

func randomBytes(n int) []byte {
	random := make([]byte, n)
	_, _ = rand.Read(random) // never fails, says its documentation
	return random
}
