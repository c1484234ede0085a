// Package caller is who signed a request to local AWS, with the policies that
// hold for them.
//
// It verifies no signature; see package localaws.
package caller

import (
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

	session *account.Session // nil for the administrator
}

// administrator is the AWS managed policy AdministratorAccess.
const administrator = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// Administrator returns the local administrator, an IAM user with
// AdministratorAccess.
func Administrator(a *account.Account) (*Caller, error) {
	all, err := policy.Parse(policy.Identity, "AdministratorAccess", []byte(administrator))
	if err != nil {
		return nil, err
	}
	return &Caller{
		Principal: policy.Principal{
			Kind: policy.User, ARN: a.AdminARN(), EntityID: account.AdminID, UserID: account.AdminID, UserName: "admin", Account: a.ID,
		},
		Identity: []*policy.Policy{all},
	}, nil
}

// Session returns a role session. Roles have no permission policies here, so
// it can do nothing but what resources and trust policies grant it.
func Session(a *account.Account, s *account.Session) (*Caller, error) {
	c := &Caller{
		Principal: policy.Principal{
			Kind: policy.RoleSession, ARN: "arn:" + a.Partition + ":sts::" + a.ID + ":assumed-role/" + s.RoleName + "/" + s.Name,
			RoleARN: s.RoleARN, EntityID: s.RoleID, UserID: s.RoleID + ":" + s.Name, Account: a.ID, Tags: map[string]string{},
		},
		SourceIdentity: s.Source, Claims: s.Claims, session: s,
	}
	for _, tag := range s.Tags {
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
// iam-policy §5.2).
func RequestContext(r *http.Request, now time.Time) *policy.Context {
	context := policy.NewContext().
		Set("aws:CurrentTime", now.UTC().Format(time.RFC3339)).
		Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10)).
		Set("aws:SecureTransport", strconv.FormatBool(r.TLS != nil)).
		Set("aws:ViaAWSService", "false").
		Set("aws:RequestedRegion", regionOf(r.Host))
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		context.Set("aws:SourceIp", host)
	}
	if agent := r.UserAgent(); agent != "" {
		context.Set("aws:UserAgent", agent)
	}
	return context
}

// regionOf reads a regional host name, SERVICE.REGION.amazonaws.com; any other,
// such as this machine's, stands for the global endpoint.
func regionOf(host string) string {
	labels := strings.Split(host, ".")
	if len(labels) >= 4 && labels[2] == "amazonaws" {
		return labels[1]
	}
	return "us-east-1"
}
