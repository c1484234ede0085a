package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/glob"
)

// Config are the identities of a ConfigMap (spec webhook §9). A nil one is
// empty.
type Config struct {
	exact map[Name]*Account
	any   map[string]*Account // by account name, for the namespace *
	globs []globAccount       // the closest pattern first
}

// Name names a service account.
type Name struct{ Namespace, ServiceAccount string }

// String is NAMESPACE/NAME.
func (n Name) String() string { return n.Namespace + "/" + n.ServiceAccount }

type globAccount struct {
	name    Name
	account *Account
}

// configEntry is one value of the document, by the reference's names.
type configEntry struct {
	RoleARN, Audience string
	UseRegionalSTS    bool
	TokenExpiration   int64
}

// ParseConfig reads the ConfigMap's document. Entries that cannot be read are
// left out and told, one problem each; a document that cannot be read is an
// error.
func ParseConfig(document []byte, settings Settings) (*Config, []error, error) {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(document, &entries); err != nil {
		return nil, nil, fmt.Errorf("read the identities: %w", err)
	}
	c := &Config{exact: map[Name]*Account{}, any: map[string]*Account{}}
	var problems []error
	for key, raw := range entries {
		if err := c.add(key, raw, &settings); err != nil {
			problems = append(problems, fmt.Errorf("entry %q: %w", key, err))
		}
	}
	slices.SortFunc(c.globs, func(a, b globAccount) int {
		if d := glob.Literal(b.name.Namespace) - glob.Literal(a.name.Namespace); d != 0 {
			return d
		}
		return strings.Compare(a.name.String(), b.name.String())
	})
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c, problems, nil
}

func (c *Config) add(key string, raw json.RawMessage, settings *Settings) error {
	parts := strings.Split(key, "/")
	if len(parts) < 2 {
		return errors.New("the key is not NAMESPACE/SERVICEACCOUNT")
	}
	var entry *configEntry
	if err := json.Unmarshal(raw, &entry); err != nil {
		return err
	}
	if entry == nil {
		return errors.New("it is null")
	}
	account := entry.account(settings)
	name := Name{parts[0], parts[1]}
	switch {
	case name.Namespace == "*":
		c.any[name.ServiceAccount] = account
	case settings.ConfigGlobs && glob.IsPattern(name.Namespace):
		c.globs = append(c.globs, globAccount{name, account})
	default:
		c.exact[name] = account
	}
	return nil
}

// account fills in what the entry leaves out: the lifetime, and but for
// conformance the audience; nothing else (spec webhook rows Q7, Q21).
func (e *configEntry) account(settings *Settings) *Account {
	a := &Account{Role: e.RoleARN, Audience: e.Audience, Expiration: e.TokenExpiration, RegionalSTS: e.UseRegionalSTS}
	if err := a.checkRole(); err != nil {
		a.Warnings = []string{"the ConfigMap's role: " + err.Error()}
	}
	if a.Expiration == 0 {
		a.Expiration = max(settings.Expiration, minExpiration)
	}
	if !settings.Conformance {
		a.Expiration = max(a.Expiration, minExpiration)
		if a.Audience == "" {
			a.Audience = settings.Audience
		}
	}
	return a
}

// Find returns an account's entry: its own, else that of the closest pattern,
// else that of all namespaces.
func (c *Config) Find(name Name) (account *Account, exact bool) {
	if c == nil {
		return nil, false
	}
	if account, found := c.exact[name]; found {
		return account, true
	}
	for i := range c.globs {
		if g := &c.globs[i]; g.name.ServiceAccount == name.ServiceAccount &&
			glob.Match(g.name.Namespace, name.Namespace) {
			return g.account, false
		}
	}
	return c.any[name.ServiceAccount], false
}

// Len returns the number of entries.
func (c *Config) Len() int {
	if c == nil {
		return 0
	}
	return len(c.exact) + len(c.any) + len(c.globs)
}

// Identities are the service accounts that the Pod Identity agent has
// credentials for.
type Identities map[Name]struct{}

// ParseIdentities reads an identities file (spec webhook §8.1). No text at all
// means none.
func ParseIdentities(text []byte) (Identities, error) {
	identities := Identities{}
	if len(text) == 0 {
		return identities, nil
	}
	var file struct{ Identities []Name }
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read the identities: %w", err)
	}
	for _, name := range file.Identities {
		identities[name] = struct{}{}
	}
	return identities, nil
}

// Has reports whether the account is one of them.
func (i Identities) Has(name Name) bool {
	_, found := i[name]
	return found
}
