package admission_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/association/admission"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grant"
)

func mode(m v1alpha1.AssociationMode) func(*kind) { return func(a *kind) { a.Spec.Mode = m } }

func agreed(a *kind) { a.Spec.ExternalID = "agreed" }

// limited is a grant of everything to everybody, for some modes and external ids.
func limited(modes []v1alpha1.AssociationMode, ids ...string) grant.Grant {
	g := to("*", "*", "*")
	g.Spec.Modes, g.Spec.ExternalIDs = modes, ids
	return g
}

// TestModesAndExternalIDs: how a role is assumed is the operator's and the grants' to say,
// when it is written and when it is used.
func TestModesAndExternalIDs(t *testing.T) {
	t.Parallel()
	const federated, broker, pass = v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough
	type modes = []v1alpha1.AssociationMode
	every := association.Choices()
	for _, row := range []struct {
		name    string
		bounds  association.Bounds
		grants  []grant.Grant
		edit    func(*kind)
		refused string // field; empty is a yes
	}{
		{"another mode", association.Bounds{Default: federated}, nil, mode(broker), "spec.mode"},
		{
			"another mode, granted",
			association.Bounds{Default: federated},
			[]grant.Grant{limited(modes{broker})},
			mode(broker), "spec.mode",
		},
		{"allowed", association.Bounds{Default: federated, Modes: modes{federated, broker}}, nil, mode(broker), ""},
		{
			"granted for another mode",
			association.Bounds{Default: federated, Modes: modes{federated, broker}},
			[]grant.Grant{limited(modes{federated})},
			mode(broker), "spec.roleARN",
		},
		{
			"granted for another than the usual mode",
			association.Bounds{Default: broker, Modes: modes{federated, broker}},
			[]grant.Grant{limited(modes{federated})},
			nothing, "spec.roleARN",
		},
		{
			"granted for the mode",
			association.Bounds{Default: federated, Modes: modes{federated, pass}},
			[]grant.Grant{limited(modes{federated}), limited(modes{pass})},
			mode(pass), "",
		},
		{
			"mode of the target",
			association.Bounds{Default: federated, Modes: modes{federated, broker}},
			[]grant.Grant{to("shop", "cart", reader), {Name: "far", Spec: v1alpha1.RoleGrantSpec{
				Subjects: []v1alpha1.GrantSubject{{Namespace: "shop"}}, Roles: []string{far}, Modes: modes{federated},
			}}},
			both(mode(broker), target(far)), "spec.targetRoleARN",
		},
		{"an external id", association.Bounds{Default: broker}, nil, agreed, "spec.externalID"},
		{
			"an external id, granted the role",
			association.Bounds{Default: broker},
			[]grant.Grant{to("*", "*", "*")},
			agreed, "spec.externalID",
		},
		{
			"an external id, granted",
			association.Bounds{Default: broker},
			[]grant.Grant{limited(nil, "ag*")},
			agreed, "",
		},
		{
			"another external id is granted",
			association.Bounds{Default: broker},
			[]grant.Grant{limited(nil, "agree")},
			agreed, "spec.externalID",
		},
		{
			"an external id is granted for another mode",
			association.Bounds{Default: broker},
			[]grant.Grant{limited(modes{federated}, "agreed"), to("*", "*", "*")},
			agreed, "spec.externalID",
		},
		{
			"an external id that the operator allows",
			association.Bounds{Default: broker, Choices: every},
			nil,
			agreed, "",
		},
		{
			"grants are the narrower bound",
			association.Bounds{Default: broker, Choices: every},
			[]grant.Grant{limited(nil, "other")},
			agreed, "spec.externalID",
		},
		{
			"an external id of a pattern",
			association.Bounds{Default: broker},
			[]grant.Grant{to("*", "*", "*")},
			both(pattern("c*"), agreed), "spec.externalID",
		},
		{
			"an external id for a target only",
			association.Bounds{Default: federated},
			nil,
			both(target(far), agreed), "",
		},
		{
			"an external id for a target of the broker's",
			association.Bounds{Default: broker},
			nil,
			both(target(far), agreed), "spec.externalID",
		},
	} {
		a := good()
		row.edit(a)
		rules := admission.Rules{Bounds: row.bounds, Grants: grant.NewSet(row.grants)}
		asked := map[string]error{"used": rules.Use(a, "cart"), "checked": rules.Check(a)}
		// A mode of the plane's own makes an external id right for the kind, too.
		if a.Spec.Mode == "" && row.bounds.Default == broker {
			a.Spec.Mode = broker
		}
		_, asked["written"] = rules.Decide(nil, a)
		for how, err := range asked {
			field := ""
			if out, ok := errors.AsType[*association.OutOfBounds](err); ok {
				field = out.Field
			}
			if missing, ok := errors.AsType[*admission.NotGranted](err); ok {
				field = missing.Field
			}
			if field != row.refused || (err == nil) != (row.refused == "") ||
				err != nil && (fault.KindOf(err) != fault.Denied || len(fault.HintsOf(err)) == 0) {
				t.Errorf("%s, %s: %v, want %q", row.name, how, err, row.refused)
			}
		}
	}
}

// TestModeOfUpdates: an update may not make more of a grant than there was, and what is
// no longer allowed can still be paused.
func TestModeOfUpdates(t *testing.T) {
	t.Parallel()
	bounds := association.Bounds{
		Default: v1alpha1.Federated, Modes: []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole},
	}
	for _, row := range []struct {
		name            string
		bounds          association.Bounds
		grants          []grant.Grant
		stored, written func(*kind)
		refused, warned bool
	}{
		{
			name: "to a mode that is not granted", bounds: bounds,
			grants: []grant.Grant{limited([]v1alpha1.AssociationMode{v1alpha1.Federated})},
			stored: nothing, written: mode(v1alpha1.BrokerRole), refused: true,
		},
		{
			name: "to an external id that is not granted", bounds: bounds,
			stored: mode(v1alpha1.BrokerRole), written: both(mode(v1alpha1.BrokerRole), agreed), refused: true,
		},
		{
			name: "paused in a mode that is no longer allowed", bounds: association.Bounds{Default: v1alpha1.Federated},
			stored: mode(v1alpha1.BrokerRole), written: both(mode(v1alpha1.BrokerRole), paused), warned: true,
		},
		{
			name: "another role in a mode that is no longer allowed", bounds: association.Bounds{Default: v1alpha1.Federated},
			stored: mode(v1alpha1.BrokerRole), written: both(mode(v1alpha1.BrokerRole), role(writer)), refused: true,
		},
		{
			name: "out of a mode that is no longer allowed", bounds: association.Bounds{Default: v1alpha1.Federated},
			stored: mode(v1alpha1.BrokerRole), written: nothing,
		},
	} {
		old, a := good(), good()
		row.stored(old)
		row.written(a)
		warnings, err := admission.Rules{Bounds: row.bounds, Grants: grant.NewSet(row.grants)}.Decide(old, a)
		if (err != nil) != row.refused || (len(warnings) > 0) != row.warned {
			t.Errorf("%s: %q, %v", row.name, strings.Join(warnings, "; "), err)
		}
	}
}
