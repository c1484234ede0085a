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
		`{"Federated":"arn:aws:iam::444455556666:oidc-provider/`+fixIssuer+`"}`,
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

const (
	fixSAML   = "arn:aws:iam::111122223333:saml-provider/ours"
	fixSignIn = "https://signin.aws.amazon.com/saml"
)

// slippedSAML is a trust policy for a SAML provider with some of the mistakes that people
// make; the first of each choice is right.
func slippedSAML(data *[]byte) string {
	provider := choice(data, fixSAML, fixSAML, fixSAML, "arn:aws:iam::444455556666:saml-provider/ours")
	principal := choice(data, `{"Federated":"`+provider+`"}`, `{"Federated":"`+provider+`"}`, `{"Federated":["`+provider+`"]}`)
	action := choice(data, `"sts:AssumeRoleWithSAML"`, `"sts:AssumeRoleWithSAML"`, `["sts:AssumeRoleWithSAML","sts:TagSession"]`,
		`"sts:AssumeRole"`, `"sts:AssumeRoleWithWebIdentity"`, `"sts:*"`)
	operators := []string{
		"StringEquals", "StringEquals", "StringLike", "StringEqualsIfExists", "StringLikeIfExists", "ForAllValues:StringEquals",
		"ForAnyValue:StringLike", "StringNotEquals", "StringEqualsIgnoreCase", "Null",
	}
	values := []string{
		fixSignIn, fixSignIn, fixSignIn + "/", "http://signin.aws.amazon.com/saml", "*", "https://*", "https://sso.example.com/acs",
		"urn:amazon:webservices", "https://signin.aws.amazon.com*", "https://*.signin.aws.amazon.com/saml", "${saml:aud}",
		"https://signin.amazonaws.cn/saml", "false",
	}
	var conditions []string
	seen := map[string]bool{}
	for range len(choice(data, "x", "x", "xx", "xxx", "")) {
		operator := choice(data, operators...)
		key := choice(data, "SAML:aud", "SAML:aud", "saml:aud", "SAML:sub", "SAML:sub_type", "SAML:iss", "sts:RoleSessionName")
		value := fmt.Sprintf("%q", choice(data, values...))
		if choice(data, "one", "one", "two") == "two" {
			value = fmt.Sprintf("[%s,%q]", value, choice(data, values...))
		}
		if !strings.EqualFold(key, "SAML:aud") { // what alice meets
			if value = `"alice"`; strings.Contains(operator, "Not") {
				value = `"mallory"`
			} else if strings.Contains(operator, "Like") {
				value = choice(data, value, `"*"`)
			}
		}
		if operator == "Null" {
			value = `"false"`
		}
		if !seen[operator] {
			conditions = append(conditions, fmt.Sprintf("%q:{%q:%s}", operator, key, value))
		}
		seen[operator] = true
	}
	condition := ""
	if len(conditions) > 0 || choice(data, "none", "empty") == "empty" {
		condition = `,"Condition":{` + strings.Join(conditions, ",") + `}`
	}
	statement := fmt.Sprintf(`{"Effect":"Allow","Principal":%s,"Action":%s%s}`, principal, action, condition)
	if choice(data, "", "", "deny") == "deny" {
		statement += `,{"Effect":"Deny","Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithSAML",` +
			`"Condition":{` + fmt.Sprintf("%q:{%q:%q}", choice(data, "StringNotEquals", "StringEquals", "StringNotLike"),
			"SAML:aud", choice(data, values...)) + `}}`
	}
	return `{"Version":"2012-10-17","Statement":[` + statement + `]}`
}

// letsAssertionIn asks the engine about alice's assertion for an audience.
func letsAssertionIn(text, audience string) bool {
	p, err := policy.Parse(policy.Trust, "p", []byte(text))
	if err != nil {
		return false
	}
	c := policy.NewContext().Set("SAML:sub", "alice").Set("SAML:sub_type", "alice").Set("SAML:iss", "alice").
		Set("SAML:doc", "111122223333/ours").Set("SAML:namequalifier", "x").Set("sts:RoleSessionName", "alice")
	if audience != "" {
		c.Set("SAML:aud", audience)
	}
	return policy.Decide(&policy.Request{
		Principal: policy.Principal{Kind: policy.WebIdentity, ARN: fixSAML, UserID: fixSAML, Account: roleAccount},
		Action:    "sts:AssumeRoleWithSAML", Resource: "arn:aws:iam::111122223333:role/r", Context: c,
	}, &policy.Policies{Trust: p}).Effect == policy.Allowed
}

// fixSAMLAgrees: what --fix leaves lets in a user whose assertion is for AWS, or a finding
// says why not; and no assertion for another service, or a finding says so.
func fixSAMLAgrees(t *testing.T, text string) {
	t.Helper()
	fixed := trust.Fix("p", []byte(text), policy.LintOptions{Account: roleAccount})
	has := func(wanted func(finding.Finding) bool) bool { return slices.ContainsFunc(fixed.Left, wanted) }
	bad := func(f finding.Finding) bool { return f.Severity == finding.Error || f.Severity == finding.Security }
	if !letsAssertionIn(fixed.Text, fixSignIn) && !has(bad) &&
		!letsAssertionIn(fixed.Text, "https://eu-west-1.signin.aws.amazon.com/saml") {
		t.Fatalf("%s\nbecame\n%s\nwhich keeps the provider's users out; left: %+v", text, fixed.Text, fixed.Left)
	}
	for _, audience := range []string{
		"https://sso.example.com/acs", "https://evil.example/x", "https://signin.aws.amazon.com.evil.example/saml", "",
		"https://evil.example/.signin.aws.amazon.com/saml",
	} {
		if !letsAssertionIn(fixed.Text, audience) {
			continue
		}
		_, refused := policy.Parse(policy.Trust, "p", []byte(text))
		if (refused == nil && !letsAssertionIn(text, audience)) ||
			!has(func(f finding.Finding) bool { return policy.LetsStrangersIn(f.Rule) }) {
			t.Fatalf("%s\nbecame\n%s\nwhich lets in an assertion for %q; left: %+v", text, fixed.Text, audience, fixed.Left)
		}
	}
}

// TestFixSAMLAgrees holds --fix to the engine, over documents for a SAML provider.
func TestFixSAMLAgrees(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8)) //nolint:gosec // a test's own sequence
	for range 600 {
		data := make([]byte, 32)
		for i := range data {
			data[i] = byte(random.IntN(256))
		}
		fixSAMLAgrees(t, slippedSAML(&data))
	}
	// What is open at first is closed, and not only reported.
	for _, conditions := range []string{
		``, `,"Condition":{}`, `,"Condition":{"StringLike":{"SAML:aud":"*"}}`, `,"Condition":{"Null":{"saml:aud":"false"}}`,
		`,"Condition":{"StringEqualsIfExists":{"SAML:aud":"` + fixSignIn + `"}}`,
		`,"Condition":{"ForAllValues:StringLike":{"SAML:aud":"*"}}`,
		`,"Condition":{"StringNotEquals":{"SAML:aud":"https://sso.example.com/acs"}}`,
		`,"Condition":{"StringEquals":{"SAML:aud":["https://sso.example.com/acs","` + fixSignIn + `"],"SAML:sub":"alice"}}`,
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + fixSAML +
			`"},"Action":"sts:AssumeRoleWithSAML"` + conditions + `}]}`
		fixed := trust.Fix("p", []byte(text), policy.LintOptions{Account: roleAccount})
		if !letsAssertionIn(fixed.Text, fixSignIn) || letsAssertionIn(fixed.Text, "https://sso.example.com/acs") ||
			letsAssertionIn(fixed.Text, "") || len(fixed.Left) > 0 {
			t.Errorf("%s became %s; left: %+v", text, fixed.Text, fixed.Left)
		}
	}
}

// FuzzFixSAMLAgrees is the same for as long as it may take.
func FuzzFixSAMLAgrees(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03"))
	f.Fuzz(func(t *testing.T, data []byte) { fixSAMLAgrees(t, slippedSAML(&data)) })
}

// TestFixOpensNoProvider: the provider of another account is not found, so nobody gets in by
// it; --fix names the role's own only if no stranger does then.
func TestFixOpensNoProvider(t *testing.T) {
	t.Parallel()
	slipped := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:` +
		`oidc-provider/` + fixIssuer + `/"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` +
		fixIssuer + `/:aud":"sts.amazonaws.com"}}}]}`
	if fixed := trust.Fix("p", []byte(slipped), policy.LintOptions{Account: roleAccount}); letsIn(fixed.Text, "a") {
		t.Errorf("%s became %s", slipped, fixed.Text)
	}
	for _, row := range []struct {
		provider, action, conditions string
		moved                        bool
	}{
		{"oidc-provider/" + fixIssuer, "sts:AssumeRoleWithWebIdentity", `"StringEquals":{"` + fixIssuer + `:aud":"x"}`, false},
		{
			"oidc-provider/" + fixIssuer, "sts:AssumeRoleWithWebIdentity",
			`"StringLike":{"` + fixIssuer + `:sub":"system:serviceaccount:*:cart"}`, false,
		},
		{
			"oidc-provider/" + fixIssuer, "sts:AssumeRoleWithWebIdentity",
			`"StringEquals":{"` + fixIssuer + `:sub":"` + fixSubject + `"}`, true,
		},
		{"oidc-provider/gitlab.com", "sts:AssumeRoleWithWebIdentity", `"StringLike":{"gitlab.com:sub":"project_path:*"}`, false},
		{"oidc-provider/gitlab.com", "sts:AssumeRoleWithWebIdentity", `"StringLike":{"gitlab.com:sub":"project_path:a/b:*"}`, true},
		{"saml-provider/ours", "sts:AssumeRoleWithSAML", `"StringNotEquals":{"SAML:aud":"` + fixSignIn + `"}`, false},
		{"saml-provider/ours", "sts:AssumeRoleWithSAML", `"StringLike":{"SAML:aud":"*"}`, true}, // it is closed first
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::444455556666:` +
			row.provider + `"},"Action":"` + row.action + `","Condition":{` + row.conditions + `}}]}`
		fixed := trust.Fix("p", []byte(text), policy.LintOptions{Account: roleAccount})
		if moved := strings.Contains(fixed.Text, roleAccount+":"+row.provider); moved != row.moved {
			t.Errorf("%s became %s; left: %+v", text, fixed.Text, fixed.Left)
		}
		says := func(f finding.Finding) bool { return f.Rule == "provider-in-another-account" }
		if slices.ContainsFunc(fixed.Left, says) == row.moved {
			t.Errorf("%s became %s: it is said that the provider is another account's: %v", text, fixed.Text, !row.moved)
		}
	}
}
