package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// strength is how a statement names the caller; it decides what else is needed
// (spec iam-policy §4.2). Larger is stronger.
type strength int

const (
	unmatched strength = iota
	viaAccount
	viaUser
	viaRole
	direct
)

func (s strength) String() string {
	return [...]string{"none", "account", "via-user", "via-role", "direct"}[s]
}

// principalSet is a statement's Principal or NotPrincipal.
type principalSet struct {
	not     bool
	at      span
	entries []principalEntry
}

type principalEntry struct {
	key  string // AWS, Service, Federated, CanonicalUser
	text string
	at   span
	// account is set for a bare account number and for …:root.
	account, partition string
}

var principalKeys = []string{"AWS", "Service", "Federated", "CanonicalUser"}

var (
	domainName   = lazyregexp.New(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)
	federatedARN = lazyregexp.New(`^arn:[a-z0-9-]+:iam::[0-9]{12}:(oidc-provider|saml-provider)/.+$`)
	rootARN      = lazyregexp.New(`^arn:([a-z0-9-]+):iam::([0-9]{12}):root$`)
	entityARN    = lazyregexp.New(
		`^arn:[a-z0-9-]+:(iam::[0-9]{12}:(user|role)/[^*?]+|sts::[0-9]{12}:(assumed-role|federated-user)/[^*?]+)$`,
	)
	entityID = lazyregexp.New(`^A(IDA|ROA)[A-Z0-9]{12,}$`)
)

func (d *decoder) principals(n *node, s *statement) {
	element, principal := n.either("Principal")
	switch d.kind {
	case Identity, Boundary, Session, SCP:
		if principal != nil {
			d.report(principal.at, hasPrincipal, "", "this kind of policy has no %s: it applies to its holder", element)
		}
		return
	case Trust:
		if principal != nil && element == "NotPrincipal" {
			if s.allow {
				d.report(principal.at, allowNotPrincipal, "", "Allow with NotPrincipal would admit everybody else")
			} else {
				d.report(principal.at, hasPrincipal, "", "a trust policy has no NotPrincipal")
			}
			return
		}
	case Resource, RCP, Endpoint:
	}
	if principal == nil {
		if d.kind != Resource {
			d.missing(n, noPrincipal, "Principal")
		}
		s.principal = &principalSet{} // matches nobody
		return
	}
	s.principal = &principalSet{not: element == "NotPrincipal", at: principal.at}
	d.principalSet(principal, element, s.principal)
	if d.kind == RCP && (s.principal.not || len(s.principal.entries) != 1 || s.principal.entries[0].text != "*") {
		d.report(
			principal.at,
			controlPolicyGrammar,
			"",
			`the Principal of a resource control policy is "*"; name others in a Condition`,
		)
	}
}

func (d *decoder) principalSet(n *node, element string, set *principalSet) {
	switch {
	case n.kind == stringNode && n.text == "*":
		if d.kind == Trust {
			d.report(
				n.at,
				starPrincipal,
				"",
				`Principal "*": a trust policy names who may assume the role; AWS accepts only {"AWS": "*"}`,
			)
		}
		set.entries = []principalEntry{{key: "AWS", text: "*", at: n.at}}
		return
	case n.kind != objectNode:
		d.report(
			n.at,
			principalNoObject,
			"",
			`Principal must be an object such as {"Federated": "…"}, not %s`,
			n.kindName(),
		)
		return
	case len(n.members) == 0:
		d.report(n.at, emptyPrincipal, "", "Principal is empty")
	}
	var seen []string
	for _, m := range n.members {
		if slices.Contains(seen, m.name) {
			d.report(m.at, badStructure, "", "%q is repeated in %s", m.name, element)
		}
		seen = append(seen, m.name)
		if m.value.isEmptyList() {
			d.report(m.at, principalEmptyList, "", "%s.%s is an empty list", element, m.name)
		}
		for _, item := range d.texts(m.value, element+"."+m.name) {
			set.entries = append(set.entries, d.principalEntry(m, item))
		}
	}
}

func (d *decoder) principalEntry(m member, item *node) principalEntry {
	entry := principalEntry{key: m.name, text: item.text, at: item.at}
	bad := func(format string, args ...any) {
		d.report(
			item.at,
			badPrincipal,
			`"`+m.name+`":"`+item.text+`"`,
			format+"%s",
			append(args, unfilled(item.text))...)
	}
	switch m.name {
	case "AWS":
		root := rootARN.FindStringSubmatch(item.text)
		switch {
		case item.text == "*", entityARN.MatchString(item.text), entityID.MatchString(item.text):
		case arn.IsAccount(item.text):
			entry.account = item.text
		case root != nil:
			entry.partition, entry.account = root[1], root[2]
		default:
			bad(
				`%q names no user, role, session or account; wildcards other than "*" alone do not work in a Principal`,
				item.text,
			)
		}
	case "Service":
		if !domainName.MatchString(item.text) {
			bad("%q is not a service name such as pods.eks.amazonaws.com", item.text)
		}
	case "Federated":
		if !federatedARN.MatchString(item.text) && !domainName.MatchString(item.text) {
			d.report(
				item.at,
				badFederated,
				"",
				"%q is neither a provider's ARN with an account number of 12 digits, "+
					"arn:aws:iam::ACCOUNT:oidc-provider/HOST/PATH, nor a domain name%s",
				item.text,
				unfilled(item.text),
			)
		}
	case "CanonicalUser":
	default:
		bad("%q is not a kind of principal; want %s", m.name, strings.Join(principalKeys, ", "))
	}
	return entry
}

// match returns the strongest way in which the set names the caller. kind is
// the document's: a trust policy's "*" does not reach web identities.
func (s *principalSet) match(p *Principal, kind Kind, allow bool) strength {
	if s.not && !allow {
		return directIf(!s.listsChain(p, kind))
	}
	best := unmatched
	for i := range s.entries {
		best = max(best, s.entries[i].match(p, kind))
	}
	if s.not {
		return directIf(best == unmatched)
	}
	return best
}

// listsChain reports whether a NotPrincipal of a Deny spares the caller: the
// caller, the user or role behind it and its account must all be listed, else it
// is denied through the link that is missing (spec iam-policy §4.2).
func (s *principalSet) listsChain(p *Principal, kind Kind) bool {
	var listed [direct + 1]bool
	for i := range s.entries {
		if s.entries[i].text == "*" {
			return s.entries[i].match(p, kind) == direct
		}
		listed[s.entries[i].match(p, kind)] = true
	}
	switch p.Kind {
	case RoleSession:
		return listed[direct] && listed[viaRole] && listed[viaAccount]
	case FederatedUser:
		return listed[direct] && listed[viaUser] && listed[viaAccount]
	case User:
		return listed[direct] && listed[viaAccount]
	case Root, Service, WebIdentity, Anonymous:
	}
	return listed[direct]
}

func (e *principalEntry) match(p *Principal, kind Kind) strength {
	switch e.key {
	case "Service":
		return directIf(p.Kind == Service && e.text == p.ARN)
	case "Federated":
		return directIf(p.Kind == WebIdentity && e.text == p.ARN)
	case "AWS":
		return e.matchAWS(p, kind)
	}
	return unmatched // canonical user ids belong to S3, whose requests carry none here
}

func (e *principalEntry) matchAWS(p *Principal, kind Kind) strength {
	switch {
	case e.text == "*":
		return directIf(p.Kind != WebIdentity || kind != Trust)
	case p.Kind == Service || p.Kind == WebIdentity || p.Kind == Anonymous:
		return unmatched
	case e.account != "":
		if e.account == p.Account && (e.partition == "" || e.partition == partitionOf(p.ARN)) {
			if p.Kind == Root {
				return direct
			}
			return viaAccount
		}
		return unmatched
	case e.text == p.ARN:
		return direct
	case p.Kind == RoleSession && (e.text == p.RoleARN || (p.EntityID != "" && e.text == p.EntityID)):
		return viaRole
	case p.Kind == RoleSession && p.RolePathUnknown && sameRoleName(e.text, p.RoleARN):
		return viaRole
	case p.Kind == User && p.EntityID != "" && e.text == p.EntityID:
		return direct
	case p.Kind == FederatedUser && p.UserARN != "" && e.text == p.UserARN:
		return viaUser
	}
	return unmatched
}

// sameRoleName compares roles' ARNs without their paths.
func sameRoleName(a, b string) bool {
	root, path, found := strings.Cut(a, ":role/")
	otherRoot, otherPath, otherFound := strings.Cut(b, ":role/")
	return found && otherFound && root == otherRoot &&
		path[strings.LastIndexByte(path, '/')+1:] == otherPath[strings.LastIndexByte(otherPath, '/')+1:]
}

func directIf(matched bool) strength {
	if matched {
		return direct
	}
	return unmatched
}

func partitionOf(arn string) string {
	rest, _ := strings.CutPrefix(arn, "arn:")
	partition, _, _ := strings.Cut(rest, ":")
	return partition
}

// Entities lists the ARNs of users and roles that the document names as
// principals. IAM looks them up when a trust policy is written (spec iam-policy
// §1.5).
func (p *Policy) Entities() []string {
	var arns []string
	for i := range p.statements {
		if p.statements[i].principal == nil {
			continue
		}
		for _, entry := range p.statements[i].principal.entries {
			if entry.isEntity() && !slices.Contains(arns, entry.text) {
				arns = append(arns, entry.text)
			}
		}
	}
	return arns
}

// isEntity reports whether the entry is the ARN of a user or role; sessions and
// accounts are neither.
func (e *principalEntry) isEntity() bool {
	return e.key == "AWS" && e.account == "" && strings.Contains(e.text, ":iam::")
}

// Bind returns the document with ARNs of users and roles replaced by the unique
// ids they had when it was written, so that an entity that was deleted and
// created again under the same name is a different principal, as it is to IAM.
func (p *Policy) Bind(ids map[string]string) *Policy {
	if len(ids) == 0 {
		return p
	}
	bound := *p
	bound.statements = slices.Clone(p.statements)
	for i := range bound.statements {
		if bound.statements[i].principal == nil {
			continue
		}
		set := *bound.statements[i].principal
		set.entries = slices.Clone(set.entries)
		for j := range set.entries {
			if id, known := ids[set.entries[j].text]; known && set.entries[j].isEntity() {
				set.entries[j].text = id
			}
		}
		bound.statements[i].principal = &set
	}
	return &bound
}
