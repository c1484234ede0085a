package association_test

import (
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

const role = "arn:aws:iam::111122223333:role/team/reader"

const readOnly = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject",` +
	`"Resource":"arn:aws:s3:::b/*"}]}`

func good() *v1alpha1.PodIdentityAssociation {
	return &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec:       v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: "cart", RoleARN: role},
	}
}

// policyOf is a session policy of so many characters.
func policyOf(length int) string {
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject",` +
		`"Resource":"arn:aws:s3:::b/"}]}`
	return strings.Replace(text, "b/", "b/"+strings.Repeat("x", length-len(text)), 1)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	type kind = v1alpha1.PodIdentityAssociation
	both, api := "both", "api" // refused by both, or by the EKS API only
	for _, row := range []struct {
		name, by, field string
		change          func(*kind)
	}{
		{"good", "", "", func(*kind) {}},
		{"namespace of 63", "", "", func(a *kind) { a.Namespace = strings.Repeat("n", 63) }},
		{"namespace of 64", both, "metadata.namespace", func(a *kind) { a.Namespace = strings.Repeat("n", 64) }},
		{"no namespace", both, "metadata.namespace", func(a *kind) { a.Namespace = "" }},
		{"namespace with a dot", both, "metadata.namespace", func(a *kind) { a.Namespace = "a.b" }},
		{"namespace with a line end", both, "metadata.namespace", func(a *kind) { a.Namespace = "shop\n" }},
		{"namespace with a star", both, "metadata.namespace", func(a *kind) { a.Namespace = "*" }},
		{"account of 253", "", "", func(a *kind) {
			a.Spec.ServiceAccountName = strings.Repeat("a", 253)
			a.Name = a.Spec.ServiceAccountName
		}},
		{"account of 254", both, "spec.serviceAccountName", func(a *kind) {
			a.Spec.ServiceAccountName = strings.Repeat("a", 254)
			a.Name = a.Spec.ServiceAccountName
		}},
		{"no account", both, "spec.serviceAccountName", func(a *kind) { a.Spec.ServiceAccountName, a.Name = "", "" }},
		{
			name:   "account with a line end",
			by:     both,
			field:  "spec.serviceAccountName",
			change: func(a *kind) { a.Spec.ServiceAccountName, a.Name = "cart\n", "cart\n" },
		},
		{
			name:   "account with a slash",
			by:     both,
			field:  "spec.serviceAccountName",
			change: func(a *kind) { a.Spec.ServiceAccountName, a.Name = "a/b", "a/b" },
		},
		{
			name:   "account with two dots",
			by:     both,
			field:  "spec.serviceAccountName",
			change: func(a *kind) { a.Spec.ServiceAccountName, a.Name = "a..b", "a..b" },
		},
		{"another name", both, "metadata.name", func(a *kind) { a.Name = "other" }},
		{
			name:   "another name, with patterns",
			by:     both,
			field:  "metadata.name",
			change: func(a *kind) { a.Name, a.Spec.AllowPatterns = "other", true },
		},
		{
			name:   "pattern",
			by:     api,
			field:  "spec.serviceAccountName",
			change: func(a *kind) { a.Name, a.Spec.ServiceAccountName, a.Spec.AllowPatterns = "all", "c*", true },
		},
		{"patterns allowed, none there", api, "spec.serviceAccountName", func(a *kind) { a.Spec.AllowPatterns = true }},
		{
			name:   "pattern not allowed",
			by:     both,
			field:  "spec.serviceAccountName",
			change: func(a *kind) { a.Spec.ServiceAccountName, a.Name = "c*", "c*" },
		},
		{
			name:   "star within",
			by:     both,
			field:  "spec.serviceAccountName",
			change: func(a *kind) { a.Spec.ServiceAccountName, a.Spec.AllowPatterns = "c*t", true },
		},
		{"no role", both, "spec.roleARN", func(a *kind) { a.Spec.RoleARN = "" }},
		{"user", both, "spec.roleARN", func(a *kind) { a.Spec.RoleARN = "arn:aws:iam::111122223333:user/a" }},
		{"role with a line end", both, "spec.roleARN", func(a *kind) { a.Spec.RoleARN += "\n" }},
		{"role with a star", both, "spec.roleARN", func(a *kind) { a.Spec.RoleARN += "*" }},
		{"role that is a path", both, "spec.roleARN", func(a *kind) { a.Spec.RoleARN += "/" }},
		{
			name:   "role of 65 letters",
			by:     both,
			field:  "spec.roleARN",
			change: func(a *kind) { a.Spec.RoleARN = "arn:aws:iam::111122223333:role/" + strings.Repeat("r", 65) },
		},
		{
			name:   "role of 11 digits",
			by:     both,
			field:  "spec.roleARN",
			change: func(a *kind) { a.Spec.RoleARN = "arn:aws:iam::11112222333:role/r" },
		},
		{
			name:  "long role",
			by:    both,
			field: "spec.roleARN",
			change: func(a *kind) {
				a.Spec.RoleARN = "arn:aws:iam::111122223333:role/" + strings.Repeat("p/", 1024) + "r"
			},
		},
		{
			name:   "role of another partition",
			change: func(a *kind) { a.Spec.RoleARN = "arn:aws-us-gov:iam::111122223333:role/r" },
		},
		{"target", "", "", func(a *kind) { a.Spec.TargetRoleARN = role }},
		{"target with a star", both, "spec.targetRoleARN", func(a *kind) { a.Spec.TargetRoleARN = role + "*" }},
		{"external id", "", "", func(a *kind) { a.Spec.TargetRoleARN, a.Spec.ExternalID = role, "ab" }},
		{
			name:   "external id of one letter",
			by:     both,
			field:  "spec.externalID",
			change: func(a *kind) { a.Spec.TargetRoleARN, a.Spec.ExternalID = role, "a" },
		},
		{
			name:   "external id with a line end",
			by:     both,
			field:  "spec.externalID",
			change: func(a *kind) { a.Spec.TargetRoleARN, a.Spec.ExternalID = role, "ab\n" },
		},
		{"external id to nobody", both, "spec.externalID", func(a *kind) { a.Spec.ExternalID = "ab" }},
		{"51 tags", both, "spec.tags", func(a *kind) { a.Spec.Tags = tags(51) }},
		{"50 tags", "", "", func(a *kind) { a.Spec.Tags = tags(50) }},
		{"tag of AWS", both, "spec.tags", func(a *kind) { a.Spec.Tags = map[string]string{"Aws:x": ""} }},
		{
			name:   "tag value of 257",
			by:     both,
			field:  "spec.tags",
			change: func(a *kind) { a.Spec.Tags = map[string]string{"x": strings.Repeat("ä", 257)} },
		},
		{"tag value of 256", "", "", func(a *kind) { a.Spec.Tags = map[string]string{"x": strings.Repeat("ä", 256)} }},
		{"45 session tags", both, "spec.sessionTags", func(a *kind) { a.Spec.SessionTags = tags(45) }},
		{
			name:   "two keys that are one",
			by:     both,
			field:  "spec.sessionTags",
			change: func(a *kind) { a.Spec.SessionTags = map[string]string{"Team": "", "team": ""} },
		},
		{
			name:   "one of the six",
			by:     both,
			field:  "spec.sessionTags",
			change: func(a *kind) { a.Spec.SessionTags = map[string]string{"Eks-Cluster-Arn": ""} },
		},
		{"variables", "", "", func(a *kind) { a.Spec.SessionTags = map[string]string{"Team": "${namespace}/${node}"} }},
		{
			name:   "unknown variable",
			by:     both,
			field:  "spec.sessionTags",
			change: func(a *kind) { a.Spec.SessionTags = map[string]string{"Team": "${podIP}"} },
		},
		{
			name:   "half a variable",
			by:     both,
			field:  "spec.sessionTags",
			change: func(a *kind) { a.Spec.SessionTags = map[string]string{"Team": "${node"} },
		},
		{
			name:   "variable in a key",
			by:     both,
			field:  "spec.sessionTags",
			change: func(a *kind) { a.Spec.SessionTags = map[string]string{"${node}": ""} },
		},
		{
			name:   "session tag with a line end",
			by:     both,
			field:  "spec.sessionTags",
			change: func(a *kind) { a.Spec.SessionTags = map[string]string{"Team": "a\n"} },
		},
		{
			name:   "left out twice",
			by:     both,
			field:  "spec.omitTags",
			change: func(a *kind) { a.Spec.OmitTags = []string{"eks-cluster-arn", "eks-cluster-arn"} },
		},
		{"left out, not of the six", both, "spec.omitTags", func(a *kind) { a.Spec.OmitTags = []string{"Team"} }},
		{
			name:   "tags that are off",
			by:     both,
			field:  "spec.disableSessionTags",
			change: func(a *kind) { a.Spec.DisableSessionTags, a.Spec.SessionTags = true, tags(1) },
		},
		{"short", both, "spec.durationSeconds", func(a *kind) { a.Spec.DurationSeconds = 899 }},
		{"long", both, "spec.durationSeconds", func(a *kind) { a.Spec.DurationSeconds = 43201 }},
		{"unknown mode", both, "spec.mode", func(a *kind) { a.Spec.Mode = "federated" }},
		{
			name:   "passed through with tags",
			by:     both,
			field:  "spec.mode",
			change: func(a *kind) { a.Spec.Mode, a.Spec.SessionTags = v1alpha1.PassThrough, tags(1) },
		},
		{"unknown way with large ones", both, "spec.onOversize", func(a *kind) { a.Spec.OnOversize = "Ignore" }},
		{"labels of the pod", "", "", func(a *kind) {
			a.Spec.SessionName, a.Spec.SourceIdentity = "${podLabel:example.com/team}-${uuid}", "${podLabel:tier}"
			a.Spec.SessionTags = map[string]string{"team": "of ${podLabel:example.com/team}"}
		}},
		{
			name:   "a label without a key",
			by:     both,
			field:  "spec.sessionTags",
			change: func(a *kind) { a.Spec.SessionTags = map[string]string{"team": "${podLabel:}"} },
		},
		{"session name", both, "spec.sessionName", func(a *kind) { a.Spec.SessionName = "${pod}" }},
		{"source identity", both, "spec.sourceIdentity", func(a *kind) { a.Spec.SourceIdentity = "a b" }},
		{
			name:   "policy without tags",
			change: func(a *kind) { a.Spec.SessionPolicy, a.Spec.DisableSessionTags = readOnly, true },
		},
		{"policy beside tags", api, "spec.sessionPolicy", func(a *kind) { a.Spec.SessionPolicy = readOnly }},
		{
			name:   "large policy beside tags",
			by:     both,
			field:  "spec.sessionPolicy",
			change: func(a *kind) { a.Spec.SessionPolicy = policyOf(1000) },
		},
		{"large policy beside few tags", api, "spec.sessionPolicy", func(a *kind) {
			a.Spec.SessionPolicy = policyOf(1000)
			a.Spec.OmitTags = []string{"eks-cluster-arn", "kubernetes-pod-uid", "kubernetes-pod-name"}
		}},
		{
			name:   "policy of 2,048",
			change: func(a *kind) { a.Spec.SessionPolicy, a.Spec.DisableSessionTags = policyOf(2048), true },
		},
		{
			name:   "policy of 2,049",
			by:     both,
			field:  "spec.sessionPolicy",
			change: func(a *kind) { a.Spec.SessionPolicy, a.Spec.DisableSessionTags = policyOf(2049), true },
		},
		{
			name:   "not a policy",
			by:     both,
			field:  "spec.sessionPolicy",
			change: func(a *kind) { a.Spec.SessionPolicy, a.Spec.DisableSessionTags = "{", true },
		},
		{"policy with a principal", both, "spec.sessionPolicy", func(a *kind) {
			a.Spec.DisableSessionTags = true
			a.Spec.SessionPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",` +
				`"Action":"*","Resource":"*"}]}`
		}},
	} {
		a := good()
		row.change(a)
		for _, strict := range []bool{false, true} {
			err := association.Validate(a, strict)
			want := ""
			if row.by == both || row.by == api && strict {
				want = row.field
			}
			refusal, _ := errors.AsType[*association.Refusal](err)
			switch {
			case err == nil && want == "":
			case refusal == nil || refusal.Field != want || fault.KindOf(err) != fault.Invalid ||
				!errors.Is(err, association.ErrInvalid):
				t.Errorf("%s, strict %v: %v, want %q", row.name, strict, err, want)
			}
		}
	}
}

// TestPackedSize holds the estimate to the figures of spec podidentity §14.2.
func TestPackedSize(t *testing.T) {
	t.Parallel()
	a := good()
	plain := association.PackedSize(a)
	if plain < 65 || plain > 80 {
		t.Errorf("six tags: %d %%, measured were 74", plain)
	}
	a.Spec.SessionTags = map[string]string{"own": strings.Repeat("v", 134)} // 37 % by themselves
	if got := association.PackedSize(a); got < 100 {
		t.Errorf("six tags and those of 37 %%: %d %%, and STS refused them", got)
	}
	a.Spec.SessionTags, a.Spec.DisableSessionTags, a.Spec.SessionPolicy = nil, true, policyOf(2048)
	if got := association.PackedSize(a); got > 100 {
		t.Errorf("the longest policy alone: %d %%", got)
	}
}

func TestDefault(t *testing.T) {
	t.Parallel()
	a := good()
	association.Default(a)
	if a.Spec.DurationSeconds != 21600 || a.Spec.OnOversize != v1alpha1.Fail {
		t.Errorf("%+v", a.Spec)
	}
	a.Spec.DurationSeconds = 900
	if association.Default(a); a.Spec.DurationSeconds != 900 {
		t.Errorf("%+v", a.Spec)
	}
}

func tags(n int) map[string]string {
	many := map[string]string{}
	for i := range n {
		many["k"+strings.Repeat("x", i)] = "v"
	}
	return many
}
