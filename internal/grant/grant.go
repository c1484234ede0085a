// Package grant decides which service accounts may use which IAM roles, from the
// RoleGrants of a cluster.
//
// It does not read them from anywhere, and knows nothing of trust policies: what
// is granted here AWS may still refuse.
package grant

import (
	"cmp"
	"fmt"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/glob"
)

// Grant is one RoleGrant. A grant that could not be read is one without
// subjects: it allows nothing, but counts as a grant.
type Grant struct {
	Name string
	Spec v1alpha1.RoleGrantSpec
}

// Set are all grants of a cluster. The zero value is a cluster without any, in
// which all may use all.
type Set struct {
	grants []Grant
}

// NewSet takes all grants there are.
func NewSet(grants []Grant) *Set { return &Set{grants} }

// Decision is an answer with its reason.
type Decision struct {
	Allowed bool
	// Reason is a sentence for people: which grant allows, or what to grant.
	Reason string
}

// Allows decides whether a service account may use a role. Without any grant
// everyone may; with one, only what a grant says, and nothing that is not a role
// ARN: patterns are matched against whole ARNs, with stars that cross colons, and
// text of another form could make a star stand for what its author did not mean.
func (s *Set) Allows(namespace, serviceAccount, role string) Decision {
	return s.decide(namespace, serviceAccount, namespace+"/"+serviceAccount, role, glob.Match)
}

// AllowsPattern decides whether all accounts of a namespace that a pattern stands
// for, text that ends in a star, may use a role. One grant must cover them all:
// several that do so together are not looked for.
func (s *Set) AllowsPattern(namespace, pattern, role string) Decision {
	return s.decide(namespace, pattern, "all of "+namespace+"/"+pattern, role, glob.Covers)
}

func (s *Set) decide(namespace, accounts, who, role string, covers func(pattern, accounts string) bool) Decision {
	if len(s.grants) == 0 {
		return Decision{true, "the cluster has no RoleGrant"}
	}
	if namespace == "" || accounts == "" {
		return Decision{false, "no service account is named"}
	}
	if _, err := arn.ParseRole(role); err != nil {
		return Decision{false, fmt.Sprintf("%s; no RoleGrant can allow it", err)}
	}
	for i := range s.grants {
		g := &s.grants[i]
		if g.covers(role) && g.has(namespace, func(pattern string) bool { return covers(pattern, accounts) }) {
			return Decision{true, fmt.Sprintf("RoleGrant %q allows it", g.Name)}
		}
	}
	return Decision{false, fmt.Sprintf("no RoleGrant lets %s use %s", who, role)}
}

func (g *Grant) has(namespace string, covers func(accounts string) bool) bool {
	for _, subject := range g.Spec.Subjects {
		if glob.Match(subject.Namespace, namespace) && covers(cmp.Or(subject.ServiceAccount, "*")) {
			return true
		}
	}
	return false
}

func (g *Grant) covers(role string) bool {
	for _, pattern := range g.Spec.Roles {
		if glob.Match(pattern, role) {
			return true
		}
	}
	return false
}
