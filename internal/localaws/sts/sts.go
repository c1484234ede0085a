// Package sts is local AWS's Security Token Service: who the caller is, and
// credentials of roles for callers and web identities that the roles trust.
//
// It does not authenticate requests or know users; see package localaws.
package sts

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// Service is STS. Keys is needed.
type Service struct {
	Keys *Keys
}

// Operations returns what is emulated, for local AWS to serve.
func (s *Service) Operations() *service.Service {
	return &service.Service{
		Name: "sts", Protocol: wire.AWSQuery, Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Operations: map[string]service.Operation{
			"AssumeRoleWithWebIdentity": {Access: service.Anybody, Do: s.webIdentity},
			"AssumeRole":                {Access: service.Signed, Do: assumeRole},
			"GetCallerIdentity":         {Access: service.Signed, Do: callerIdentity},
		},
		Others: []string{
			"AssumeRoleWithSAML", "AssumeRoot", "DecodeAuthorizationMessage", "GetAccessKeyInfo", "GetDelegatedAccessToken",
			"GetFederationToken", "GetSessionToken", "GetWebIdentityToken",
		},
	}
}

// Limits of requests, from the service model.
var (
	roleARNLimit     = wire.Constraint{Min: 20, Max: 2048}
	sessionNameLimit = wire.Constraint{Min: 2, Max: 64, Pattern: sessionNamePattern}
	tokenLimit       = wire.Constraint{Min: 4, Max: 20000, Sensitive: true}
	providerIDLimit  = wire.Constraint{Min: 4, Max: 2048, Optional: true}
	policyLimit      = wire.Constraint{Min: 1, Max: 2048, Optional: true, Sensitive: true}
	policyARNLimit   = wire.Constraint{Min: 20, Max: 2048}
	externalIDLimit  = wire.Constraint{Min: 2, Max: 1224, Optional: true, Pattern: regexp.MustCompile(`^[\w+=,.@:\/-]*$`)}
	sourceLimit      = wire.Constraint{Min: 2, Max: 64, Optional: true, Pattern: sessionNamePattern}
)

const (
	minDuration, maxDuration = 900, 43200
	defaultDuration          = 3600
	chainedDuration          = 3600
	maxTags                  = 50
	maxPolicyARNs            = 10
	maxPolicyText            = 2048 // of an inline session policy and the ARNs of managed ones
)

// take is a request to take a role, however it comes.
type take struct {
	role        arn.Role
	sessionName string
	duration    int
	policies    []string
	policyARNs  []string // managed session policies
	tags        []account.Tag
	transitive  []string
	source      string
}

// readTake reads the parameters that both operations have.
func readTake(q *wire.Query) (*take, error) {
	t := &take{}
	roleARN := q.Text("RoleArn", roleARNLimit)
	t.sessionName = q.Text("RoleSessionName", sessionNameLimit)
	if text := q.Text("Policy", policyLimit); text != "" {
		t.policies = []string{text}
	}
	members := q.Members("PolicyArns")
	if len(members) > maxPolicyARNs {
		q.Violate("Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to %d", maxPolicyARNs)
	}
	for _, member := range members {
		t.policyARNs = append(t.policyARNs, q.Text(member+".arn", policyARNLimit))
	}
	var err error
	if t.duration, err = q.Int("DurationSeconds", defaultDuration, minDuration, maxDuration); err != nil {
		return nil, err
	}
	if q.Has("RoleArn") && len(roleARN) >= 20 {
		if t.role, err = arn.ParseRole(roleARN); err != nil {
			if err := q.Check(); err != nil {
				return nil, err
			}
			return nil, wire.Errorf(http.StatusBadRequest, "ValidationError", "%s is invalid", roleARN)
		}
	}
	return t, nil
}

// webIdentity is AssumeRoleWithWebIdentity. Whoever signed the request, if
// anybody, has no influence.
func (s *Service) webIdentity(q *service.Call) (any, error) {
	t, err := readTake(q.Query)
	if err != nil {
		return nil, err
	}
	raw := q.Text("WebIdentityToken", tokenLimit)
	providerID := q.Text("ProviderId", providerIDLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	if providerID != "" {
		return nil, refuseProviderID(providerID)
	}
	identity, err := s.verify(q, raw, t.role)
	if err != nil {
		return nil, err
	}
	t.tags, t.transitive, t.source = identity.tags, identity.transitive, identity.sourceIdentity
	owner, role, err := findRole(q.Accounts, t.role)
	if err != nil {
		return nil, wire.Errorf(http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity").Because("%s", err)
	}
	context := t.context(q, owner, role)
	identity.context(context)
	for _, action := range t.actions("sts:AssumeRoleWithWebIdentity") {
		refused := wire.Errorf(http.StatusForbidden, "AccessDenied", "Not authorized to perform %s", action)
		if err := trusts(action, identity.principal(owner.ID), context, owner, role, nil, refused); err != nil {
			return nil, err
		}
	}
	granted, err := t.issue(q, owner, role, account.Session{Provider: identity.providerARN, Claims: identity.claims()})
	if err != nil {
		return nil, err
	}
	return webIdentityResult{
		Subject: identity.subject, Audience: identity.audience, AssumedRoleUser: granted.user, Credentials: granted.credentials,
		SourceIdentity: t.source, Provider: identity.providerARN, PackedPolicySize: packedSize(t, len(identity.subject)+len(identity.providerARN)),
	}, nil
}

func refuseProviderID(id string) error {
	switch id {
	case "www.amazon.com":
		return invalidToken("Provided Token is not a Login With Amazon token")
	case "graph.facebook.com":
		return wire.Errorf(http.StatusForbidden, "IDPRejectedClaim", "The identity provider rejected the token.")
	}
	return wire.Errorf(http.StatusForbidden, "AccessDenied", "Unrecognized OAuth provider. Do not include a provider parameter when submitting OpenIDConnect ID tokens")
}

// assumeRole takes a role, of any account that is played here, for a caller
// whose request was signed.
func assumeRole(q *service.Call) (any, error) {
	who := q.Caller
	t, err := readTake(q.Query)
	if err != nil {
		return nil, err
	}
	externalID := q.Text("ExternalId", externalIDLimit)
	t.source = q.Text("SourceIdentity", sourceLimit)
	for _, m := range q.Members("Tags") {
		t.tags = append(t.tags, account.Tag{Key: q.Get(m + ".Key"), Value: q.Get(m + ".Value")})
	}
	t.transitive = q.List("TransitiveTagKeys")
	if slices.ContainsFunc([]string{"SerialNumber", "TokenCode"}, q.Has) {
		return nil, wire.Errorf(http.StatusForbidden, "AccessDenied", "MultiFactorAuthentication failed, unable to validate MFA code.").Because("there are no MFA devices here")
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := t.inherit(who); err != nil {
		return nil, err
	}
	denied := func(action string) *wire.Error {
		return wire.Errorf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s", who.Principal.ARN, action, t.role.ARN())
	}
	owner, role, err := findRole(q.Accounts, t.role)
	if err != nil {
		return nil, denied("sts:AssumeRole").Because("%s", err)
	}
	context := t.context(q, owner, role)
	who.AddContext(context)
	if externalID != "" {
		context.Set("sts:ExternalId", externalID)
	}
	for _, action := range t.actions("sts:AssumeRole") {
		if err := trusts(action, who.Principal, context, owner, role, who, denied(action)); err != nil {
			return nil, err
		}
	}
	if who.IsSession() && t.duration > chainedDuration {
		return nil, wire.Errorf(http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	granted, err := t.issue(q, owner, role, account.Session{Claims: who.Claims})
	if err != nil {
		return nil, err
	}
	return assumeRoleResult{
		Credentials: granted.credentials, AssumedRoleUser: granted.user, SourceIdentity: t.source,
		PackedPolicySize: packedSize(t, 0),
	}, nil
}

// inherit adds the calling session's transitive tags and source identity (spec
// iam-policy §4.4).
func (t *take) inherit(who *caller.Caller) error {
	if err := checkTags(t.tags, t.transitive); err != nil {
		return err
	}
	for _, inherited := range who.TransitiveTags() {
		if slices.ContainsFunc(t.tags, func(tag account.Tag) bool { return strings.EqualFold(tag.Key, inherited.Key) }) {
			return invalidParameter("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
		t.tags = append(t.tags, inherited)
		t.transitive = append(t.transitive, inherited.Key)
	}
	if inherited := who.SourceIdentity; inherited != "" {
		if t.source != "" && t.source != inherited {
			return wire.Errorf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: sts:SetSourceIdentity on resource: %s", who.Principal.ARN, t.role.ARN()).
				Because("the calling session has the source identity %q, which cannot be changed", inherited)
		}
		t.source = inherited
	}
	return nil
}

// callerIdentity is GetCallerIdentity: valid credentials suffice.
func callerIdentity(q *service.Call) (any, error) {
	who := q.Caller.Principal
	return callerIdentityResult{ARN: who.ARN, UserID: who.UserID, Account: who.Account}, nil
}

// actions lists what must be allowed: taking the role, and what the session
// will carry.
func (t *take) actions(first string) []string {
	actions := []string{first}
	if len(t.tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if t.source != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	return actions
}

// findRole finds a role by its whole ARN, in whichever account it is; the path
// counts.
func findRole(accounts *account.Set, want arn.Role) (*account.Account, *account.Role, error) {
	owner, found := accounts.Find(want.Account)
	if !found || want.Partition != owner.Partition {
		return nil, nil, fmt.Errorf("role %s is in no account that is played here", want.ARN())
	}
	var role *account.Role
	err := owner.View(func(state account.State) (err error) {
		role, err = state.Role(want.Name)
		return err
	})
	switch {
	case errors.Is(err, account.ErrNotFound):
		return nil, nil, fmt.Errorf("there is no role %s", want.ARN())
	case err != nil:
		return nil, nil, err
	case owner.RoleARN(role) != want.ARN().String():
		return nil, nil, fmt.Errorf("there is no role %s, but there is %s", want.ARN(), owner.RoleARN(role))
	}
	return owner, role, nil
}

// context holds the condition keys of the request itself.
func (t *take) context(q *service.Call, owner *account.Account, role *account.Role) *policy.Context {
	context := caller.RequestContext(q.HTTP, q.Region, q.Time).Set("sts:RoleSessionName", t.sessionName).Set("aws:ResourceAccount", owner.ID)
	for _, tag := range role.Tags {
		context.Set("aws:ResourceTag/"+tag.Key, tag.Value)
	}
	if len(t.tags) > 0 {
		keys := make([]string, 0, len(t.tags))
		for _, tag := range t.tags {
			keys = append(keys, tag.Key)
			context.Set("aws:RequestTag/"+tag.Key, tag.Value)
		}
		context.SetMulti("aws:TagKeys", keys)
	}
	if len(t.transitive) > 0 {
		context.SetMulti("sts:TransitiveTagKeys", t.transitive)
	}
	if t.source != "" {
		context.Set("sts:SourceIdentity", t.source)
	}
	return context
}

// trusts decides one action on a role, by its trust policy and the caller's own
// policies. It returns refused, with the explanation, if it is not allowed.
func trusts(action string, principal policy.Principal, context *policy.Context, owner *account.Account, role *account.Role, who *caller.Caller, refused *wire.Error) error {
	trust, err := owner.Parse(policy.Trust, role.Name, role.Trust)
	if err != nil {
		return fmt.Errorf("read the stored trust policy of %s: %w", owner.RoleARN(role), err)
	}
	request := &policy.Request{
		Principal: principal, Action: action, Resource: owner.RoleARN(role), ResourceAccount: owner.ID, Context: context,
	}
	policies := &policy.Policies{Trust: trust.Bind(role.Principals)}
	if who != nil {
		policies.Identity, policies.Boundary, policies.Session, policies.HasSession = who.Identity, who.Boundary, who.Session, who.HasSession
	}
	if policy.Decide(request, policies).Effect != policy.Allowed {
		return refused.Explained(policy.Explain(request, policies))
	}
	return nil
}

type granted struct {
	user        assumedRoleUser
	credentials sessionCredentials
}

// issue makes the session, after the last checks.
func (t *take) issue(q *service.Call, owner *account.Account, role *account.Role, session account.Session) (*granted, error) {
	if t.duration > role.MaxSession {
		return nil, wire.Errorf(http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	for _, text := range t.policies {
		if _, err := policy.Parse(policy.Session, "session policy", []byte(text)); err != nil {
			return nil, wire.Errorf(http.StatusBadRequest, "MalformedPolicyDocument", "This policy contains invalid Json").Because("%s", err)
		}
	}
	if err := t.checkManaged(owner); err != nil {
		return nil, err
	}
	now := q.Time
	session.RoleARN, session.RoleName, session.RoleID, session.Name = owner.RoleARN(role), role.Name, role.ID, t.sessionName
	session.Issued, session.Expires = now, now.Add(time.Duration(t.duration)*time.Second)
	session.Tags, session.Transitive, session.Source, session.Policies = t.tags, t.transitive, t.source, t.policies
	session.PolicyARNs = t.policyARNs
	issued, err := owner.IssueSession(session)
	if err != nil {
		return nil, err
	}
	return &granted{
		user:        assumedRoleUser{ARN: t.role.Session(t.sessionName).String(), ID: role.ID + ":" + t.sessionName},
		credentials: newSessionCredentials(issued),
	}, nil
}

// checkManaged looks for the managed session policies, which are of the role's
// account or AWS's own. What they say counts when they are used, not now.
func (t *take) checkManaged(owner *account.Account) error {
	size := 0
	for _, text := range slices.Concat(t.policies, t.policyARNs) {
		size += len(text)
	}
	if size > maxPolicyText {
		return wire.Errorf(http.StatusBadRequest, "PackedPolicyTooLarge", "Packed policy consumes %d%% of allotted space, please use smaller policy.", size*100/maxPolicyText)
	}
	return owner.View(func(state account.State) error {
		for _, arn := range t.policyARNs {
			_, err := state.PolicyByARN(arn)
			if errors.Is(err, account.ErrNotFound) {
				return wire.Errorf(http.StatusBadRequest, "ValidationError", "%s is invalid", arn).Because("there is no such managed policy in the role's account %s", owner.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func invalidParameter(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, "InvalidParameterValue", format, args...)
}

// checkTags is spec issuer-and-sts §10.7 and §11.
func checkTags(tags []account.Tag, transitive []string) error {
	if len(tags) > maxTags {
		return invalidParameter("At most %d session tags are allowed.", maxTags)
	}
	seen := map[string]bool{}
	for _, tag := range tags {
		folded := strings.ToLower(tag.Key)
		switch {
		case seen[folded]:
			return invalidParameter("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case tag.Key == "" || len(tag.Key) > 128 || len(tag.Value) > 256 || strings.HasPrefix(folded, "aws:"):
			return invalidParameter("The tag %q is not valid: keys have 1 to 128 characters and do not begin with aws:, values at most 256.", tag.Key)
		}
		seen[folded] = true
	}
	for _, key := range transitive {
		if !seen[strings.ToLower(key)] {
			return invalidParameter("The specified transitive tag key must be included in the requested tags.")
		}
	}
	return nil
}

// packedSize is an opaque percentage of what a session may carry; nil when it
// carries nothing.
func packedSize(t *take, more int) *int {
	size := more
	for _, text := range slices.Concat(t.policies, t.policyARNs) {
		size += len(text)
	}
	for _, tag := range t.tags {
		size += len(tag.Key) + len(tag.Value)
	}
	if size == 0 {
		return nil
	}
	percent := min(100, size*100/4096+1)
	return &percent
}

func newSessionCredentials(c credential.AWS) sessionCredentials {
	return sessionCredentials{c.SessionToken.Reveal(), c.SecretKey.Reveal(), wire.Time(c.Expires), c.AccessKeyID}
}
