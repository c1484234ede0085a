// Package caller describes who signed a request to local AWS, with the policies
// that apply to them.
//
// It verifies no signature; see package localaws.
package caller

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// Caller is an authenticated caller.
type Caller struct {
	Principal policy.Principal
	// Account is the caller's account.
	Account *account.Account
	// Identity are the caller's own policies.
	Identity []*policy.Policy
	// Boundary limits the caller's own policies; nil if there is none.
	Boundary *policy.Policy
	// Session are the session policies; HasSession distinguishes none from
	// empty ones.
	Session    []*policy.Policy
	HasSession bool
	// Region is that of the signature's scope.
	Region string

	session *account.Session // nil for long-term keys
}

// Anonymous returns the caller of an unsigned call: no policies, no account.
func Anonymous() *Caller { return &Caller{Principal: policy.Principal{Kind: policy.Anonymous}} }

// User returns the user of an access key with the policies the user has now;
// account.ErrNotFound if the user no longer exists.
func User(a *account.Account, name string) (*Caller, error) {
	c := &Caller{Account: a}
	if err := a.View(func(state account.State) error { return c.readUser(state, name) }); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Caller) readUser(state account.State, name string) error {
	user, err := state.User(name)
	if err != nil {
		return err
	}
	c.Principal = policy.Principal{
		Kind:     policy.User,
		ARN:      c.Account.UserARN(user),
		EntityID: user.ID,
		UserID:   user.ID,
		UserName: user.Name,
		Account:  c.Account.ID,
		Tags:     tagMap(user.Tags),
	}
	given := []account.Permissions{user.Permissions}
	for _, name := range user.Groups {
		group, err := state.Group(name)
		if err != nil {
			return err
		}
		given = append(given, group.Permissions)
	}
	return c.read(state, given, user.Boundary)
}

// Session returns the holder of a session with the policies that the role or user
// has now. A role that has been deleted since has none; for a user who no longer
// exists the error is account.ErrNotFound.
func Session(a *account.Account, s *account.Session) (*Caller, error) {
	c := &Caller{Account: a, session: s}
	err := a.View(func(state account.State) error {
		if err := c.readManaged(state, s.PolicyARNs); err != nil {
			return err
		}
		if s.IsRole() {
			return c.readRole(state)
		}
		if err := c.readUser(state, s.User); err != nil {
			return err
		}
		if c.Principal.EntityID != s.UserID { // another user of the same name
			return account.ErrNotFound
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.IsFederated() {
		c.Principal = federated(a, &c.Principal, s.Name)
	}
	// A session tag takes the place of the role's tag of that key, in any case.
	for _, tag := range s.Tags {
		maps.DeleteFunc(c.Principal.Tags, func(key, _ string) bool { return arn.SameKey(key, tag.Key) })
		c.Principal.Tags[tag.Key] = tag.Value
	}
	for _, text := range s.Policies {
		parsed, err := a.Parse(policy.Session, "session policy", text)
		if err != nil {
			return nil, err
		}
		c.Session, c.HasSession = append(c.Session, parsed), true
	}
	return c, nil
}

func (c *Caller) readRole(state account.State) error {
	s := c.session
	c.Principal = policy.Principal{
		Kind:     policy.RoleSession,
		ARN:      "arn:" + c.Account.Partition + ":sts::" + c.Account.ID + ":assumed-role/" + s.RoleName + "/" + s.Name,
		RoleARN:  s.RoleARN,
		EntityID: s.RoleID,
		UserID:   s.RoleID + ":" + s.Name,
		Account:  c.Account.ID,
		Tags:     map[string]string{},
	}
	role, err := state.Role(s.RoleName)
	if err != nil {
		return err
	}
	if role.ID != s.RoleID { // another role of the same name
		return account.ErrNotFound
	}
	c.Principal.Tags = tagMap(role.Tags)
	return c.read(state, []account.Permissions{role.Permissions}, role.Boundary)
}

// federated is the federated user that a user vouches for.
func federated(a *account.Account, user *policy.Principal, name string) policy.Principal {
	return policy.Principal{
		Kind:     policy.FederatedUser,
		ARN:      FederatedARN(a, name),
		UserARN:  user.ARN,
		EntityID: user.EntityID,
		UserID:   a.ID + ":" + name,
		Account:  a.ID,
		Tags:     user.Tags,
	}
}

// FederatedARN is the ARN of a federated user.
func FederatedARN(a *account.Account, name string) string {
	return "arn:" + a.Partition + ":sts::" + a.ID + ":federated-user/" + name
}

// read parses the policies that apply to the caller.
func (c *Caller) read(state account.State, given []account.Permissions, boundary string) error {
	for _, permissions := range given {
		for _, document := range permissions.Policies {
			parsed, err := c.Account.Parse(policy.Identity, document.Name, document.Text)
			if err != nil {
				return err
			}
			c.Identity = append(c.Identity, parsed)
		}
		for _, attached := range permissions.Attached {
			parsed, err := managed(state, policy.Identity, attached)
			if err != nil {
				return err
			}
			c.Identity = append(c.Identity, parsed)
		}
	}
	if boundary == "" {
		return nil
	}
	var err error
	c.Boundary, err = managed(state, policy.Boundary, boundary)
	return err
}

// readManaged parses the managed session policies in the version that is the
// default now (spec iam-policy §1.5). One that was deleted allows nothing.
func (c *Caller) readManaged(state account.State, arns []string) error {
	for _, arn := range arns {
		c.HasSession = true
		parsed, err := managed(state, policy.Session, arn)
		if errors.Is(err, account.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		c.Session = append(c.Session, parsed)
	}
	return nil
}

func managed(state account.State, kind policy.Kind, arn string) (*policy.Policy, error) {
	found, err := state.PolicyByARN(arn)
	if err != nil {
		return nil, fmt.Errorf("read managed policy %s: %w", arn, err)
	}
	return state.Account().Parse(kind, found.Name, found.Default().Text)
}

func tagMap(tags []account.Tag) map[string]string {
	byKey := make(map[string]string, len(tags))
	for _, tag := range tags {
		byKey[tag.Key] = tag.Value
	}
	return byKey
}

// Policies are the caller's own, as a decision wants them.
func (c *Caller) Policies() *policy.Policies {
	return &policy.Policies{Identity: c.Identity, Boundary: c.Boundary, Session: c.Session, HasSession: c.HasSession}
}

// IsSession reports whether the caller has temporary credentials.
func (c *Caller) IsSession() bool { return c.session != nil }

// Inheritance is what the caller's session passes on to the next one.
func (c *Caller) Inheritance() policy.Inheritance {
	if c.session == nil {
		return policy.Inheritance{}
	}
	handed := policy.Inheritance{SourceIdentity: c.session.Source}
	for _, tag := range c.session.Tags {
		if slices.ContainsFunc(c.session.Transitive, func(key string) bool { return arn.SameKey(key, tag.Key) }) {
			handed.TransitiveTags = append(handed.TransitiveTags, policy.Tag(tag))
		}
	}
	return handed
}

// AddContext sets the condition keys that the signature and a session bring
// (spec iam-policy §5.1, §5.4).
func (c *Caller) AddContext(context *policy.Context) {
	context.Set("aws:RequestedRegion", c.Region)
	s := c.session
	if s == nil {
		return
	}
	context.Set("aws:TokenIssueTime", s.Issued.UTC().Format(time.RFC3339))
	if s.Provider == "" {
		context.Set("aws:MultiFactorAuthPresent", "false")
	} else {
		context.Set("aws:FederatedProvider", s.Provider)
	}
	if s.Source != "" {
		context.Set("aws:SourceIdentity", s.Source)
	}
	for key, text := range s.Claims {
		context.Set(key, text)
	}
	for key, texts := range s.ClaimLists {
		context.SetMulti(key, texts)
	}
}

// RequestContext holds the condition keys of the network and the clock (spec
// iam-policy §5.2). The region is that of the endpoint.
func RequestContext(r *http.Request, region string, now time.Time) *policy.Context {
	context := policy.NewContext().
		Set("aws:CurrentTime", now.UTC().Format(time.RFC3339)).
		Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10)).
		Set("aws:SecureTransport", strconv.FormatBool(r.TLS != nil)).
		Set("aws:ViaAWSService", "false").
		Set("aws:RequestedRegion", region)
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		context.Set("aws:SourceIp", host)
	}
	if agent := r.UserAgent(); agent != "" {
		context.Set("aws:UserAgent", agent)
	}
	return context
}

// Denied is the refusal of a call in the words of most services (spec iam-policy
// §4.4), with its explanation.
func (c *Caller) Denied(
	action, resource string, decision policy.Decision, explanation *policy.Explanation,
) *wire.Error {
	kind := decision.Kind.String()
	because := "because no " + kind + " allows the " + action + " action"
	if decision.Effect == policy.ExplicitDeny {
		article := "a "
		if decision.Kind == policy.Identity {
			article = "an "
		}
		because = "with an explicit deny in " + article + kind
	}
	return wire.Errorf(
		http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s %s",
		c.Principal.ARN, action, resource, because,
	).
		Explained(explanation)
}
