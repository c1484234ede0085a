package policy

import (
	"maps"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

// Request is one question. It has every fact that a decision may depend on.
type Request struct {
	Principal Principal
	// Action is service:Name, in any letter case.
	Action string
	// Resource is an ARN, or "*" for actions without resource types. For
	// trust decisions it is the role.
	Resource string
	// ResourceAccount owns the resource; if empty it is read from the ARN.
	ResourceAccount string
	// Context holds the request's condition keys. Keys that follow from the
	// principal are filled in by the engine unless they are given.
	Context *Context
}

// PrincipalKind says what sort of caller it is (spec iam-policy §4.1).
type PrincipalKind int

// The kinds of principals.
const (
	Anonymous     PrincipalKind = iota
	User                        // an IAM user
	RoleSession                 // a session of a role
	FederatedUser               // a session of GetFederationToken
	Root                        // an account's root user
	Service                     // an AWS service by itself
	WebIdentity                 // an OIDC provider's identity, before it has a role
)

// String names the kind as spec iam-policy §4.1 does.
func (k PrincipalKind) String() string {
	return [...]string{"anonymous", "user", "role-session", "federated-user", "root", "service", "federated"}[k]
}

// Principal is the caller.
type Principal struct {
	Kind PrincipalKind
	// ARN is the user's, the session's or the provider's ARN; the name of a
	// service.
	ARN string
	// RoleARN is a session's role, with its path. UserARN is the user of a
	// federated-user session.
	RoleARN, UserARN string
	// RolePathUnknown says that RoleARN was made of a session's ARN, which does
	// not show the role's path: roles are compared by account and name.
	RolePathUnknown bool
	// EntityID is the unique id of the user or role: AIDA…, AROA….
	EntityID string
	// UserID is the value of aws:userid.
	UserID string
	// UserName is the IAM user's name without path.
	UserName string
	// Account is empty for services and anonymous callers; for a web identity
	// it is the provider's.
	Account string
	// Tags are the tags of the user, or of role and session together.
	Tags map[string]string
}

// Context is the set of condition keys of a request. Keys are looked up without
// regard to letter case. The zero value is empty.
type Context struct {
	entries map[string]value
	// incomplete: keys that are not here may be in the real request.
	incomplete bool
}

// NewContext returns an empty context.
func NewContext() *Context { return &Context{} }

// Incomplete says that the context was written by hand, so that a missing key
// may just have been forgotten: Explain names such keys as assumptions. It
// returns the context.
func (c *Context) Incomplete() *Context {
	c.incomplete = true
	return c
}

// Clone returns a copy that can be added to.
func (c *Context) Clone() *Context {
	return &Context{entries: maps.Clone(c.entries), incomplete: c.incomplete}
}

// value is a key's values. A single-valued key avoids the slice.
type value struct {
	name  string // the key as it was set
	one   string
	many  []string
	multi bool
}

func (v value) first() string { return v.one }

// Set gives a key one value, and returns the context. A key that is
// multivalued by its definition becomes a list of one.
func (c *Context) Set(key, text string) *Context {
	if multivalued(fold(key)) {
		return c.SetMulti(key, []string{text})
	}
	c.put(key, value{one: text})
	return c
}

// SetMulti gives a multivalued key its values, perhaps none, and returns the
// context.
func (c *Context) SetMulti(key string, texts []string) *Context {
	c.put(key, value{many: texts, multi: true})
	return c
}

// Get returns the value of a single-valued key.
func (c *Context) Get(key string) (text string, found bool) {
	v, found := c.entries[fold(key)]
	return v.one, found && !v.multi
}

func (c *Context) put(key string, v value) {
	if c.entries == nil {
		c.entries = map[string]value{}
	}
	v.name = key
	c.entries[fold(key)] = v
}

// fold is the form in which keys are compared.
func fold(key string) string { return arn.FoldKey(key) }

// multivalued is the table of keys that are multivalued by definition (spec
// iam-policy §5); the key is folded.
func multivalued(key string) bool {
	switch key {
	case "aws:calledvia", "aws:principalservicenameslist", "sts:requestcontextproviders":
		return true
	}
	// A tag's own key, behind the slash, says nothing.
	if !strings.Contains(key, "/") && (strings.HasSuffix(key, "tagkeys") || strings.HasSuffix(key, "orgpaths")) {
		return true
	}
	return isTokenKey(key) && (strings.HasSuffix(key, ":amr") || strings.HasSuffix(key, ":oaud"))
}

// lookup finds a folded key in the context, or derives it from principal and
// resource
// (spec iam-policy §5.1, and §5.4 for web identities).
func (r *Request) lookup(key string) (value, bool) {
	if r.Context != nil {
		if v, found := r.Context.entries[key]; found {
			return v, true
		}
	}
	if key == "aws:resourceaccount" {
		owner := r.owner()
		return value{name: "aws:ResourceAccount", one: owner}, owner != ""
	}
	text, found := r.Principal.attribute(key)
	return value{one: text}, found
}

// origin says where a key's value comes from.
func (r *Request) origin(key string) string {
	if r.Context != nil {
		if _, found := r.Context.entries[key]; found {
			switch {
			case r.Context.incomplete:
				return "given"
			case isTokenKey(key):
				return "token"
			}
			return "request"
		}
	}
	return "principal"
}

// decides reports whether the principal alone says if it has the key.
func (p *Principal) decides(key string) bool {
	switch key {
	case "aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:userid", "aws:username",
		"aws:principalisawsservice", "aws:principalservicename":
		return true
	}
	return false
}

func (p *Principal) attribute(key string) (string, bool) {
	if tag, isTag := strings.CutPrefix(key, "aws:principaltag/"); isTag {
		return p.tag(tag)
	}
	switch key {
	case "aws:principalarn":
		return p.principalARN()
	case "aws:principalaccount":
		if p.Kind == Anonymous {
			return "anonymous", true
		}
		return p.Account, p.Account != ""
	case "aws:principaltype":
		return p.typeName()
	case "aws:userid":
		if p.Kind == Anonymous {
			return "anonymous", true
		}
		return p.UserID, p.UserID != ""
	case "aws:username":
		return p.UserName, p.Kind == User && p.UserName != ""
	case "aws:principalisawsservice":
		if p.Kind == Service {
			return "true", true
		}
		return "false", p.Kind != Anonymous && p.Kind != WebIdentity
	case "aws:principalservicename":
		return p.ARN, p.Kind == Service
	}
	return "", false
}

func (p *Principal) principalARN() (string, bool) {
	switch p.Kind {
	case RoleSession:
		return p.RoleARN, true
	case User, FederatedUser, Root:
		return p.ARN, true
	case Anonymous, Service, WebIdentity:
	}
	return "", false
}

func (p *Principal) typeName() (string, bool) {
	switch p.Kind {
	case User, WebIdentity:
		return "User", true
	case RoleSession:
		return "AssumedRole", true
	case FederatedUser:
		return "FederatedUser", true
	case Root:
		return "Account", true
	case Anonymous:
		return "Anonymous", true
	case Service:
	}
	return "", false
}

// tag finds a tag whatever the case of its key; of keys that differ in case
// only the last in byte order counts (spec iam-policy §11).
func (p *Principal) tag(folded string) (string, bool) {
	best, text, found := "", "", false
	for key, v := range p.Tags {
		if fold(key) == folded && (!found || key > best) {
			best, text, found = key, v, true
		}
	}
	return text, found
}
