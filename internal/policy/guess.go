package policy

import "strings"

// GuessKind guesses the kind of a document from its elements, for documents whose kind
// is not given: without Principal an identity-based policy; with what only the trust
// policy of a role is about, or without Resource and without a service's action that is
// not STS's, that; else a resource's.
func GuessKind(text []byte) Kind {
	root, _, err := readNodes(text)
	if err != nil || root.kind != objectNode {
		return Identity
	}
	list := root.find("Statement")
	if list == nil {
		return Identity
	}
	items := []*node{list}
	if list.kind == arrayNode {
		items = list.items
	}
	var seen guessed
	for _, item := range items {
		for _, m := range item.members {
			seen.member(m.name, m.value)
		}
		seen.bare = seen.bare || (item.find("Resource") == nil && item.find("NotResource") == nil)
	}
	switch {
	case !seen.principal:
		return Identity
	case !seen.resource && (seen.taking || !seen.others), seen.taking && !seen.others && (seen.named || seen.bare):
		return Trust
	}
	return Resource
}

// guessed is what a document has.
type guessed struct {
	principal, resource bool
	// named: a principal is not everybody, as in most policies of STS's endpoints.
	named bool
	// bare: a statement has no Resource, which all policies but those of roles want.
	bare bool
	// taking: a role is assumed; others: something else of a service is done.
	taking, others bool
}

func (g *guessed) member(name string, value *node) {
	switch name {
	case "Principal", "NotPrincipal":
		g.principal = true
		for _, m := range value.members {
			g.named = g.named || m.name != "AWS" || (m.value.kind == stringNode && m.value.text != "*")
		}
	case "Resource", "NotResource":
		g.resource = true
	case "Action", "NotAction":
		items := []*node{value}
		if value.kind == arrayNode {
			items = value.items
		}
		for _, item := range items {
			service, action, hasService := strings.Cut(lowerText(strings.TrimSpace(item.text)), ":")
			if !hasService { // the name alone, which AWS refuses
				action = service
			}
			g.taking = g.taking || strings.HasPrefix(action, "assumerole")
			g.others = g.others || (hasService && service != "sts")
		}
	}
}
