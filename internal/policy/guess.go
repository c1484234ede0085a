package policy

import "strings"

// GuessKind guesses the kind of a document from its elements, for documents
// whose kind is not given: without Principal an identity-based policy, with
// sts: actions and no Resource a role's trust policy, else a resource's.
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
	hasPrincipal, hasResource, onlySTS := false, false, true
	for _, item := range items {
		for _, m := range item.members {
			switch m.name {
			case "Principal", "NotPrincipal":
				hasPrincipal = true
			case "Resource", "NotResource":
				hasResource = true
			case "Action", "NotAction":
				onlySTS = onlySTS && allSTS(m.value)
			}
		}
	}
	switch {
	case !hasPrincipal:
		return Identity
	case onlySTS && !hasResource:
		return Trust
	}
	return Resource
}

func allSTS(n *node) bool {
	items := []*node{n}
	if n.kind == arrayNode {
		items = n.items
	}
	for _, item := range items {
		if !strings.HasPrefix(lowerText(item.text), "sts:") {
			return false
		}
	}
	return true
}
