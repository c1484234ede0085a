package association

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestFurtherRoles: a role that the session's own policies lead to, and that does not take
// transitive tags, is told of; what the application alone knows is left open.
func TestFurtherRoles(t *testing.T) {
	t.Parallel()
	const (
		next  = "arn:aws:iam::111122223333:role/next"
		cart  = `{"AWS":"` + cartRole + `"}`
		root  = `{"AWS":"arn:aws:iam::111122223333:root"}`
		plain = `"sts:AssumeRole"`
	)
	policyOf := func(actions, resource string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":"` + resource + `"}]}`
	}
	both := policyOf(assumeTag, next)
	type spec = v1alpha1.PodIdentityAssociationSpec
	for _, row := range []struct {
		name     string
		policies []string
		trust    string
		change   func(*spec)
		want     metav1.ConditionStatus
		reason   string
	}{
		{"leads nowhere", []string{policyOf(`"s3:*"`, "*")}, "", nil, "True", "TagsTaken"},
		{"takes tags", []string{both}, statement(cart, assumeTag, ""), nil, "True", "TagsTaken"},
		{"takes everything", []string{policyOf(`"*"`, next)}, statement(cart, `"sts:*"`, ""), nil, "True", "TagsTaken"},
		{"takes no tags", []string{both}, statement(cart, plain, ""), nil, "False", "TagsRefused"},
		{
			"the caller's policy lacks it",
			[]string{policyOf(plain, next)},
			statement(root, assumeTag, ""), nil, "False",
			"TagsRefused",
		},
		{
			"the account is trusted, and both allow", []string{both}, statement(root, assumeTag, ""), nil, "True", "TagsTaken",
		},
		{
			"a Deny of tags", []string{both, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny",` +
				`"Action":"sts:TagSession","Resource":"*"}]}`}, statement(cart, assumeTag, ""), nil, "False", "TagsRefused",
		},
		{
			"does not trust the role at all",
			[]string{both},
			statement(`{"AWS":"`+brokerRole+`"}`, plain, ""), nil, "True",
			"TagsTaken",
		},
		{
			"wants an external id",
			[]string{both},
			statement(cart, plain, `{"StringEquals":{"sts:ExternalId":"xyzzy"}}`), nil,
			"Unknown", "SomeNotKnown",
		},
		{"pattern of roles", []string{policyOf(assumeTag, "arn:aws:iam::111122223333:role/n*")}, "", nil, "True", "TagsTaken"},
		{"is not there", []string{both}, "", nil, "True", "TagsTaken"},
		{"what is not a trust policy", []string{both}, "{xyzzy", nil, "Unknown", "SomeNotKnown"},
		{"what is not a policy", []string{"{xyzzy"}, "", nil, "Unknown", "Unread"},
		{
			"local tags",
			[]string{both},
			statement(cart, plain, ""),
			func(s *spec) { s.SessionTagging = v1alpha1.LocalTags }, "True", "NothingGoesOn",
		},
		{
			"no tags",
			[]string{both},
			statement(cart, plain, ""), func(s *spec) { s.DisableSessionTags = true }, "True",
			"NothingGoesOn",
		},
	} {
		iam := &heard{policies: row.policies, trust: map[string]string{cartRole: statement(federated, webTag, "")}}
		if row.trust != "" {
			iam.trust[next] = row.trust
		}
		a := looked(t, iam, silentPlane, nil, associated(row.change))
		got := conditionOf(a, conditionTags)
		if got.Status != row.want || got.Reason != row.reason || strings.Contains(got.Message, "xyzzy") ||
			(row.reason == "TagsRefused" || row.reason == "SomeNotKnown") != strings.Contains(got.Message, next) {
			t.Errorf("%s: %+v", row.name, got)
		}
		if ready := conditionOf(a, conditionReady); ready.Status != metav1.ConditionTrue {
			t.Errorf("%s: further roles keep the pod from its own: %+v", row.name, ready)
		}
	}
}

// TestFurtherRolesAreNotNamed: where there are RoleGrants, a further role that the account
// was not granted is not named.
func TestFurtherRolesAreNotNamed(t *testing.T) {
	t.Parallel()
	const secret = "arn:aws:iam::111122223333:role/xyzzy"
	iam := &heard{
		policies: []string{`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + assumeTag + `,"Resource":"` +
			secret + `"}]}`},
		trust: map[string]string{
			cartRole: statement(federated, webTag, ""), secret: statement(`{"AWS":"`+cartRole+`"}`, `"sts:AssumeRole"`, ""),
		},
	}
	grants := []v1alpha1.RoleGrant{{ObjectMeta: metav1.ObjectMeta{Name: "g"}, Spec: v1alpha1.RoleGrantSpec{
		Subjects: []v1alpha1.GrantSubject{{Namespace: "shop"}}, Roles: []string{cartRole},
	}}}
	got := conditionOf(looked(t, iam, silentPlane, grants, associated(nil)), conditionTags)
	if got.Status != metav1.ConditionFalse || strings.Contains(got.Message, "xyzzy") {
		t.Errorf("%+v", got)
	}
	refusing := &heard{err: fault.New(fault.Denied, "IAM does not show the role to the controller: AccessDenied")}
	if got := conditionOf(looked(t, refusing, silentPlane, grants, associated(nil)), conditionTags); got.Status !=
		metav1.ConditionUnknown || got.Reason != reasonNotForIAM {
		t.Errorf("not shown: %+v", got)
	}
}
