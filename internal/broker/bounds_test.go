package broker_test

import (
	"slices"
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/grant"
)

// TestModesAreTheOperators: who writes associations does not choose by whose identity
// roles are assumed: a mode that the operator did not allow gets nothing, and STS is not
// asked, though the broker has an identity of its own.
func TestModesAreTheOperators(t *testing.T) {
	t.Parallel()
	type pia = v1alpha1.PodIdentityAssociation
	everything := grant.NewSet([]grant.Grant{{Name: "all", Spec: v1alpha1.RoleGrantSpec{
		Subjects: []v1alpha1.GrantSubject{{Namespace: "*"}}, Roles: []string{"*"},
		Modes: modes, ExternalIDs: []string{"*"},
	}}})
	for _, usual := range modes {
		for _, own := range modes {
			for _, added := range [][]v1alpha1.AssociationMode{nil, {usual, own}, {usual}} {
				w := newWorld(t, settings{mode: usual, edit: func(c *broker.Config) { c.Sessions.Plane.Modes = added }})
				w.grants.Set(everything)
				w.associate(func(a *pia) {
					a.Spec.Mode = own
					if own == v1alpha1.BrokerRole {
						a.Spec.DisableSessionTags, a.Spec.ExternalID = true, "agreed"
					}
				})
				if own == usual || slices.Contains(added, own) {
					w.expectAsked(w.ask(w.token(nil)))
					continue
				}
				w.expect(w.ask(w.token(nil)), "AccessDeniedException", "not a mode that associations may have here")
			}
		}
	}
}

// TestChoicesAreTheOperators: in mode BrokerRole, where trust policies see the broker,
// associations neither name external ids nor leave out what says whose session it is.
func TestChoicesAreTheOperators(t *testing.T) {
	t.Parallel()
	type pia = v1alpha1.PodIdentityAssociation
	for name, edit := range map[string]func(*pia){
		"externalID":         func(a *pia) { a.Spec.ExternalID = "agreed" },
		"disableSessionTags": func(a *pia) { a.Spec.DisableSessionTags = true },
		"omitTags":           func(a *pia) { a.Spec.OmitTags = []string{"kubernetes-namespace"} },
	} {
		w := newWorld(t, settings{
			mode: v1alpha1.BrokerRole, edit: func(c *broker.Config) { c.Sessions.Plane.Choices = nil },
		})
		w.associate(edit)
		message := "spec." + name
		if name == "externalID" {
			message = "this external id"
		}
		w.expect(w.ask(w.token(nil)), "AccessDeniedException", message)
		w = newWorld(t, settings{
			mode: v1alpha1.BrokerRole, edit: func(c *broker.Config) { c.Sessions.Plane.Choices = association.Choices() },
		})
		w.associate(edit)
		w.expectAsked(w.ask(w.token(nil)))
	}
}

// expectAsked: the broker let it pass; what STS says to it is another matter.
func (w *world) expectAsked(got answer) {
	w.t.Helper()
	if calls := w.taken(); len(calls) == 0 {
		w.t.Errorf("STS was not asked: %d %s %s", got.status, got.code, got.message)
	}
}
