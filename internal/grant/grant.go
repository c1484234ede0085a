// Package grant decides which service accounts may use which IAM roles, from the
// RoleGrants of a cluster.
//
// It does not read them from anywhere, and knows nothing of trust policies: what
// is granted here AWS may still refuse.
package grant

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
	grants   []Grant
	required bool
}

// NewSet takes all grants there are, of a cluster in which all may use all as long
// as there is none.
func NewSet(grants []Grant) *Set { return &Set{grants: grants} }

// NewRequired takes all grants there are, of a cluster in which nobody may use
// anything as long as there is none.
func NewRequired(grants []Grant) *Set { return &Set{grants: grants, required: true} }

// Len is how many grants there are.
func (s *Set) Len() int { return len(s.grants) }

// AllowAll reports whether all may use all, for want of a grant.
func (s *Set) AllowAll() bool { return len(s.grants) == 0 && !s.required }

// WhyNone says what it means that there is no grant.
func (s *Set) WhyNone() string {
	if s.required {
		return "nobody may use any role, since RoleGrants are required"
	}
	return "everybody may use every role; --require-grants would let nobody use any"
}

// Decision is an answer with its reason.
type Decision struct {
	Allowed bool
	// Reason is a sentence for people: which grant allows, or what to grant.
	Reason string
}

// Use is what is asked of grants.
type Use struct {
	Namespace string
	// ServiceAccount is a name; text that ends in a star stands for all accounts whose
	// names begin so, all of which one grant must cover: several that do so together are
	// not looked for.
	ServiceAccount string
	Role           string
	// Mode is the one by which an association's role is assumed. It is empty for roles
	// that no association gives, which grants do not limit to modes.
	Mode v1alpha1.AssociationMode
	// ExternalID is the association's own where it counts, in mode BrokerRole; Free says
	// that the operator lets associations name any.
	ExternalID string
	Free       bool
}

// Allows decides whether a service account may use a role. Without any grant
// everyone may; with one, only what a grant says, and nothing that is not a role
// ARN: patterns are matched against whole ARNs, with stars that cross colons, and
// text of another form could make a star stand for what its author did not mean.
func (s *Set) Allows(namespace, serviceAccount, role string) Decision {
	return s.decide(&Use{Namespace: namespace, ServiceAccount: serviceAccount, Role: role}, glob.Match)
}

// AllowsPattern decides whether all accounts of a namespace that a pattern stands
// for, text that ends in a star, may use a role.
func (s *Set) AllowsPattern(namespace, pattern, role string) Decision {
	return s.decide(&Use{Namespace: namespace, ServiceAccount: pattern, Role: role}, glob.Covers)
}

// Decide decides whether a role may be used as an association says. Everything must
// be allowed by one grant.
func (s *Set) Decide(u *Use) Decision {
	if strings.HasSuffix(u.ServiceAccount, "*") {
		return s.decide(u, glob.Covers)
	}
	return s.decide(u, glob.Match)
}

func (s *Set) decide(u *Use, covers func(pattern, accounts string) bool) Decision {
	switch {
	case s.AllowAll() && u.ExternalID != "" && !u.Free:
		return Decision{false, "no RoleGrant lets associations name this external id, nor does the operator"}
	case s.AllowAll():
		return Decision{true, "the cluster has no RoleGrant"}
	case u.Namespace == "" || u.ServiceAccount == "":
		return Decision{false, "no service account is named"}
	}
	if _, err := arn.ParseRole(u.Role); err != nil {
		return Decision{false, fmt.Sprintf("%s; no RoleGrant can allow it", err)}
	}
	without := "" // what one of the grants for these accounts and this role does not allow
	for i := range s.grants {
		g := &s.grants[i]
		if !g.covers(u.Role) ||
			!g.has(u.Namespace, func(pattern string) bool { return covers(pattern, u.ServiceAccount) }) {
			continue
		}
		switch {
		case !g.inMode(u.Mode):
			without = fmt.Sprintf(" in mode %s", u.Mode)
		case !g.sends(u):
			without = " with this external id"
		default:
			return Decision{true, fmt.Sprintf("RoleGrant %q allows it", g.Name)}
		}
	}
	who := u.Namespace + "/" + u.ServiceAccount
	if strings.HasSuffix(u.ServiceAccount, "*") {
		who = "all of " + who
	}
	none := fmt.Sprintf("no RoleGrant lets %s use %s%s", who, u.Role, without)
	if len(s.grants) == 0 {
		none += ": the cluster has none, and they are required"
	}
	return Decision{false, none}
}

// inMode reports whether the grant is for a mode. A role that is not an association's
// has none.
func (g *Grant) inMode(mode v1alpha1.AssociationMode) bool {
	return mode == "" || len(g.Spec.Modes) == 0 || slices.Contains(g.Spec.Modes, mode)
}

// sends reports whether the grant lets an association send its own external id.
func (g *Grant) sends(u *Use) bool {
	if u.ExternalID == "" {
		return true
	}
	if len(g.Spec.ExternalIDs) == 0 {
		return u.Free
	}
	return slices.ContainsFunc(g.Spec.ExternalIDs, func(p string) bool { return glob.Match(p, u.ExternalID) })
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
