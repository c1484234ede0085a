package policy

import (
	"regexp"
	"slices"
	"strings"
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
	entries []principalEntry
}

type principalEntry struct {
	key  string // AWS, Service, Federated, CanonicalUser
	text string
	// account is set for a bare account number and for …:root.
	account, partition string
}

var principalKeys = []string{"AWS", "Service", "Federated", "CanonicalUser"}

var (
	domainName    = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)
	federatedARN  = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::[0-9]{12}:(oidc-provider|saml-provider)/.+$`)
	accountNumber = regexp.MustCompile(`^[0-9]{12}$`)
	rootARN       = regexp.MustCompile(`^arn:([a-z0-9-]+):iam::([0-9]{12}):root$`)
	entityARN     = regexp.MustCompile(`^arn:[a-z0-9-]+:(iam::[0-9]{12}:(user|role)/[^*?]+|sts::[0-9]{12}:(assumed-role|federated-user)/[^*?]+)$`)
	entityID      = regexp.MustCompile(`^A(IDA|ROA)[A-Z0-9]{12,}$`)
)

func (d *decoder) principals(n *node, s *statement) error {
	element := "Principal"
	principal := n.find(element)
	if principal == nil {
		element = "NotPrincipal"
		principal = n.find(element)
	}
	switch d.kind {
	case Identity, Boundary, Session, SCP:
		if principal != nil {
			return d.fail(principal.offset, hasPrincipal, "", "this kind of policy has no %s: it belongs to its holder", element)
		}
		return nil
	case Trust:
		if principal != nil && element == "NotPrincipal" {
			if s.allow {
				return d.fail(principal.offset, allowNotPrincipal, "", "Allow with NotPrincipal would admit everybody else")
			}
			return d.fail(principal.offset, hasNotPrincipal, "", "a trust policy has no NotPrincipal")
		}
	case Resource, RCP, Endpoint:
	}
	if principal == nil {
		if d.kind == Resource {
			s.principal = &principalSet{} // matches nobody
			return nil
		}
		return d.fail(n.offset, noPrincipal, "", "the statement has no Principal")
	}
	set, err := d.principalSet(principal, element)
	s.principal = set
	return err
}

func (d *decoder) principalSet(n *node, element string) (*principalSet, error) {
	set := &principalSet{not: element == "NotPrincipal"}
	switch {
	case n.kind == stringNode && n.text == "*":
		if d.kind == Trust {
			return nil, d.fail(n.offset, starPrincipal, "", `Principal "*": a trust policy names who may take the role; AWS accepts only {"AWS": "*"}`)
		}
		set.entries = []principalEntry{{key: "AWS", text: "*"}}
		return set, nil
	case n.kind != objectNode:
		return nil, d.fail(n.offset, principalNoObject, "", `Principal must be an object such as {"Federated": "…"}, not %s`, n.kindName())
	case len(n.members) == 0:
		return nil, d.fail(n.offset, emptyPrincipal, "", "Principal is empty")
	}
	var seen []string
	for _, m := range n.members {
		if slices.Contains(seen, m.name) {
			return nil, d.fail(m.offset, badStructure, "", "%q stands twice in %s", m.name, element)
		}
		seen = append(seen, m.name)
		items, err := d.texts(m.value, element+"."+m.name)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return nil, d.fail(m.offset, principalEmptyList, "", "%s.%s is an empty list", element, m.name)
		}
		for _, item := range items {
			entry, err := d.principalEntry(m, item)
			if err != nil {
				return nil, err
			}
			set.entries = append(set.entries, entry)
		}
	}
	return set, nil
}

func (d *decoder) principalEntry(m member, item *node) (principalEntry, error) {
	entry := principalEntry{key: m.name, text: item.text}
	quoted := `"` + m.name + `":"` + item.text + `"`
	bad := func(format string, args ...any) (principalEntry, error) {
		return entry, d.fail(item.offset, badPrincipal, quoted, format, args...)
	}
	if !slices.Contains(principalKeys, m.name) {
		return bad("%q is no kind of principal; want %s", m.name, strings.Join(principalKeys, ", "))
	}
	if d.kind == RCP && (m.name != "AWS" || item.text != "*") {
		return bad(`the Principal of a resource control policy must be "*"`)
	}
	switch m.name {
	case "AWS":
		root := rootARN.FindStringSubmatch(item.text)
		switch {
		case item.text == "*", entityARN.MatchString(item.text), entityID.MatchString(item.text):
		case accountNumber.MatchString(item.text):
			entry.account = item.text
		case root != nil:
			entry.partition, entry.account = root[1], root[2]
		default:
			return bad(`%q names no user, role, session or account; wildcards other than "*" alone do not work in a Principal`, item.text)
		}
	case "Service":
		if !domainName.MatchString(item.text) {
			return bad("%q is no service name such as pods.eks.amazonaws.com", item.text)
		}
	case "Federated":
		if !federatedARN.MatchString(item.text) && !domainName.MatchString(item.text) {
			return entry, d.fail(item.offset, badFederated, "", "%q is neither a provider's ARN with an account number of 12 digits, arn:aws:iam::ACCOUNT:oidc-provider/HOST/PATH, nor a domain name", item.text)
		}
	}
	return entry, nil
}

// match returns the strongest way in which the set names the caller. kind is
// the document's: a trust policy's "*" does not reach web identities.
func (s *principalSet) match(p *Principal, kind Kind) strength {
	best := unmatched
	for i := range s.entries {
		best = max(best, s.entries[i].match(p, kind))
	}
	if !s.not {
		return best
	}
	if best == unmatched {
		return direct
	}
	return unmatched
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
	case p.Kind == User && p.EntityID != "" && e.text == p.EntityID:
		return direct
	case p.Kind == FederatedUser && p.UserARN != "" && e.text == p.UserARN:
		return viaUser
	}
	return unmatched
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
// accounts are none.
func (e *principalEntry) isEntity() bool {
	return e.key == "AWS" && e.account == "" && strings.Contains(e.text, ":iam::")
}

// Bind returns the document with ARNs of users and roles replaced by the unique
// ids they had when it was written, so that an entity that was deleted and made
// again under the same name is another principal, as for IAM.
func (p *Policy) Bind(ids map[string]string) *Policy {
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
