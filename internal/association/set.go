package association

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Set are all associations of a cluster, to be asked. It does not change: With returns
// another one. The zero value is a cluster without any.
type Set struct {
	exact    lists // by namespace and account, the oldest first
	patterns lists // by namespace, the preferred first
	byID     table[*v1alpha1.PodIdentityAssociation]
}

// Name is a service account.
type Name struct{ Namespace, ServiceAccount string }

// nameOf is a service account's as a key; no namespace has a slash.
func nameOf(namespace, serviceAccount string) string { return namespace + "/" + serviceAccount }

// NewSet takes all associations there are. They must not be changed afterwards.
func NewSet(all []*v1alpha1.PodIdentityAssociation) *Set {
	s := &Set{}
	for _, a := range all {
		s = s.With(nil, a)
	}
	return s
}

// With is the set with an association as it became, instead of as it was; nil is one
// that is not there. What it costs does not depend on how many there are, but for the
// patterns of the namespace if it is one.
func (s *Set) With(before, after *v1alpha1.PodIdentityAssociation) *Set {
	next := *s
	if before != nil {
		next.remove(before)
	}
	if after != nil {
		next.add(after)
	}
	return &next
}

func (s *Set) add(a *v1alpha1.PodIdentityAssociation) {
	s.byID = s.byID.with(ID(a), a)
	if IsPattern(a) {
		s.patterns = added(s.patterns, a.Namespace, a, preferred)
		return
	}
	s.exact = added(s.exact, nameOf(a.Namespace, a.Spec.ServiceAccountName), a, older)
}

func (s *Set) remove(a *v1alpha1.PodIdentityAssociation) {
	if there, found := s.byID.get(ID(a)); found && same(there, a) {
		s.byID = s.byID.without(ID(a))
	}
	if IsPattern(a) {
		s.patterns = removed(s.patterns, a.Namespace, a)
		return
	}
	s.exact = removed(s.exact, nameOf(a.Namespace, a.Spec.ServiceAccountName), a)
}

// same reports whether two are the same object, at whatever time.
func same(a, b *v1alpha1.PodIdentityAssociation) bool {
	return a.Namespace == b.Namespace && a.Name == b.Name
}

// lists are associations of which the first counts.
type lists = table[[]*v1alpha1.PodIdentityAssociation]

func added(
	to lists, key string, a *v1alpha1.PodIdentityAssociation, order func(a, b *v1alpha1.PodIdentityAssociation) int,
) lists {
	list, _ := to.get(key)
	at, _ := slices.BinarySearchFunc(list, a, order)
	return to.with(key, slices.Insert(slices.Clone(list), at, a))
}

func removed(from lists, key string, a *v1alpha1.PodIdentityAssociation) lists {
	list, _ := from.get(key)
	at := slices.IndexFunc(list, func(one *v1alpha1.PodIdentityAssociation) bool { return same(one, a) })
	switch {
	case at < 0:
		return from
	case len(list) == 1:
		return from.without(key)
	}
	return from.with(key, slices.Delete(slices.Clone(list), at, at+1))
}

// IsPattern reports whether an association is for more than one account.
func IsPattern(a *v1alpha1.PodIdentityAssociation) bool {
	return a.Spec.AllowPatterns && strings.HasSuffix(a.Spec.ServiceAccountName, "*")
}

// preferred orders patterns: the longer text before the star first, then the
// older one (spec podidentity §19.5).
func preferred(a, b *v1alpha1.PodIdentityAssociation) int {
	return cmp.Or(cmp.Compare(len(b.Spec.ServiceAccountName), len(a.Spec.ServiceAccountName)), older(a, b))
}

func older(a, b *v1alpha1.PodIdentityAssociation) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// Of returns the association of a service account; nil if there is none. A
// paused one is returned: the account has an association, which gives nothing.
func (s *Set) Of(namespace, serviceAccount string) *v1alpha1.PodIdentityAssociation {
	if exact, found := s.exact.get(nameOf(namespace, serviceAccount)); found {
		return exact[0]
	}
	patterns, _ := s.patterns.get(namespace)
	for _, a := range patterns {
		if strings.HasPrefix(serviceAccount, strings.TrimSuffix(a.Spec.ServiceAccountName, "*")) {
			return a
		}
	}
	return nil
}

// ByID returns the association with an id of the EKS API; nil if there is none.
func (s *Set) ByID(id string) *v1alpha1.PodIdentityAssociation {
	a, _ := s.byID.get(id)
	return a
}

// All returns all of them in no order. They must not be changed.
func (s *Set) All() []*v1alpha1.PodIdentityAssociation { return slices.Collect(s.byID.values()) }

// Len is how many there are.
func (s *Set) Len() int { return s.byID.size() }

// Paused is what to tell the author of a pod that has a paused association.
func Paused(a *v1alpha1.PodIdentityAssociation) string {
	return "PodIdentityAssociation " + a.Namespace + "/" + a.Name + " is paused: " +
		"the pod finds no AWS credentials as long as it is"
}
