package trust_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/trust"
)

const (
	fixIssuer  = "oidc.eks.eu-central-1.amazonaws.com/id/D539D539"
	fixSubject = "system:serviceaccount:shop:cart"
	fixCluster = "arn:aws:eks:eu-central-1:111122223333:cluster/prod"
)

// choice takes the next of several from a text that a fuzzer steers.
func choice(data *[]byte, of ...string) string {
	if len(*data) == 0 {
		return of[0]
	}
	n := int((*data)[0]) % len(of)
	*data = (*data)[1:]
	return of[n]
}

// slipped is a trust policy for the workload with some of the mistakes that people
// make; the first of each choice is right.
func slipped(data *[]byte) string {
	issuer := func() string {
		return choice(data, fixIssuer, fixIssuer, fixIssuer, "oidc.eu-central-1.eks.amazonaws.com/id/D539D539",
			"https://"+fixIssuer, fixIssuer+"/", strings.Replace(fixIssuer, "/id/", "/", 1),
			"oidc.eks.eu-central-1.amazonaws.com/id/D539D538", "arn:aws:iam::111122223333:oidc-provider/"+fixIssuer)
	}
	key := func(claim string) string {
		return issuer() + choice(data, ":", ":", ":", ".", "/", "::") + choice(data, claim, claim, claim, "sub", "aud")
	}
	subject := choice(data, fixSubject, fixSubject, fixSubject, "system:serviceaccount:cart:shop", "sts.amazonaws.com",
		"system:serviceaccount:shop:*", "system:serviceaccount:*:cart", "*", "${"+fixIssuer+":sub}", "shop/cart",
		"system:serviceaccount:Shop:cart", "system:serviceaccount:default:*", "system:service-account:shop:cart")
	audience := choice(data, "sts.amazonaws.com", "sts.amazonaws.com", "sts.eu-central-1.amazonaws.com", fixSubject, "*",
		"https://sts.amazonaws.com", "sts.amazon.com")
	principal := choice(data, `{"Federated":"arn:aws:iam::111122223333:oidc-provider/`+fixIssuer+`"}`,
		`{"Federated":"arn:aws:iam::111122223333:oidc-provider/`+issuer()+`"}`, `{"AWS":"*"}`,
		`{"AWS":"arn:aws:iam::111122223333:root"}`, `{"Service":"eks.amazonaws.com"}`)
	operators := []string{
		"StringEquals", "StringEquals", "StringLike", "StringEqualsIfExists", "ForAllValues:StringEquals", "StringNotEquals",
		"StringEqualsIgnoreCase",
	}
	action := choice(data, "sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithWebIdentity", "sts:AssumeRole", "sts:*")
	condition := fmt.Sprintf(`%q:{%q:%q}`, choice(data, operators...), key("sub"), subject)
	if second := choice(data, operators...); !strings.HasPrefix(condition, `"`+second+`"`) {
		condition += fmt.Sprintf(`,%q:{%q:%q}`, second, key("aud"), audience)
	}
	if choice(data, "with", "with", "with", "without") == "without" {
		condition = ""
	}
	statement := fmt.Sprintf(`{"Effect":"Allow","Principal":%s,"Action":%q,"Condition":{%s}}`, principal, action, condition)
	if choice(data, "", "", "deny") == "deny" {
		statement += `,{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":` +
			`{"StringNotEquals":{"aws:PrincipalAccount":"111122223333"}}}`
	}
	return `{"Version":"2012-10-17","Statement":[` + statement + `]}`
}

// letsIn asks the engine about a token of the issuer.
func letsIn(text, subject string) bool {
	p, err := policy.Parse(policy.Trust, "p", []byte(text))
	if err != nil {
		return false
	}
	provider := "arn:aws:iam::111122223333:oidc-provider/" + fixIssuer
	d := policy.Decide(&policy.Request{
		Principal: policy.Principal{Kind: policy.WebIdentity, ARN: provider, UserID: provider, Account: roleAccount},
		Action:    "sts:AssumeRoleWithWebIdentity", Resource: "arn:aws:iam::111122223333:role/r",
		Context: policy.NewContext().Set(fixIssuer+":sub", subject).Set(fixIssuer+":aud", "sts.amazonaws.com").
			Set("sts:RoleSessionName", "app"),
	}, &policy.Policies{Trust: p})
	return d.Effect == policy.Allowed
}

// fixAgrees: what --fix leaves lets the workload in, or an error says why not; and it
// lets in no stranger, or a finding says so.
func fixAgrees(t *testing.T, text string) {
	t.Helper()
	options := policy.LintOptions{Account: roleAccount, Role: &policy.RoleFacts{
		Partition: "aws", Issuers: []string{fixIssuer}, Audience: "sts.amazonaws.com", Subjects: []string{fixSubject},
	}}
	fixed := trust.Fix("p", []byte(text), options)
	has := func(severities ...finding.Severity) bool {
		return slices.ContainsFunc(fixed.Left, func(f finding.Finding) bool {
			return slices.Contains(severities, f.Severity)
		})
	}
	if !letsIn(fixed.Text, fixSubject) && !has(finding.Error) {
		t.Fatalf("%s\nbecame\n%s\nwhich keeps the workload out; left: %+v", text, fixed.Text, fixed.Left)
	}
	for _, stranger := range []string{
		"system:serviceaccount:evil:cart", "system:serviceaccount:shopx:cart", "system:serviceaccount:default:evil",
		"system:serviceaccount:evil:evil",
	} {
		if !letsIn(fixed.Text, stranger) {
			continue
		}
		_, refused := policy.Parse(policy.Trust, "p", []byte(text)) // then who gets in is not seen before
		if (refused == nil && !letsIn(text, stranger)) || !has(finding.Security) {
			t.Fatalf("%s\nbecame\n%s\nwhich lets in %s; left: %+v", text, fixed.Text, stranger, fixed.Left)
		}
	}
}

// TestFixAgrees holds --fix to the engine, over documents with several mistakes.
func TestFixAgrees(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // a test's own sequence
	for range 400 {
		data := make([]byte, 24)
		for i := range data {
			data[i] = byte(random.IntN(256))
		}
		fixAgrees(t, slipped(&data))
	}
	// An edit that opens and the one that closes are made together: a third between
	// them would start from an open document.
	fixAgrees(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":`+
		`"arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/D539D538"},`+
		`"Action":"sts:AssumeRole","Condition":{"StringEquals":{`+
		`"oidc.eks.eu-central-1.amazonaws.com/id/D539D538:sub":"system:serviceaccount:default:*"},`+
		`"StringEqualsIfExists":{"`+fixIssuer+`:aud":"sts.amazonaws.com"}}}]}`)
}

// FuzzFixAgrees is the same for as long as it may take.
func FuzzFixAgrees(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03"))
	f.Fuzz(func(t *testing.T, data []byte) { fixAgrees(t, slipped(&data)) })
}

// TestFixClusterAgrees: what --fix makes of a document for EKS Pod Identity lets the
// cluster's pods in, and nobody else's.
func TestFixClusterAgrees(t *testing.T) {
	t.Parallel()
	options := policy.LintOptions{Account: roleAccount, Role: &policy.RoleFacts{Clusters: []string{fixCluster}}}
	for _, condition := range []string{
		`"ArnLike":{"aws:SourceArn":"arn:aws:eks:eu-central-1:111122223333:podidentityassociation/prod/*"}`,
		`"ArnEquals":{"aws:SourceArn":"arn:aws:eks:eu-central-1:111122223333:cluster/dev"}`,
		`"StringEquals":{"aws:SourceAccount":"444455556666"}`,
		`"StringEqualsIfExists":{"aws:SourceAccount":"111122223333"}`,
		`"StringEquals":{"aws:PrincipalTag/eks-cluster-name":"prod","aws:SourceAccount":"111122223333"}`,
		`"Null":{"aws:SourceArn":"true"}`,
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},` +
			`"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{` + condition + `}}]}`
		fixed := trust.Fix("p", []byte(text), options)
		ask := func(cluster, account string) bool {
			p, err := policy.Parse(policy.Trust, "p", []byte(fixed.Text))
			if err != nil {
				t.Fatal(err)
			}
			c := policy.NewContext().Set("aws:RequestTag/eks-cluster-name", "prod").Set("sts:RoleSessionName", "x1")
			if cluster != "" {
				c.Set("aws:SourceArn", cluster).Set("aws:SourceAccount", account)
			}
			d, _ := policy.DecideAll(&policy.Request{
				Principal: policy.Principal{Kind: policy.Service, ARN: "pods.eks.amazonaws.com"}, Context: c,
				Resource: "arn:aws:iam::111122223333:role/r", ResourceAccount: roleAccount,
			}, []string{"sts:AssumeRole", "sts:TagSession"}, &policy.Policies{Trust: p})
			return d.Effect == policy.Allowed
		}
		if !ask(fixCluster, roleAccount) {
			t.Errorf("%s became %s, which keeps the cluster out; left: %+v", text, fixed.Text, fixed.Left)
		}
		strangers := ask("", "") || ask("arn:aws:eks:eu-central-1:999988887777:cluster/prod", "999988887777")
		saysSo := slices.ContainsFunc(fixed.Left, func(f finding.Finding) bool { return f.Severity == finding.Security })
		if strangers && !saysSo {
			t.Errorf("%s became %s, which lets strangers in", text, fixed.Text)
		}
	}
}
