package policy

import (
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Policies are the documents that take part in one decision. A nil Boundary,
// Trust or Resource means there is none.
type Policies struct {
	// Identity are the caller's own documents: inline, attached, of groups.
	Identity []*Policy
	Boundary *Policy
	// Session are the session's documents; HasSession tells a session without
	// session policies from one whose policies grant nothing.
	Session    []*Policy
	HasSession bool
	// Trust is the role's trust policy, for actions that assume the role.
	Trust *Policy
	// Resource is the resource's own policy.
	Resource *Policy
	// SCP and RCP go by level from the organisation's root to the account.
	SCP, RCP [][]*Policy
	Endpoint []*Policy
	// Unread are kinds of documents that may exist but were not given; Explain
	// says what was assumed about them.
	Unread []Kind
}

// Effect is the outcome of a decision. The zero value denies.
type Effect int

// The outcomes.
const (
	ImplicitDeny Effect = iota // nothing allows it
	ExplicitDeny               // something denies it
	Allowed
)

// String returns the name AWS's simulators use.
func (e Effect) String() string {
	return [...]string{"ImplicitDeny", "ExplicitDeny", "Allowed"}[e]
}

// Decision is an outcome and what led to it.
type Decision struct {
	Effect Effect
	// Reason is a code of spec iam-policy §6, such as trust-condition-failed.
	Reason string
	// Kind is the kind of policy that denied, or that failed to allow.
	Kind Kind
}

// verdict is what one set of documents says.
type verdict struct {
	deny  bool
	allow bool
	// best is the strongest principal match among applying Allow statements.
	best strength
}

// Decide evaluates a request against policies in the order of spec iam-policy
// §4.3. All documents are evaluated before anything is allowed, since a Deny
// anywhere is final.
func Decide(r *Request, p *Policies) Decision {
	if decision, decided := withoutPolicies(r); decided {
		return decision
	}
	e := newEvaluation(r, p)
	scp, scpDeny, rcpDeny := true, false, false
	if e.concernedBy(SCP) {
		scp, scpDeny = e.levels(p.SCP)
	}
	if e.concernedBy(RCP) {
		// RCPFullAWSAccess is on every level and cannot be removed, so of
		// resource control policies only what they deny counts.
		_, rcpDeny = e.levels(p.RCP)
	}
	endpoint := e.all(p.Endpoint)
	resource := e.one(p.Resource)
	trust := e.one(p.Trust)
	boundary := e.one(p.Boundary)
	session := e.all(p.Session)
	identity := e.all(p.Identity)
	for _, denial := range [...]struct {
		deny bool
		kind Kind
		code string
	}{
		{scpDeny, SCP, "explicit-deny:scp"},
		{rcpDeny, RCP, "explicit-deny:rcp"},
		{endpoint.deny, Endpoint, "explicit-deny:endpoint"},
		{resource.deny, Resource, "explicit-deny:resource"},
		{trust.deny, Trust, "explicit-deny:trust"},
		{boundary.deny, Boundary, "explicit-deny:boundary"},
		{session.deny, Session, "explicit-deny:session"},
		{identity.deny, Identity, "explicit-deny:identity"},
	} {
		if denial.deny {
			return Decision{Effect: ExplicitDeny, Reason: denial.code, Kind: denial.kind}
		}
	}
	switch {
	case !scp:
		return Decision{Reason: "scp-silent", Kind: SCP}
	case len(p.Endpoint) > 0 && !endpoint.allow:
		return Decision{Reason: "endpoint-silent", Kind: Endpoint}
	}
	g := grant{
		request: r, policies: p,
		identity: identity.allow,
		boundary: p.Boundary == nil || boundary.allow,
		session:  e.sessionAllows(p, session),
		trust:    trust, resource: resource,
	}
	return g.decide()
}

// withoutPolicies decides what no policy affects.
func withoutPolicies(r *Request) (decision Decision, decided bool) {
	switch {
	case equalASCII(r.Action, "sts:GetCallerIdentity") && r.Principal.Kind != Anonymous:
		return Decision{Effect: Allowed, Reason: "allowed-direct"}, true
	case equalASCII(r.Action, "sts:AssumeRole") && r.Principal.Kind == Root:
		return Decision{Effect: ImplicitDeny, Reason: "root-cannot-assume", Kind: Trust}, true
	}
	return Decision{}, false
}

// concernedBy reports whether policies of a kind apply: the organisation's do
// not affect service-linked roles (spec iam-policy §4.3).
func (e *evaluation) concernedBy(kind Kind) bool {
	caller := &e.request.Principal
	switch kind { //nolint:exhaustive // the others always apply
	case SCP:
		return e.hasAccount() && (caller.Kind != RoleSession || !isServiceLinked(caller.RoleARN))
	case RCP:
		return caller.Kind != Service || !isServiceLinked(e.request.Resource)
	}
	return true
}

func isServiceLinked(role string) bool {
	return strings.HasPrefix(partAfter(role, 2), "iam:") &&
		strings.HasPrefix(partAfter(role, 5), "role/aws-service-role/")
}

// hasAccount reports whether the caller belongs to an account.
func (e *evaluation) hasAccount() bool {
	switch e.request.Principal.Kind {
	case User, RoleSession, FederatedUser, Root:
		return true
	case Anonymous, Service, WebIdentity:
	}
	return false
}

// sessionAllows: no session policy allows everything, except for federated
// users, who without one have nothing.
func (e *evaluation) sessionAllows(p *Policies, session verdict) bool {
	if !p.HasSession && len(p.Session) == 0 {
		return e.request.Principal.Kind != FederatedUser
	}
	return session.allow
}

// grant is the table of spec iam-policy §4.3.
type grant struct {
	request                     *Request
	policies                    *Policies
	identity, boundary, session bool
	trust, resource             verdict
}

func (g *grant) decide() Decision {
	document, kind, silent := g.resource, Resource, "resource-silent"
	if g.policies.Trust != nil {
		document, kind, silent = g.trust, Trust, "no-trust-match"
	}
	match := unmatched
	if document.allow {
		match = document.best
	}
	switch g.request.Principal.Kind {
	case Service, WebIdentity, Anonymous:
		if match == direct {
			return Decision{Effect: Allowed, Reason: "allowed-direct"}
		}
		return Decision{Reason: silent, Kind: kind}
	case Root:
		// A root user has every permission of its account.
		g.identity = true
		if g.policies.Trust == nil && g.request.sameAccount() {
			return Decision{Effect: Allowed, Reason: "allowed-direct"}
		}
	case User, RoleSession, FederatedUser:
	}
	if !g.request.sameAccount() {
		if match == unmatched {
			return Decision{Reason: silent, Kind: kind}
		}
		return g.callerSide("allowed-both")
	}
	switch match {
	case direct:
		return Decision{Effect: Allowed, Reason: "allowed-direct"}
	case viaRole, viaUser:
		return g.limits("allowed-direct")
	case unmatched:
		if documentAlone(g.request, g.policies) {
			return Decision{Reason: silent, Kind: kind}
		}
		return g.callerSide("allowed-identity")
	case viaAccount:
	}
	return g.callerSide("allowed-both")
}

// documentAlone: a role's trust and a key's policy must let the caller in; the
// policies of other resources need not (spec iam-policy §4.3). In IAM only roles
// have a policy of their own.
func documentAlone(r *Request, p *Policies) bool {
	service := partAfter(r.Resource, 2)
	return p.Trust != nil ||
		(p.Resource != nil && (strings.HasPrefix(service, "kms:") || strings.HasPrefix(service, "iam:")))
}

// partAfter returns what follows the nth colon.
func partAfter(text string, n int) string {
	for range n {
		_, rest, more := strings.Cut(text, ":")
		if !more {
			return ""
		}
		text = rest
	}
	return text
}

// callerSide needs an identity Allow within the limits.
func (g *grant) callerSide(reason string) Decision {
	if !g.identity {
		return Decision{Reason: "identity-silent", Kind: Identity}
	}
	return g.limits(reason)
}

func (g *grant) limits(reason string) Decision {
	switch {
	case !g.boundary:
		return Decision{Reason: "boundary-silent", Kind: Boundary}
	case !g.session:
		return Decision{Reason: "session-silent", Kind: Session}
	}
	return Decision{Effect: Allowed, Reason: reason}
}

// sameAccount compares the resource's owner with the caller's account. A
// resource without account, such as "*", is the caller's own.
func (r *Request) sameAccount() bool {
	owner := r.owner()
	return owner == "" || owner == r.Principal.Account
}

// owner is the account of the resource, empty if it is not known. AWS's managed
// policies are in every account, to be read: nobody can change or tag them (spec
// iam-policy §8).
func (r *Request) owner() string {
	if r.ResourceAccount != "" {
		return r.ResourceAccount
	}
	account := accountOf(r.Resource)
	if account == "aws" && readsManaged.MatchString(r.Action) {
		return ""
	}
	return account
}

var readsManaged = lazyregexp.New(`^(?i)iam:(get|list|generate)`)

func accountOf(resource string) string {
	account, _, _ := strings.Cut(partAfter(resource, 4), ":")
	return account
}

// evaluation is one request on its way through documents.
type evaluation struct {
	request *Request
	action  action
	bounded bool // the caller has a permissions boundary
}

func newEvaluation(r *Request, p *Policies) evaluation {
	return evaluation{request: r, action: splitAction(r.Action), bounded: p.Boundary != nil}
}

func (e *evaluation) one(p *Policy) verdict {
	var v verdict
	if p != nil {
		e.add(p, &v)
	}
	return v
}

func (e *evaluation) all(policies []*Policy) verdict {
	var v verdict
	for _, p := range policies {
		e.add(p, &v)
	}
	return v
}

// levels needs an Allow on every level; no levels at all is no restriction.
func (e *evaluation) levels(levels [][]*Policy) (allow, deny bool) {
	allow = true
	for _, level := range levels {
		v := e.all(level)
		allow = allow && v.allow
		deny = deny || v.deny
	}
	return allow, deny
}

func (e *evaluation) add(p *Policy, v *verdict) {
	for i := range p.statements {
		s := &p.statements[i]
		match := e.principal(p, s)
		if match == unmatched || !e.applies(s) {
			continue
		}
		if s.allow {
			v.allow = true
			v.best = max(v.best, match)
		} else {
			v.deny = true
		}
	}
}

// principal: a statement without Principal, in a kind of document that has
// none, matches its holder. For a caller with a boundary a Deny with
// NotPrincipal always matches, whatever it lists (spec iam-policy §4.2).
func (e *evaluation) principal(p *Policy, s *statement) strength {
	if s.principal == nil || (e.bounded && !s.allow && s.principal.not) {
		return direct
	}
	return s.principal.match(&e.request.Principal, p.kind, s.allow)
}

// applies is everything of a statement but its principal.
func (e *evaluation) applies(s *statement) bool {
	if !s.action.match(e.action) || (s.resource != nil && !s.resource.match(e.request)) {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(e.request) {
			return false
		}
	}
	return true
}
