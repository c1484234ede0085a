package association

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Set are all associations of a cluster, to be asked. It does not change. The
// zero value is a cluster without any.
type Set struct {
	exact    map[Name]*v1alpha1.PodIdentityAssociation
	patterns map[string][]*v1alpha1.PodIdentityAssociation // by namespace, the preferred first
	byID     map[string]*v1alpha1.PodIdentityAssociation
}

// Name is a service account.
type Name struct{ Namespace, ServiceAccount string }

// NewSet takes all associations there are. They must not be changed afterwards.
func NewSet(all []*v1alpha1.PodIdentityAssociation) *Set {
	s := &Set{
		exact:    make(map[Name]*v1alpha1.PodIdentityAssociation, len(all)),
		patterns: map[string][]*v1alpha1.PodIdentityAssociation{},
		byID:     make(map[string]*v1alpha1.PodIdentityAssociation, len(all)),
	}
	for _, a := range all {
		s.byID[ID(a)] = a
		if IsPattern(a) {
			s.patterns[a.Namespace] = append(s.patterns[a.Namespace], a)
			continue
		}
		name := Name{a.Namespace, a.Spec.ServiceAccountName}
		if earlier, twice := s.exact[name]; !twice || older(a, earlier) < 0 {
			s.exact[name] = a
		}
	}
	for _, list := range s.patterns {
		slices.SortFunc(list, preferred)
	}
	return s
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
	if a, ok := s.exact[Name{namespace, serviceAccount}]; ok {
		return a
	}
	for _, a := range s.patterns[namespace] {
		if strings.HasPrefix(serviceAccount, strings.TrimSuffix(a.Spec.ServiceAccountName, "*")) {
			return a
		}
	}
	return nil
}

// ByID returns the association with an id of the EKS API; nil if there is none.
func (s *Set) ByID(id string) *v1alpha1.PodIdentityAssociation { return s.byID[id] }

// All returns all of them in no order. They must not be changed.
func (s *Set) All() []*v1alpha1.PodIdentityAssociation { return slices.Collect(maps.Values(s.byID)) }

// Len is how many there are.
func (s *Set) Len() int { return len(s.byID) }

// Paused is what to tell the author of a pod that has a paused association.
func Paused(a *v1alpha1.PodIdentityAssociation) string {
	return "PodIdentityAssociation " + a.Namespace + "/" + a.Name + " is paused: " +
		"the pod finds no AWS credentials as long as it is"
}
