// Package admission decides whether an association may be written as it is, and used:
// by the rules of its kind, by what the operator lets associations choose, and by the
// cluster's RoleGrants (spec podidentity §19.5, rows H21 and A17).
//
// It does not know who asks, how they ask, or where grants come from. What it lets be
// written it decides again when a pod asks for a session.
package admission

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grant"
)

// NotGranted is the cause of a refusal for lack of a RoleGrant.
type NotGranted struct {
	// Field is the one that names what is not allowed: spec.roleARN, spec.targetRoleARN
	// or spec.externalID.
	Field string
	// Reason is the grants' own: who may not use what.
	Reason string
}

// Error returns the reason, which names the role.
func (n *NotGranted) Error() string { return n.Reason }

// Rules are what a cluster lets associations be.
type Rules struct {
	// Bounds are the operator's.
	Bounds association.Bounds
	Grants *grant.Set
}

// Check refuses an association whose mode or choices the operator does not allow, or
// with a role that the grants do not allow to all accounts that it is for. The error
// is a fault of kind Denied with an *association.OutOfBounds or a *NotGranted.
func (r Rules) Check(a *v1alpha1.PodIdentityAssociation) error {
	return r.Use(a, a.Spec.ServiceAccountName)
}

// Use refuses what Check does, for one account of those that the association is for.
func (r Rules) Use(a *v1alpha1.PodIdentityAssociation, serviceAccount string) error {
	if err := r.Bounds.Check(a); err != nil {
		return err
	}
	for _, role := range r.usesOf(a) {
		if decision := r.allows(a, serviceAccount, role); !decision.Allowed {
			return r.notGranted(a, serviceAccount, role, decision)
		}
	}
	return nil
}

// Why says which grant allows an association that Check lets pass.
func (r Rules) Why(a *v1alpha1.PodIdentityAssociation) string {
	return r.allows(a, a.Spec.ServiceAccountName, r.usesOf(a)[0]).Reason
}

// Decide decides about an association that is to be created, or to take old's
// place; old is nil if it is created. The error is a fault: of kind Invalid with
// an *association.Refusal, or of kind Denied with an *association.OutOfBounds or a
// *NotGranted.
//
// An update is judged only by what it changes, as Kubernetes does when rules
// become stricter: an association that is invalid, or no longer granted, must
// still be able to lose a finalizer, or to be paused. Such an update is let in
// with warnings.
func (r Rules) Decide(old, a *v1alpha1.PodIdentityAssociation) (warnings []string, err error) {
	for _, check := range []func() error{
		func() error { return association.Validate(a, false) },
		func() error { return r.Bounds.Check(a) },
	} {
		if err := check(); err != nil {
			if old == nil || !sameRules(old, a) {
				return nil, err
			}
			warnings = append(warnings, err.Error()+"; until that is fixed only metadata and spec.paused can be changed")
		}
	}
	for _, role := range r.usesOf(a) {
		decision := r.allows(a, a.Spec.ServiceAccountName, role)
		switch {
		case decision.Allowed:
		case old == nil || !sameAccounts(old, a) || !slices.Contains(r.usesOf(old), role):
			return nil, r.notGranted(a, a.Spec.ServiceAccountName, role, decision)
		default:
			warnings = append(warnings, decision.Reason+"; pods get no sessions")
		}
	}
	return warnings, nil
}

// use is a role by the field that names it, and how the association would have it
// assumed.
type use struct {
	field, arn string
	mode       v1alpha1.AssociationMode
	// externalID is the association's own where it is all that tells the account
	// from others.
	externalID string
}

// usesOf are the role and, if there is one, the target role. The first role is what
// assumes that, and who has the first role's session can do so by themselves: an
// external id of a target role keeps nobody out.
func (r Rules) usesOf(a *v1alpha1.PodIdentityAssociation) []use {
	mode := r.Bounds.ModeOf(a)
	first := use{field: "spec.roleARN", arn: a.Spec.RoleARN, mode: mode}
	if mode == v1alpha1.BrokerRole {
		first.externalID = a.Spec.ExternalID
	}
	if a.Spec.TargetRoleARN == "" {
		return []use{first}
	}
	return []use{first, {field: "spec.targetRoleARN", arn: a.Spec.TargetRoleARN, mode: mode}}
}

// allows asks the grants. Only the star matters: a pattern that is not allowed to be
// one is not a name either.
func (r Rules) allows(a *v1alpha1.PodIdentityAssociation, accounts string, role use) grant.Decision {
	return r.Grants.Decide(&grant.Use{
		Namespace:      a.Namespace,
		ServiceAccount: accounts,
		Role:           role.arn,
		Mode:           role.mode,
		ExternalID:     role.externalID,
		Free:           r.Bounds.May(role.mode, association.ChooseExternalID),
	})
}

// notGranted names the field that would have to be another.
func (r Rules) notGranted(
	a *v1alpha1.PodIdentityAssociation, accounts string, role use, decision grant.Decision,
) error {
	if usual := role; role.externalID != "" {
		if usual.externalID = ""; r.allows(a, accounts, usual).Allowed {
			refused := &fault.Error{Kind: fault.Denied, Cause: &NotGranted{"spec.externalID", decision.Reason}}
			return refused.Hint("leave spec.externalID out, let externalIDs of the RoleGrant match it, or let the operator "+
				"add %s to --association-choices", association.ChooseExternalID)
		}
	}
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
