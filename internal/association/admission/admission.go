// Package admission decides whether an association may be written as it is: by
// the rules of its kind and by the cluster's RoleGrants (spec podidentity §19.5,
// rows H21 and A17).
//
// It does not know who asks, how they ask, or where grants come from; and what it
// lets in is decided again when a pod asks for a session.
package admission

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grant"
)

// NotGranted is the cause of a refusal for want of a RoleGrant.
type NotGranted struct {
	// Field is the one that names the role: spec.roleARN or spec.targetRoleARN.
	Field string
	// Reason is the grants' own: who may not use what.
	Reason string
}

// Error returns the reason, which names the role.
func (n *NotGranted) Error() string { return n.Reason }

// Granted refuses an association with a role that the grants do not allow to all
// accounts that it is for. The error is a fault of kind Denied with a
// *NotGranted.
func Granted(grants *grant.Set, a *v1alpha1.PodIdentityAssociation) error {
	for _, role := range rolesOf(a) {
		if decision := Allows(grants, a, role.arn); !decision.Allowed {
			return notGranted(role, decision)
		}
	}
	return nil
}

// Decide decides about an association that is to be created, or to take old's
// place; old is nil if it is created. The error is a fault: of kind Invalid with
// an *association.Refusal, or of kind Denied with a *NotGranted.
//
// An update is judged only by what it changes, as Kubernetes does when rules
// become stricter: an association that is invalid, or no longer granted, must
// still be able to lose a finalizer, or to be paused. Such an update is let in
// with warnings.
func Decide(grants *grant.Set, old, a *v1alpha1.PodIdentityAssociation) (warnings []string, err error) {
	if err := association.Validate(a, false); err != nil {
		if old == nil || !sameRules(old, a) {
			return nil, err
		}
		warnings = append(warnings, err.Error()+"; until that is fixed only metadata and spec.paused can be changed")
	}
	for _, role := range rolesOf(a) {
		decision := Allows(grants, a, role.arn)
		switch {
		case decision.Allowed:
		case old == nil || !sameAccounts(old, a) || !slices.Contains(rolesOf(old), role):
			return nil, notGranted(role, decision)
		default:
			warnings = append(warnings, decision.Reason+"; pods get no sessions")
		}
	}
	return warnings, nil
}

// named is a role by the field that names it.
type named struct{ field, arn string }

// rolesOf are the role and, if there is one, the target role.
func rolesOf(a *v1alpha1.PodIdentityAssociation) []named {
	roles := []named{{"spec.roleARN", a.Spec.RoleARN}}
	if a.Spec.TargetRoleARN != "" {
		roles = append(roles, named{"spec.targetRoleARN", a.Spec.TargetRoleARN})
	}
	return roles
}

// Allows decides whether all accounts that an association is for may use a role.
// Only the star matters: a pattern that is not allowed to be one is not a name
// either.
func Allows(grants *grant.Set, a *v1alpha1.PodIdentityAssociation, role string) grant.Decision {
	if strings.HasSuffix(a.Spec.ServiceAccountName, "*") {
		return grants.AllowsPattern(a.Namespace, a.Spec.ServiceAccountName, role)
	}
	return grants.Allows(a.Namespace, a.Spec.ServiceAccountName, role)
}

func notGranted(role named, decision grant.Decision) error {
	refused := &fault.Error{Kind: fault.Denied, Cause: &NotGranted{role.field, decision.Reason}}
	return refused.Hint("let a RoleGrant allow it")
}

// sameRules reports whether all that association.Validate looks at is the same.
func sameRules(old, a *v1alpha1.PodIdentityAssociation) bool {
	before, after := old.Spec, a.Spec
	before.Paused, after.Paused = false, false
	return old.Namespace == a.Namespace && old.Name == a.Name && equality.Semantic.DeepEqual(before, after)
}

func sameAccounts(old, a *v1alpha1.PodIdentityAssociation) bool {
	return old.Namespace == a.Namespace && old.Spec.ServiceAccountName == a.Spec.ServiceAccountName
}
