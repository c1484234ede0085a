// Package caller is who signed a request to local AWS, with the policies that
// hold for them.
//
// It verifies no signature; see package localaws.
package caller

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/policy"
)

// Caller is an authenticated caller.
type Caller struct {
	Principal policy.Principal
	// Account is the one the caller is of.
	Account *account.Account
	// Identity are the caller's own policies.
	Identity []*policy.Policy
	// Session are the session policies; HasSession tells none from empty.
	Session    []*policy.Policy
	HasSession bool
	// SourceIdentity and Claims are what a session keeps from its beginning.
	SourceIdentity string
	Claims         map[string]string
	// Region is that of the signature's scope.
	Region string

	session *account.Session // nil for users
}

// User returns the user of an access key with the policies the user has now;
// account.ErrNotFound if there is no such user any more.
func User(a *account.Account, name string) (*Caller, error) {
	c := &Caller{Account: a}
	err := a.View(func(state account.State) error {
		user, err := state.User(name)
		if err != nil {
			return err
		}
		c.Principal = policy.Principal{
			Kind: policy.User, ARN: a.UserARN(user), EntityID: user.ID, UserID: user.ID, UserName: user.Name, Account: a.ID, Tags: tagMap(user.Tags),
		}
		c.Identity, err = parse(policy.Identity, user.Policies)
		return err
	})
	return c, err
}

// Session returns a role session with the policies the role has now. A role
// that was deleted since has none.
func Session(a *account.Account, s *account.Session) (*Caller, error) {
	c := &Caller{
		Account: a,
		Principal: policy.Principal{
			Kind: policy.RoleSession, ARN: "arn:" + a.Partition + ":sts::" + a.ID + ":assumed-role/" + s.RoleName + "/" + s.Name,
			RoleARN: s.RoleARN, EntityID: s.RoleID, UserID: s.RoleID + ":" + s.Name, Account: a.ID, Tags: map[string]string{},
		},
		SourceIdentity: s.Source, Claims: s.Claims, session: s,
	}
	err := a.View(func(state account.State) error {
		role, err := state.Role(s.RoleName)
		if errors.Is(err, account.ErrNotFound) || (err == nil && role.ID != s.RoleID) {
			return nil
		}
		if err != nil {
			return err
		}
		c.Principal.Tags = tagMap(role.Tags)
		c.Identity, err = parse(policy.Identity, role.Policies)
		return err
	})
	if err != nil {
		return nil, err
	}
	// A session tag takes the place of the role's tag of that key, in any case.
	for _, tag := range s.Tags {
		maps.DeleteFunc(c.Principal.Tags, func(key, _ string) bool { return strings.EqualFold(key, tag.Key) })
		c.Principal.Tags[tag.Key] = tag.Value
	}
	for _, text := range s.Policies {
		parsed, err := policy.Parse(policy.Session, "session policy", []byte(text))
		if err != nil {
			return nil, err
		}
		c.Session, c.HasSession = append(c.Session, parsed), true
	}
	return c, nil
}

func parse(kind policy.Kind, documents []account.Document) ([]*policy.Policy, error) {
	var parsed []*policy.Policy
	for _, document := range documents {
		one, err := policy.Parse(kind, document.Name, []byte(document.Text))
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, one)
	}
	return parsed, nil
}

func tagMap(tags []account.Tag) map[string]string {
	byKey := make(map[string]string, len(tags))
	for _, tag := range tags {
		byKey[tag.Key] = tag.Value
	}
	return byKey
}

// IsSession reports whether the caller has temporary credentials.
func (c *Caller) IsSession() bool { return c.session != nil }

// TransitiveTags are the session's tags that go on to the next session.
func (c *Caller) TransitiveTags() []account.Tag {
	if c.session == nil {
		return nil
	}
	var tags []account.Tag
	for _, tag := range c.session.Tags {
		if slices.ContainsFunc(c.session.Transitive, func(key string) bool { return strings.EqualFold(key, tag.Key) }) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// AddContext sets the condition keys that the signature and a session bring
// (spec iam-policy §5.1).
func (c *Caller) AddContext(context *policy.Context) {
	context.Set("aws:RequestedRegion", c.Region)
	if c.session == nil {
		return
	}
	context.Set("aws:TokenIssueTime", c.session.Issued.UTC().Format(time.RFC3339))
	if c.session.Provider != "" {
		context.Set("aws:FederatedProvider", c.session.Provider)
	}
	if c.SourceIdentity != "" {
		context.Set("aws:SourceIdentity", c.SourceIdentity)
	}
	for key, text := range c.Claims {
		context.Set(key, text)
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
