package policy

import (
	"slices"
	"strings"
)

// context lists the keys that documents name and the request has.
func (x *explainer) context() {
	for _, key := range x.namedKeys() {
		v, present := x.request.lookup(key)
		if !present {
			continue
		}
		entry := ContextEntry{Key: v.name, Values: v.many, Origin: x.request.origin(key)}
		if entry.Key == "" {
			entry.Key = key
		}
		if !v.multi {
			entry.Values = []string{v.one}
		}
		x.out.Context = append(x.out.Context, entry)
	}
}

// namedKeys are the folded keys of conditions and variables, sorted.
func (x *explainer) namedKeys() []string {
	var keys []string
	addPattern := func(p *pattern) {
		for i := range p.segments {
			if key := p.segments[i].key; key != "" {
				keys = append(keys, key)
			}
		}
	}
	for _, document := range x.policies.documents() {
		for i := range document.statements {
			s := &document.statements[i]
			for j := range s.conditions {
				keys = append(keys, s.conditions[j].folded)
				for k := range s.conditions[j].values {
					addPattern(&s.conditions[j].values[k])
				}
			}
			if s.resource != nil {
				for j := range s.resource.patterns {
					addPattern(&s.resource.patterns[j].whole)
				}
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// assumptions names what was not known: for each such fact the request is
// decided with and without it (spec iam-policy §6).
func (x *explainer) assumptions() {
	for _, kind := range x.policies.Unread {
		x.assume(Assumption{"the " + kind.String() + " was not read", "there is none", x.mattersDocument(kind)})
	}
	if x.request.Principal.RolePathUnknown {
		x.assume(
			Assumption{
				"the path of the session's role is not known",
				"roles of that name are compared whatever their path",
				x.mattersPath(),
			},
		)
	}
	if x.request.Context == nil || !x.request.Context.incomplete {
		return
	}
	if x.request.owner() == "" && strings.HasPrefix(x.request.Resource, "arn:") &&
		accountOf(x.request.Resource) == "" &&
		x.hasAccount() {
		x.assume(Assumption{"the account of the resource is not given", "it is the caller's", x.mattersOwner()})
	}
	for _, key := range x.namedKeys() {
		if _, present := x.request.lookup(key); present || x.request.Principal.decides(key) {
			continue
		}
		x.assume(
			Assumption{
				"the condition key " + x.spelling(key) + " is not given",
				"the request does not have it",
				x.mattersKey(key),
			},
		)
	}
}

func (x *explainer) allowed() bool { return x.decision.Effect == Allowed }

func (x *explainer) assume(a Assumption) { x.out.Assumptions = append(x.out.Assumptions, a) }

// spelling finds a folded key as a document writes it.
func (x *explainer) spelling(folded string) string {
	for _, document := range x.policies.documents() {
		for i := range document.statements {
			for j := range document.statements[i].conditions {
				if c := &document.statements[i].conditions[j]; c.folded == folded {
					return c.key
				}
			}
		}
	}
	return folded
}

// mattersDocument tries a document of the kind that allows everything, and one
// that denies everything.
func (x *explainer) mattersDocument(kind Kind) bool {
	for _, allow := range []bool{true, false} {
		changed := *x.policies
		everything := &Policy{kind: kind, statements: []statement{{
			allow: allow, action: actionSet{patterns: []actionPattern{{all: true}}},
		}}}
		switch kind {
		case Identity:
			changed.Identity = append(slices.Clone(changed.Identity), everything)
		case Boundary:
			changed.Boundary = everything
		case Session:
			changed.Session = append(slices.Clone(changed.Session), everything)
		case Trust:
			changed.Trust = everything
		case Resource:
			changed.Resource = everything
		case SCP:
			changed.SCP = append(slices.Clone(changed.SCP), []*Policy{everything})
		case RCP:
			changed.RCP = append(slices.Clone(changed.RCP), []*Policy{everything})
		case Endpoint:
			changed.Endpoint = append(slices.Clone(changed.Endpoint), everything)
		}
		if (Decide(x.request, &changed).Effect == Allowed) != x.allowed() {
			return true
		}
	}
	return false
}

// mattersPath decides as if no role with another path were meant.
func (x *explainer) mattersPath() bool {
	changed := *x.request
	changed.Principal.RolePathUnknown = false
	return (Decide(&changed, x.policies).Effect == Allowed) != x.allowed()
}

// mattersOwner decides as if the resource belonged to another account.
func (x *explainer) mattersOwner() bool {
	changed := *x.request
	changed.ResourceAccount = "another"
	return (Decide(&changed, x.policies).Effect == Allowed) != x.allowed()
}

// mattersKey tries each value that a document compares the key with, the parts of
// the resource, which a variable may stand for, and a value that nothing names.
func (x *explainer) mattersKey(key string) bool {
	candidates := append(
		strings.FieldsFunc(x.request.Resource, func(c rune) bool { return c == ':' || c == '/' }),
		"\x00",
		x.request.Resource,
	)
	for _, document := range x.policies.documents() {
		for i := range document.statements {
			for j := range document.statements[i].conditions {
				if c := &document.statements[i].conditions[j]; c.folded == key {
					for k := range c.values {
						candidates = append(
							candidates,
							strings.NewReplacer("*", "x", "?", "x").Replace(c.values[k].source),
						)
					}
				}
			}
		}
	}
	for _, candidate := range candidates {
		changed := *x.request
		changed.Context = x.request.Context.Clone().Set(key, candidate)
		if (Decide(&changed, x.policies).Effect == Allowed) != x.allowed() {
			return true
		}
	}
	return false
}
