package association

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// heard is an IAM that notes what it was asked.
type heard struct {
	asked []string
	trust map[string]string // by ARN
	// policies are every role's own.
	policies []string
	err      error
}

func (h *heard) Trust(_ context.Context, role arn.Role) (string, error) {
	h.asked = append(h.asked, role.ARN().String())
	if h.err != nil {
		return "", h.err
	}
	if text, found := h.trust[role.ARN().String()]; found {
		return text, nil
	}
	return "", fault.New(fault.NotFound, "IAM has no role %s", role.ARN())
}

func (h *heard) Policies(context.Context, arn.Role) ([]string, error) { return h.policies, h.err }

// looked is an association after the controller has looked at it.
func looked(
	t *testing.T, iam Roles, plane sessionplan.Plane, grants []v1alpha1.RoleGrant, a *v1alpha1.PodIdentityAssociation,
) *v1alpha1.PodIdentityAssociation {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	objects := []client.Object{a}
	for i := range grants {
		objects = append(objects, &grants[i])
	}
	r := &Reconciler{
		Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(a).Build(),
		Plane:  plane, Grants: grant.NewSet, Roles: iam, Events: events.NewFakeRecorder(100),
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler), Every: time.Hour, Now: time.Now,
	}
	if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(a)}); err != nil {
		t.Fatal(err)
	}
	if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func conditionOf(a *v1alpha1.PodIdentityAssociation, kind string) metav1.Condition {
	for _, c := range a.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}

var silentPlane = sessionplan.Plane{
	Cluster: association.Cluster{Name: "prod", Partition: "aws", Region: "eu-west-1", Account: "111122223333"},
	Mode:    v1alpha1.Federated, Issuer: issuer, BrokerRoleARN: brokerRole,
}

// TestOnlyGrantedRolesAreLookedAt: IAM is asked about a role only when the association may
// use it in every respect; else the status is the same whether the role exists or not.
func TestOnlyGrantedRolesAreLookedAt(t *testing.T) {
	t.Parallel()
	granted := func(account, role string, modes ...v1alpha1.AssociationMode) []v1alpha1.RoleGrant {
		return []v1alpha1.RoleGrant{{ObjectMeta: metav1.ObjectMeta{Name: "g"}, Spec: v1alpha1.RoleGrantSpec{
			Subjects: []v1alpha1.GrantSubject{{Namespace: "shop", ServiceAccount: account}},
			Roles:    []string{role}, Modes: modes,
		}}}
	}
	type spec = v1alpha1.PodIdentityAssociationSpec
	const far = "arn:aws:iam::444455556666:role/writer"
	both := plane(func(p *sessionplan.Plane) {
		p.Modes = []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole}
	})
	for _, row := range []struct {
		name   string
		plane  sessionplan.Plane
		grants []v1alpha1.RoleGrant
		change func(*spec)
		asked  bool
	}{
		{"no grants at all", silentPlane, nil, nil, true},
		{"granted", silentPlane, granted("cart", cartRole), nil, true},
		{"another role is granted", silentPlane, granted("cart", cartRole+"s"), nil, false},
		{"granted to others", silentPlane, granted("card", cartRole), nil, false},
		{"the target is not granted", silentPlane, granted("*", cartRole), func(s *spec) { s.TargetRoleARN = far }, false},
		{"only the target is granted", silentPlane, granted("*", far), func(s *spec) { s.TargetRoleARN = far }, false},
		{
			"a pattern of which some are granted", silentPlane, granted("cart", cartRole),
			func(s *spec) { s.ServiceAccountName, s.AllowPatterns = "c*", true }, false,
		},
		{
			"a mode that is not allowed", silentPlane, nil, func(s *spec) { s.Mode = v1alpha1.BrokerRole }, false,
		},
		{
			"a mode that is not granted", both, granted("*", "*", v1alpha1.Federated),
			func(s *spec) { s.Mode = v1alpha1.BrokerRole }, false,
		},
	} {
		var seen []string
		for _, trust := range []map[string]string{
			nil, {cartRole: statement(federated, webTag, ""), far: statement(`{"AWS":"*"}`, assumeTag, "")},
		} {
			iam := &heard{trust: trust}
			a := looked(t, iam, row.plane, row.grants, associated(row.change))
			if (len(iam.asked) > 0) != row.asked {
				t.Errorf("%s: IAM was asked about %q", row.name, iam.asked)
			}
			if ready := conditionOf(a, conditionReady); !row.asked && ready.Status == metav1.ConditionTrue {
				t.Errorf("%s: ready: %+v", row.name, ready)
			}
			seen = append(seen, fmt.Sprint(shownOf(a)))
		}
		if !row.asked && seen[0] != seen[1] {
			t.Errorf("%s: the status tells whether the role exists:\n%s\n%s", row.name, seen[0], seen[1])
		}
	}
}

func plane(edit func(*sessionplan.Plane)) sessionplan.Plane {
	p := silentPlane
	edit(&p)
	return p
}

func shownOf(a *v1alpha1.PodIdentityAssociation) (all []string) {
	for _, c := range a.Status.Conditions {
		all = append(all, c.Type, string(c.Status), c.Reason, c.Message)
	}
	return all
}

// TestTrustPoliciesAreNotTold: whatever a trust policy holds beside what the association
// itself says, nobody reads it in the status.
func TestTrustPoliciesAreNotTold(t *testing.T) {
	t.Parallel()
	const secret = "xyzzy"
	principals := []string{
		federated, `{"AWS":"arn:aws:iam::111122223333:role/xyzzy"}`, `{"AWS":["` + brokerRole + `","AROAXYZZY1234567890"]}`,
		`{"Service":"xyzzy.amazonaws.com"}`, `{"Federated":"arn:aws:iam::111122223333:oidc-provider/xyzzy.example.com"}`,
		`{"AWS":"*"}`,
	}
	keys := []string{
		"sts:ExternalId", "sts:RoleSessionName", "sts:SourceIdentity", "aws:PrincipalArn", "aws:RequestTag/xyzzy",
		"aws:RequestTag/kubernetes-namespace", "aws:PrincipalTag/xyzzy", "aws:TagKeys", "aws:SourceIp", "xyzzy.example.com:sub",
		"aws:PrincipalOrgID", "oidc.example.com/c1:sub", "oidc.example.com/c1:xyzzy", "aws:ResourceTag/xyzzy",
	}
	for _, principal := range principals {
		for _, action := range []string{webTag, assumeTag, `"sts:AssumeRole"`, `"sts:AssumeRoleWithWebIdentity"`} {
			for _, operator := range []string{"StringEquals", "StringLike", "ForAnyValue:StringEquals", "StringNotEquals", "Bool"} {
				for _, key := range keys {
					for _, effect := range []string{"Allow", "Deny"} {
						text := `{"Version":"2012-10-17","Id":"xyzzy","Statement":[` +
							`{"Sid":"xyzzy","Effect":"Allow","Principal":` + federated + `,"Action":` + webTag + `},` +
							`{"Sid":"xyzzy2","Effect":"` + effect + `","Principal":` + principal + `,"Action":` + action +
							`,"Condition":{"` + operator + `":{"` + key + `":"xyzzy"}}}]}`
						if effect == "Allow" { // alone, so that it is the one that is missed
							text = statement(principal, action, `{"`+operator+`":{"`+key+`":"xyzzy"}}`)
						}
						for _, mode := range []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole} {
							silent(t, secret, mode, &heard{trust: map[string]string{cartRole: text}}, text)
						}
					}
				}
			}
		}
	}
	for _, text := range []string{
		"{xyzzy", `{"xyzzy":1}`, `{"Version":"xyzzy","Statement":[]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"xyzzy","Principal":"*","Action":"sts:AssumeRole"}]}`,
		statement(`{"xyzzy":"*"}`, webTag, ""), statement(federated, `"xyzzy"`, ""),
		statement(federated, webTag, `{"xyzzy":{"a":"b"}}`),
	} {
		silent(t, secret, v1alpha1.Federated, &heard{trust: map[string]string{cartRole: text}}, text)
	}
}

// silent: neither the role's own trust policy nor a target role's is told.
func silent(t *testing.T, secret string, mode v1alpha1.AssociationMode, iam *heard, text string) {
	t.Helper()
	r := &Reconciler{Plane: plane(func(p *sessionplan.Plane) { p.Mode = mode }), Roles: iam}
	_, trusts := r.role(t.Context(), associated(nil), yes("Granted", ""))
	if strings.Contains(strings.ToLower(trusts.message), secret) || trusts.message == "" {
		t.Errorf("%s\n%s: %s", text, trusts.reason, trusts.message)
	}
	const far = "arn:aws:iam::444455556666:role/writer"
	iam.trust[far], iam.trust[cartRole] = text, statement(`["*"]`, webTag, "")
	role, _ := arn.ParseRole(cartRole)
	target, _ := arn.ParseRole(far)
	a := associated(func(s *v1alpha1.PodIdentityAssociationSpec) { s.TargetRoleARN = far })
	if v := r.targetTrust(a, role, target, text); strings.Contains(strings.ToLower(v.message), secret) || v.message == "" {
		t.Errorf("target: %s\n%s: %s", text, v.reason, v.message)
	}
}
