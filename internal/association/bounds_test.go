package association_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

type specification = v1alpha1.PodIdentityAssociationSpec

// writersChoice says of each field of an association what keeps its writer from getting
// more by it: the mode, a choice that the operator may take away, or why nothing has to.
var writersChoice = map[string]struct {
	choice association.Choice // by which the operator bounds it
	choose func(*specification)
	why    string // nothing else has to
}{
	"ServiceAccountName": {why: "RBAC of the namespace, and RoleGrants for all accounts of a pattern"},
	"AllowPatterns":      {why: "RoleGrants for all accounts of a pattern"},
	"RoleARN":            {why: "RoleGrants"},
	"TargetRoleARN":      {why: "RoleGrants; who has the first role's session can assume it themselves"},
	"ExternalID":         {why: "refused with the RoleGrants, which may allow it"},
	"DisableSessionTags": {
		choice: association.ChooseNoTags,
		choose: func(s *specification) { s.DisableSessionTags = true },
	},
	"SessionTagging": {
		choice: association.ChooseLocalTags,
		choose: func(s *specification) { s.SessionTagging = v1alpha1.LocalTags },
	},
	"SessionPolicy":   {why: "narrows"},
	"DurationSeconds": {why: "the role's own limit"},
	"Tags":            {why: "of the association, not of sessions"},
	"SessionTags": {
		choice: association.ChooseTags,
		choose: func(s *specification) { s.SessionTags = map[string]string{"team": "red"} },
	},
	"OmitTags": {
		choice: association.ChooseNoTags,
		choose: func(s *specification) { s.OmitTags = []string{"kubernetes-pod-uid", "kubernetes-namespace"} },
	},
	"SessionName": {
		choice: association.ChooseSessionName,
		choose: func(s *specification) { s.SessionName = "alice" },
	},
	"SourceIdentity": {
		choice: association.ChooseSourceIdentity,
		choose: func(s *specification) { s.SourceIdentity = "alice" },
	},
	"Mode": {why: "the operator's list of modes"},
	"AllowUnboundTokens": {
		choice: association.ChooseUnboundTokens,
		choose: func(s *specification) { s.AllowUnboundTokens = true },
	},
	"OnOversize": {why: "drops what nobody can rely on: the association's own tags, and those of the one pod"},
	"Paused":     {why: "narrows"},
}

// TestEveryFieldIsBounded: no field of an association is its writer's choice without an
// answer to who gains by it.
func TestEveryFieldIsBounded(t *testing.T) {
	t.Parallel()
	for field := range reflect.TypeFor[specification]().Fields() {
		said, known := writersChoice[field.Name]
		if !known || said.why == "" && said.choose == nil {
			t.Errorf("spec.%s: say what keeps a writer of associations from getting more by it", field.Name)
			continue
		}
		if said.choose == nil {
			continue
		}
		for _, mode := range []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole} {
			a := &v1alpha1.PodIdentityAssociation{}
			said.choose(&a.Spec)
			all := association.Bounds{Default: mode, Choices: association.Choices()}
			if err := all.Check(a); err != nil {
				t.Errorf("%s, mode %s, everything allowed: %v", field.Name, mode, err)
			}
			without := slices.DeleteFunc(association.Choices(), func(c association.Choice) bool { return c == said.choice })
			checkOutOfBounds(t, field.Name, &association.Bounds{Default: mode, Choices: without}, a)
			checkOutOfBounds(t, field.Name, &association.Bounds{Default: mode, Choices: []association.Choice{}}, a)
		}
	}
}

func checkOutOfBounds(t *testing.T, field string, bounds *association.Bounds, a *v1alpha1.PodIdentityAssociation) {
	t.Helper()
	err := bounds.Check(a)
	refused, ok := errors.AsType[*association.OutOfBounds](err)
	if !ok || !strings.EqualFold(refused.Field, "spec."+field) || fault.KindOf(err) != fault.Denied ||
		len(fault.HintsOf(err)) == 0 {
		t.Errorf("%s within %+v: %v", field, *bounds, err)
	}
}

// TestModesAreTheOperators: an association has the mode that the operator chose, or one
// that the operator added.
func TestModesAreTheOperators(t *testing.T) {
	t.Parallel()
	all := []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough}
	asked := append([]v1alpha1.AssociationMode{"", association.EKS, "brokerRole", "Odd"}, all...)
	for _, mode := range all {
		for subset := range 1 << len(all) {
			bounds := association.Bounds{Default: mode}
			for i, one := range all {
				if subset&(1<<i) != 0 {
					bounds.Modes = append(bounds.Modes, one)
				}
			}
			for _, own := range asked {
				a := &v1alpha1.PodIdentityAssociation{Spec: specification{Mode: own}}
				got := own
				if own == "" {
					got = mode
				}
				want := slices.Contains(bounds.Modes, got) || len(bounds.Modes) == 0 && got == mode
				if err := bounds.Check(a); (err == nil) != want {
					t.Errorf("mode %q where %+v: %v", own, bounds, err)
				}
			}
		}
	}
	for _, own := range asked {
		a := &v1alpha1.PodIdentityAssociation{Spec: specification{Mode: own}}
		if err := (&association.Bounds{Default: association.EKS}).Check(a); err != nil {
			t.Errorf("mode %q on EKS: %v", own, err)
		}
		if err := (&association.Bounds{}).Check(a); err == nil {
			t.Errorf("mode %q where nobody said what is allowed", own)
		}
	}
}

// TestUsualChoices: where trust policies see the broker, nobody leaves out what tells
// accounts apart unless the operator said so.
func TestUsualChoices(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		mode    v1alpha1.AssociationMode
		choose  func(*specification)
		refused bool
	}{
		{"no tags", v1alpha1.Federated, func(s *specification) { s.DisableSessionTags = true }, false},
		{"no tags", v1alpha1.PassThrough, func(s *specification) { s.DisableSessionTags = true }, false},
		{"no tags", v1alpha1.BrokerRole, func(s *specification) { s.DisableSessionTags = true }, true},
		{"none", v1alpha1.BrokerRole, func(s *specification) { s.SessionTagging = v1alpha1.NoTags }, true},
		{"local", v1alpha1.BrokerRole, func(s *specification) { s.SessionTagging = v1alpha1.LocalTags }, true},
		{"local", v1alpha1.Federated, func(s *specification) { s.SessionTagging = v1alpha1.LocalTags }, false},
		{"no namespace", v1alpha1.BrokerRole, func(s *specification) { s.OmitTags = []string{"kubernetes-namespace"} }, true},
		{"no cluster", v1alpha1.BrokerRole, func(s *specification) { s.OmitTags = []string{"eks-cluster-arn"} }, true},
		{
			"no pod", v1alpha1.BrokerRole,
			func(s *specification) { s.OmitTags = []string{"kubernetes-pod-uid", "kubernetes-pod-name"} }, false,
		},
		{
			"further tags", v1alpha1.BrokerRole,
			func(s *specification) { s.SessionTags = map[string]string{"team": "red"} }, false,
		},
	} {
		a := &v1alpha1.PodIdentityAssociation{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
		row.choose(&a.Spec)
		bounds := association.Bounds{Default: row.mode}
		if err := bounds.Check(a); (err != nil) != row.refused {
			t.Errorf("%s in mode %s: %v", row.name, row.mode, err)
		}
	}
	for _, mode := range []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough} {
		if bounds := (association.Bounds{Default: mode}); bounds.May(mode, association.ChooseExternalID) {
			t.Errorf("mode %s: external ids may be chosen unasked", mode)
		}
	}
}
