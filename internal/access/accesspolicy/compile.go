package accesspolicy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Grant is what an entry that counts asks for: its policies, for its group.
type Grant struct {
	Group    string
	Policies []v1alpha1.AccessPolicy
}

// Place is where a policy counts: in a namespace, or in the whole cluster if that is
// empty.
type Place struct {
	Policy    v1alpha1.AccessPolicyName
	Namespace string
}

// Compile says which groups must be bound to which policies where, sorted. A policy that
// is not known, or whose scope does not say where it counts, is bound nowhere.
func Compile(grants []Grant, namespaces *Namespaces) map[Place][]string {
	bound := map[Place]map[string]bool{}
	for _, g := range grants {
		for i := range g.Policies {
			places, _ := namespaces.Of(&g.Policies[i])
			for _, place := range places {
				if bound[place] == nil {
					bound[place] = map[string]bool{}
				}
				bound[place][g.Group] = true
			}
		}
	}
	wanted := make(map[Place][]string, len(bound))
	for place, groups := range bound {
		wanted[place] = slices.Sorted(maps.Keys(groups))
	}
	return wanted
}

// Namespaces are those that there are.
type Namespaces struct{ sorted []string }

// NewNamespaces takes their names.
func NewNamespaces(names []string) *Namespaces {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return &Namespaces{slices.Compact(sorted)}
}

// Of says where a policy counts now, sorted, and which of its patterns match nothing.
func (n *Namespaces) Of(p *v1alpha1.AccessPolicy) (places []Place, idle []string) {
	if _, known := Lookup(p.Policy); !known {
		return nil, nil
	}
	if p.Scope == v1alpha1.ClusterScope && len(p.Namespaces) == 0 {
		return []Place{{Policy: p.Policy}}, nil
	}
	if p.Scope == v1alpha1.ClusterScope { // it says two things
		return nil, p.Namespaces
	}
	found := map[string]bool{}
	for _, pattern := range p.Namespaces {
		matched := n.matching(pattern)
		if len(matched) == 0 {
			idle = append(idle, pattern)
		}
		for _, name := range matched {
			found[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		places = append(places, Place{Policy: p.Policy, Namespace: name})
	}
	return places, idle
}

// matching are the namespaces of one name, or of a pattern that ends in a star.
func (n *Namespaces) matching(pattern string) []string {
	prefix, open := strings.CutSuffix(pattern, "*")
	first, found := slices.BinarySearch(n.sorted, prefix)
	switch {
	case strings.Contains(prefix, "*") || prefix == "":
		return nil // no pattern that the kind lets in: not to be guessed at
	case !open && found:
		return n.sorted[first : first+1]
	case !open:
		return nil
	}
	last := first
	for last < len(n.sorted) && strings.HasPrefix(n.sorted[last], prefix) {
		last++
	}
	return n.sorted[first:last]
}

// Compare orders places: the cluster before its namespaces, then by policy.
func Compare(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Policy, b.Policy))
}
