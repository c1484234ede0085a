package association

import (
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

const (
	cartRole   = "arn:aws:iam::111122223333:role/team/cart"
	brokerRole = "arn:aws:iam::111122223333:role/broker"
	issuer     = "https://oidc.example.com/c1"

	federated = `{"Federated":"arn:aws:iam::111122223333:oidc-provider/oidc.example.com/c1"}`
	webTag    = `["sts:AssumeRoleWithWebIdentity","sts:TagSession"]`
	assumeTag = `["sts:AssumeRole","sts:TagSession"]`
)

func associated(change func(*v1alpha1.PodIdentityAssociationSpec)) *v1alpha1.PodIdentityAssociation {
	a := &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec:       v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: "cart", RoleARN: cartRole},
	}
	if change != nil {
		change(&a.Spec)
	}
	return a
}

func statement(principal, actions, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal +
		`,"Action":` + actions + condition + `}]}`
}

// TestTrust: of each mode what is enough, and of each part what is missing.
func TestTrust(t *testing.T) {
	t.Parallel()
	const (
		service = `{"Service":"pods.eks.amazonaws.com"}`
		broker  = `{"AWS":"` + brokerRole + `"}`
		web     = `"sts:AssumeRoleWithWebIdentity"`
		assume  = `"sts:AssumeRole"`
		pinned  = `{"StringEquals":{"oidc.example.com/c1:sub":"system:serviceaccount:shop:cart",` +
			`"oidc.example.com/c1:aud":"sts.amazonaws.com"}}`
		yes, no, or = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	)
	noTags := func(s *v1alpha1.PodIdentityAssociationSpec) { s.DisableSessionTags = true }
	for _, row := range []struct {
		name   string
		mode   v1alpha1.AssociationMode
		trust  string
		change func(*v1alpha1.PodIdentityAssociationSpec)
		want   metav1.ConditionStatus
		text   string
	}{
		{"federated", v1alpha1.Federated, statement(federated, webTag, pinned), nil, yes, "allows"},
		{
			"federated, without tagging", v1alpha1.Federated, statement(federated, web, pinned), nil, no,
			"sts:TagSession",
		},
		{"federated, without tagging or tags", v1alpha1.Federated, statement(federated, web, pinned), noTags, yes, ""},
		{
			"federated, of another account name", v1alpha1.Federated,
			statement(federated, webTag, strings.Replace(pinned, "shop:cart", "shop:card", 1)), nil, no,
			"system:serviceaccount:shop:cart",
		},
		{
			"federated, of another provider", v1alpha1.Federated,
			statement(strings.Replace(federated, "c1", "c2", 1), webTag, ""), nil, no,
			"oidc-provider/oidc.example.com/c1",
		},
		{
			"federated, but for EKS", v1alpha1.Federated, statement(service, assumeTag, ""), nil, no,
			"rolecall trust generate",
		},
		{
			"federated, with a pod's name", v1alpha1.Federated,
			statement(federated, webTag, `{"StringEquals":{"aws:RequestTag/kubernetes-pod-name":"cart-0"}}`), nil, or,
			"aws:RequestTag/kubernetes-pod-name",
		},
		{
			"federated, from an address", v1alpha1.Federated,
			statement(federated, webTag, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), nil, or, "aws:SourceIp",
		},
		{
			"federated, with a namespace", v1alpha1.Federated,
			statement(federated, webTag, `{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"shop"}}`), nil, yes,
			"",
		},
		{
			"federated, with a namespace, tags off", v1alpha1.Federated,
			statement(federated, webTag, `{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"shop"}}`), noTags, no,
			"kubernetes-namespace",
		},
		{
			"federated, with a namespace that is left out", v1alpha1.Federated,
			statement(federated, webTag, `{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"shop"}}`),
			func(s *v1alpha1.PodIdentityAssociationSpec) { s.OmitTags = []string{"kubernetes-namespace"} }, no,
			"kubernetes-namespace",
		},
		{
			"federated, with an identity", v1alpha1.Federated, statement(federated, webTag, pinned),
			func(s *v1alpha1.PodIdentityAssociationSpec) { s.SourceIdentity = "${serviceAccount}" }, no,
			"sts:SetSourceIdentity",
		},
		{
			"federated, tag of the pod's node", v1alpha1.Federated,
			statement(federated, webTag, `{"StringEquals":{"aws:RequestTag/where":"n1"}}`),
			func(s *v1alpha1.PodIdentityAssociationSpec) { s.SessionTags = map[string]string{"where": "${node}"} }, or,
			"aws:RequestTag/where",
		},
		{"federated, own tag", v1alpha1.Federated, statement(
			federated, webTag, `{"StringEquals":{"aws:RequestTag/who":"shop.cart"}}`,
		), func(s *v1alpha1.PodIdentityAssociationSpec) {
			s.SessionTags = map[string]string{"who": "${namespace}.${serviceAccount}"}
		}, yes, ""},
		{
			"passed through", v1alpha1.PassThrough,
			statement(federated, web, `{"StringEquals":{"oidc.example.com/c1:aud":"pods.eks.amazonaws.com"}}`), nil,
			yes, "",
		},
		{
			"passed through, of STS's audience", v1alpha1.PassThrough, statement(federated, web, pinned), nil, no,
			"pods.eks.amazonaws.com",
		},
		{
			"broker", v1alpha1.BrokerRole,
			statement(broker, assumeTag, `{"StringEquals":{"sts:ExternalId":"eu-west-1/111122223333/prod/shop/cart"}}`),
			nil, yes, "",
		},
		{
			"broker, of the whole account", v1alpha1.BrokerRole,
			statement(`{"AWS":"arn:aws:iam::111122223333:root"}`, assumeTag, ""), nil, yes, "",
		},
		{
			"broker, with another external id", v1alpha1.BrokerRole,
			statement(broker, assumeTag, `{"StringEquals":{"sts:ExternalId":"other"}}`), nil, no,
			"eu-west-1/111122223333/prod/shop/cart",
		},
		{
			"broker, asked for by the association", v1alpha1.Federated, statement(broker, assumeTag, ""),
			func(s *v1alpha1.PodIdentityAssociationSpec) { s.Mode = v1alpha1.BrokerRole }, yes, "",
		},
		{
			"EKS", sessionplan.EKS,
			statement(
				service, assumeTag,
				`{"StringEquals":{"aws:SourceAccount":"111122223333"},`+
					`"ArnEquals":{"aws:SourceArn":"arn:aws:eks:eu-west-1:111122223333:cluster/prod"}}`,
			),
			nil, yes, "",
		},
		{
			"EKS, of another cluster", sessionplan.EKS,
			statement(
				service, assumeTag, `{"ArnEquals":{"aws:SourceArn":"arn:aws:eks:eu-west-1:111122223333:cluster/test"}}`,
			),
			nil, no, "cluster/prod",
		},
		{"EKS, without tagging", sessionplan.EKS, statement(service, assume, ""), nil, no, "sts:TagSession"},
		{"no document", sessionplan.EKS, "{", nil, or, "not understood"},
		{
			"pattern", sessionplan.EKS, statement(service, assumeTag, ""),
			func(s *v1alpha1.PodIdentityAssociationSpec) { s.ServiceAccountName, s.AllowPatterns = "c*", true }, or,
			"each service account",
		},
	} {
		r := Reconciler{Plane: sessionplan.Plane{
			Cluster: association.Cluster{
				Name:      "prod",
				Partition: "aws",
				Region:    "eu-west-1",
				Account:   "111122223333",
			},
			Mode:          row.mode,
			Modes:         []v1alpha1.AssociationMode{row.mode, v1alpha1.BrokerRole},
			Choices:       association.Choices(),
			Issuer:        issuer,
			BrokerRoleARN: brokerRole,
		}}
		role, err := arn.ParseRole(cartRole)
		if err != nil {
			t.Fatal(err)
		}
		got := r.trust(associated(row.change), role, row.trust)
		if got.status != row.want || !strings.Contains(got.message, row.text) {
			t.Errorf("%s: %+v, want %s with %q", row.name, got, row.want, row.text)
		}
	}
	role, _ := arn.ParseRole(cartRole)
	for _, mode := range []v1alpha1.AssociationMode{v1alpha1.Federated, v1alpha1.BrokerRole} {
		if got := (&Reconciler{Plane: sessionplan.Plane{Mode: mode}}).trust(
			associated(nil), role, statement(federated, webTag, ""),
		); got.status != or || got.reason != "NotConfigured" {
			t.Errorf("%s without what it needs: %+v", mode, got)
		}
	}
}

func TestTargetTrust(t *testing.T) {
	t.Parallel()
	r := Reconciler{Plane: sessionplan.Plane{
		Cluster: association.Cluster{Name: "prod", Partition: "aws", Region: "eu-west-1", Account: "111122223333"},
		Mode:    sessionplan.EKS,
	}}
	role, _ := arn.ParseRole(cartRole)
	target, _ := arn.ParseRole("arn:aws:iam::444455556666:role/writer")
	const principal = `{"AWS":"` + cartRole + `"}`
	const external = `{"StringEquals":{"sts:ExternalId":"eu-west-1/111122223333/prod/shop/cart"}}`
	for _, row := range []struct {
		name, trust string
		tags        bool
		want        metav1.ConditionStatus
	}{
		{"all", statement(principal, `["sts:AssumeRole","sts:TagSession"]`, external), true, metav1.ConditionTrue},
		{
			"tags that are inherited, not allowed", statement(principal, `"sts:AssumeRole"`, external), true,
			metav1.ConditionFalse,
		},
		{"no tags", statement(principal, `"sts:AssumeRole"`, external), false, metav1.ConditionTrue},
		{
			"another external id",
			statement(principal, `"sts:AssumeRole"`, strings.Replace(external, "cart", "card", 1)), false,
			metav1.ConditionFalse,
		},
		{
			"another role", statement(strings.Replace(principal, "cart", "card", 1), `"sts:AssumeRole"`, ""), false,
			metav1.ConditionFalse,
		},
	} {
		a := associated(func(s *v1alpha1.PodIdentityAssociationSpec) {
			s.TargetRoleARN, s.DisableSessionTags = target.ARN().String(), !row.tags
		})
		if got := r.targetTrust(a, role, target, row.trust); got.status != row.want {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	good := map[string]verdict{
		conditionRole:     yes("", ""),
		conditionTrust:    yes("", ""),
		conditionGranted:  yes("", ""),
		conditionShadowed: no("", ""),
	}
	for _, row := range []struct {
		name, condition string
		verdict         verdict
		change          func(*v1alpha1.PodIdentityAssociationSpec)
		want            metav1.ConditionStatus
	}{
		{"all well", conditionRole, yes("", ""), nil, metav1.ConditionTrue},
		{"not asked", conditionRole, unknown("", ""), nil, metav1.ConditionUnknown},
		{"refused", conditionTrust, no("", ""), nil, metav1.ConditionFalse},
		{"not granted", conditionGranted, no("", ""), nil, metav1.ConditionFalse},
		{"shadowed", conditionShadowed, yes("", ""), nil, metav1.ConditionFalse},
		{
			"paused", conditionRole, yes("", ""), func(s *v1alpha1.PodIdentityAssociationSpec) { s.Paused = true },
			metav1.ConditionFalse,
		},
		{
			"not a policy", conditionRole, yes("", ""),
			func(s *v1alpha1.PodIdentityAssociationSpec) { s.SessionPolicy = "{" }, metav1.ConditionFalse,
		},
	} {
		found := maps.Clone(good)
		found[row.condition] = row.verdict
		if got := ready(associated(row.change), found); got.status != row.want {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}
