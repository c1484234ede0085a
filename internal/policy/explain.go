package policy

import (
	"slices"
	"strings"
)

// Explain decides and says why. It is slower than Decide and agrees with it.
func Explain(r *Request, p *Policies) *Explanation {
	decision := Decide(r, p)
	x := explainer{
		evaluation: newEvaluation(r, p), policies: p, decision: decision,
		out: &Explanation{
			Decision: decision.Effect.String(), Reason: decision.Reason, Action: r.Action, Resource: r.Resource,
			Principal: ExplainedPrincipal{
				r.Principal.Kind.String(),
				r.Principal.ARN,
				r.Principal.RoleARN,
				r.Principal.Account,
			},
			SameAccount: r.sameAccount(),
			NearMisses:  []NearMiss{}, Context: []ContextEntry{}, Assumptions: []Assumption{},
		},
	}
	x.out.Needed = x.needed()
	for _, document := range p.documents() {
		x.out.Documents = append(x.out.Documents, x.document(document))
	}
	x.refineTrust()
	x.out.PartlyDenied = x.partlyDenied()
	x.nearMisses()
	x.context()
	x.assumptions()
	return x.out
}

// explainer builds one explanation.
type explainer struct {
	evaluation
	policies *Policies
	decision Decision
	out      *Explanation
}

// documents lists all documents in the order of the decision.
func (p *Policies) documents() []*Policy {
	var all []*Policy
	for _, levels := range [][][]*Policy{p.SCP, p.RCP} {
		for _, level := range levels {
			all = append(all, level...)
		}
	}
	all = append(all, p.Endpoint...)
	for _, one := range []*Policy{p.Resource, p.Trust, p.Boundary} {
		if one != nil {
			all = append(all, one)
		}
	}
	all = append(all, p.Session...)
	return append(all, p.Identity...)
}

// concerns reports whether documents of a kind take part in the decision.
func (x *explainer) concerns(kind Kind) bool {
	_, decided := withoutPolicies(x.request)
	return !decided && x.concernedBy(kind)
}

// needed repeats the sources that spec iam-policy §4.3 asks, in its order; others
// are listed if they deny.
func (x *explainer) needed() []Need {
	n := needs{list: []Need{}}
	if _, decided := withoutPolicies(x.request); decided {
		return n.list
	}
	p := x.policies
	for _, level := range p.SCP {
		if x.concerns(SCP) {
			n.add(SCP, x.all(level), true)
		}
	}
	for _, level := range p.RCP {
		if x.concerns(RCP) {
			v := x.all(level)
			v.allow = true // RCPFullAWSAccess is on every level
			n.add(RCP, v, true)
		}
	}
	if len(p.Endpoint) > 0 {
		n.add(Endpoint, x.all(p.Endpoint), true)
	}
	best := x.neededDocument(&n)
	caller, same := x.request.Principal.Kind, x.out.SameAccount
	own := x.hasAccount() && (best != direct || !same) && (caller != Root || !same || p.Trust != nil)
	boundary, hasSession := x.one(p.Boundary), p.HasSession || len(p.Session) > 0 || caller == FederatedUser
	n.add(Identity, x.all(p.Identity), own && caller != Root && (best == unmatched || best == viaAccount || !same))
	n.add(Boundary, boundary, own && p.Boundary != nil)
	n.add(Session, x.all(p.Session), own && hasSession)
	return n.list
}

// neededDocument adds the policy of the resource or the role, and returns how it
// names the caller.
func (x *explainer) neededDocument(n *needs) strength {
	p, kind, best := x.policies, Resource, unmatched
	if p.Trust != nil {
		kind = Trust
	}
	must := !x.hasAccount() || !x.out.SameAccount || documentAlone(x.request, p)
	if must && p.Trust == nil && p.Resource == nil {
		n.add(kind, verdict{}, true)
	}
	for _, document := range []*Policy{p.Resource, p.Trust} {
		if document == nil {
			continue
		}
		v := x.one(document)
		best = v.best
		if n.add(document.kind, v, v.allow || (must && document.kind == kind)) {
			n.list[len(n.list)-1].Strength = v.best.String()
		}
	}
	return best
}

type needs struct{ list []Need }

func (n *needs) add(kind Kind, v verdict, needed bool) bool {
	need := Need{Source: kind.Source(), Need: "allow", Got: "silent"}
	switch {
	case v.deny:
		need.Got = "deny"
	case !needed:
		return false
	case v.allow:
		need.Got = "allow"
	}
	n.list = append(n.list, need)
	return true
}

func (x *explainer) document(p *Policy) ExplainedPolicy {
	explained := ExplainedPolicy{
		Source:     p.kind.Source(),
		Kind:       p.kind.String(),
		Name:       p.name,
		Statements: []ExplainedStatement{},
	}
	for i := range p.statements {
		s := &p.statements[i]
		match := x.principal(p, s)
		e := ExplainedStatement{
			Index: i, Sid: s.sid, Line: p.position(s.at).line, Effect: s.effect(),
			Applies:   x.concerns(p.kind) && match != unmatched && x.applies(s),
			Principal: x.explainPrincipal(p, s, match),
			Action:    x.explainAction(s),
			Resource:  x.explainResource(s),
		}
		for j := range s.conditions {
			e.Conditions = append(e.Conditions, x.explainCondition(&s.conditions[j]))
		}
		e.Role = x.role(p.kind, &e)
		explained.Statements = append(explained.Statements, e)
	}
	return explained
}

func (s *statement) effect() string {
	if s.allow {
		return "Allow"
	}
	return "Deny"
}

// role says what part a statement plays in the decision.
func (x *explainer) role(kind Kind, s *ExplainedStatement) string {
	verb := "allow"
	if s.Effect == "Deny" {
		verb = "deny"
	}
	switch {
	case !x.concerns(kind):
		return "not relevant"
	case s.Applies && s.Effect == "Deny", s.Applies && x.decision.Effect == Allowed:
		return "decides"
	case s.Applies && x.decision.Effect == ExplicitDeny:
		return "would allow but a Deny applies"
	case s.Applies:
		return "would allow but the " + x.decision.Kind.String() + " is silent"
	case s.Principal.Match != unmatched.String() && s.Action.Matched && s.Resource.Matched:
		return "would " + verb + " but its Condition does not hold"
	}
	return "not relevant"
}

func (x *explainer) explainPrincipal(p *Policy, s *statement, match strength) ExplainedPrincipals {
	if s.principal == nil {
		return ExplainedPrincipals{Match: "n/a"}
	}
	caller := &x.request.Principal
	e := ExplainedPrincipals{Match: match.String(), Not: s.principal.not, Got: caller.ARN}
	for i := range s.principal.entries {
		entry := &s.principal.entries[i]
		one := ExplainedEntry{Value: entry.key + " " + entry.text, Matched: entry.match(caller, p.kind) != unmatched}
		if !one.Matched {
			one.Note = principalNote(entry, caller)
		}
		e.Entries = append(e.Entries, one)
	}
	return e
}

// principalNote says why an entry that looks like the caller is not.
func principalNote(entry *principalEntry, caller *Principal) string {
	switch {
	case entityID.MatchString(entry.text):
		return "the unique id of a deleted or different user or role"
	case entry.key == "Federated" && caller.Kind == WebIdentity &&
		issuerOf(entry.text) == issuerOf(caller.ARN) && accountOf(entry.text) != accountOf(caller.ARN):
		return "the same issuer, registered in account " + accountOf(
			entry.text,
		) + "; the provider must be in the role's account"
	case entry.text == "*" && caller.Kind == WebIdentity:
		return `"*" does not admit tokens; name the provider as Federated`
	}
	if note := nearMiss(entry.text, caller.ARN); note != "" || caller.RoleARN == "" {
		return note
	}
	return nearMiss(entry.text, caller.RoleARN)
}

func (x *explainer) explainAction(s *statement) ExplainedActions {
	e := ExplainedActions{Matched: s.action.match(x.action), Not: s.action.not, Entries: []ExplainedAction{}}
	for i := range s.action.patterns {
		p := &s.action.patterns[i]
		e.Entries = append(e.Entries, ExplainedAction{p.source, p.match(x.action)})
		if e.Matched || e.Note != "" {
			continue
		}
		switch {
		case equalASCII(x.request.Action, "sts:AssumeRoleWithWebIdentity") && equalASCII(p.source, "sts:AssumeRole"):
			e.Note = "sts:AssumeRole does not cover sts:AssumeRoleWithWebIdentity"
		case equalASCII(x.request.Action, "sts:TagSession"):
			e.Note = "session tags also need sts:TagSession"
		}
	}
	return e
}

func (x *explainer) explainResource(s *statement) ExplainedResources {
	if s.resource == nil {
		return ExplainedResources{Matched: true}
	}
	e := ExplainedResources{Matched: s.resource.match(x.request), Not: s.resource.not}
	for i := range s.resource.patterns {
		e.Entries = append(e.Entries, x.explainResourcePattern(&s.resource.patterns[i]))
	}
	return e
}

var partNames = [...]string{"arn", "partition", "service", "region", "account", "resource"}

func (x *explainer) explainResourcePattern(p *resourcePattern) ExplainedResource {
	e := ExplainedResource{Pattern: p.whole.source, Matched: p.match(x.request, x.request.Resource)}
	ops, resolved := p.whole.resolve(x.request)
	if p.whole.segments != nil {
		e.Resolved = "(a variable has no value)"
		if resolved {
			e.Resolved = sourceOf(ops)
		}
	}
	if e.Matched || !resolved {
		return e
	}
	wanted, got := splitOps(ops), strings.SplitN(x.request.Resource, ":", 6)
	for i := range wanted {
		part := ""
		if i < len(got) {
			part = got[i]
		}
		if !matchOps(wanted[i], part, i >= 1 && i <= 3) {
			e.FirstDifferentPart, e.Wanted, e.Got = partNames[i], sourceOf(wanted[i]), part
			break
		}
	}
	return e
}

// sourceOf writes compiled ops as a pattern again; wildcards that a variable
// brought are written as escapes.
func sourceOf(ops []op) string {
	var out strings.Builder
	for _, o := range ops {
		switch o {
		case anyRun:
			out.WriteByte('*')
		case anyOne:
			out.WriteByte('?')
		case '*', '?':
			out.WriteString("${" + string(rune(o)) + "}")
		default:
			out.WriteByte(byte(o))
		}
	}
	return out.String()
}

// refineTrust tells apart why no statement of a trust policy matched.
func (x *explainer) refineTrust() {
	if x.decision.Reason != "no-trust-match" {
		return
	}
	found := []string{}
	for _, document := range x.out.Documents {
		for i := range document.Statements {
			s := &document.Statements[i]
			if document.Source != Trust.Source() || s.Effect != "Allow" {
				continue
			}
			found = append(found, trustReason(s))
		}
	}
	// The nearest to a match names the reason.
	for _, reason := range []string{
		"trust-condition-failed",
		"trust-wrong-action",
		"provider-other-account",
		"trust-principal-deleted",
	} {
		if slices.Contains(found, reason) {
			x.out.Reason = reason
			return
		}
	}
}

func trustReason(s *ExplainedStatement) string {
	switch {
	case s.Principal.Match != unmatched.String() && s.Action.Matched:
		return "trust-condition-failed"
	case s.Principal.Match != unmatched.String():
		return "trust-wrong-action"
	case !s.Action.Matched:
		return "no-trust-match"
	}
	for _, entry := range s.Principal.Entries {
		switch {
		case strings.HasPrefix(entry.Note, "the unique id"):
			return "trust-principal-deleted"
		case strings.HasPrefix(entry.Note, "the same issuer"):
			return "provider-other-account"
		}
	}
	return "no-trust-match"
}
