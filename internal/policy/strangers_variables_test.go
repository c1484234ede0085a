package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// TestStrangersOfUnsaidAccounts: of which account a role is need not be said, and what its
// document says of it may be so.
func TestStrangersOfUnsaidAccounts(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]bool{
		`"StringEquals":{"aws:ResourceAccount":"111122223333"}`:                                                         true,
		`"StringLike":{"aws:ResourceAccount":"1*"}`:                                                                     true,
		`"StringEquals":{"aws:ResourceAccount":"111122223333","aws:PrincipalAccount":"111122223333"}`:                   false,
		`"StringEquals":{"aws:PrincipalAccount":"${aws:ResourceAccount}"}`:                                              false,
		`"StringLike":{"aws:ResourceAccount":"7777*"},"StringEquals":{"aws:PrincipalAccount":"${aws:ResourceAccount}"}`: false,
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole",` +
			`"Condition":{` + condition + `}}]}`
		findings := policy.Lint(policy.Trust, "p", []byte(text), policy.LintOptions{})
		open := slices.ContainsFunc(findings, func(f finding.Finding) bool { return policy.LetsStrangersIn(f.Rule) })
		nobody := slices.ContainsFunc(findings, func(f finding.Finding) bool { return f.Rule == "admits-nobody" })
		if open != want || nobody {
			t.Errorf("%s: %+v", condition, findings)
		}
	}
}

// TestGoogleAudiences: of a token of Google's its maker says for whom it is.
func TestGoogleAudiences(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string]bool{
		`"ForAnyValue:StringEquals":{"accounts.google.com:oaud":"sts.amazonaws.com"}`:                                          true,
		`"StringEquals":{"accounts.google.com:sub":"1234567890"},"ForAnyValue:StringEquals":{"accounts.google.com:oaud":"us"}`: false,
		`"StringEquals":{"accounts.google.com:aud":"1.apps.googleusercontent.com"}`:                                            false,
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},` +
			`"Action":"sts:AssumeRoleWithWebIdentity","Condition":{` + condition + `}}]}`
		findings := policy.Lint(policy.Trust, "p", []byte(text), policy.LintOptions{Account: "111122223333"})
		if slices.ContainsFunc(findings, func(f finding.Finding) bool { return policy.LetsStrangersIn(f.Rule) }) != want {
			t.Errorf("%s: %+v", condition, findings)
		}
	}
}

// TestStrangersChooseVariables: conditions that compare what a stranger chooses, or is, with
// something else that he chooses or is, let him in. Each document is asked of the engine, too.
func TestStrangersChooseVariables(t *testing.T) {
	t.Parallel()
	const (
		anybody = `{"AWS":"*"}`
		pods    = `{"Service":"pods.eks.amazonaws.com"}`
		account = "777788889999"
		cluster = "arn:aws:eks:eu-central-1:" + account + ":cluster/prod"
	)
	role := policy.Principal{
		Kind: policy.RoleSession, Account: account, RoleARN: "arn:aws:iam::" + account + ":role/app",
		ARN:  "arn:aws:sts::" + account + ":assumed-role/app/o-stranger",
		Tags: map[string]string{"org": "o-stranger", "account": account},
	}
	service := policy.Principal{Kind: policy.Service, ARN: "pods.eks.amazonaws.com"}
	byRole := policy.NewContext().Set("aws:PrincipalOrgID", "o-stranger").Set("sts:RoleSessionName", "o-stranger").
		Set("sts:ExternalId", "o-stranger").Set("sts:SourceIdentity", "o-stranger").Set("aws:UserAgent", "o-stranger").
		Set("aws:RequestTag/org", "o-stranger")
	byService := policy.NewContext().Set("aws:SourceArn", cluster).Set("aws:SourceAccount", account).
		Set("aws:RequestTag/eks-cluster-arn", cluster).Set("aws:RequestTag/kubernetes-namespace", account).
		SetMulti("aws:PrincipalServiceNamesList", []string{"pods.eks.amazonaws.com"})
	for _, c := range []struct{ principal, condition string }{
		{anybody, `"StringEquals":{"aws:PrincipalOrgID":"${aws:PrincipalTag/org}"}`},
		{anybody, `"StringEquals":{"aws:PrincipalOrgID":"${aws:RequestTag/org}"}`},
		{anybody, `"StringEquals":{"aws:PrincipalOrgID":"${sts:ExternalId}"}`},
		{anybody, `"StringEquals":{"aws:PrincipalOrgID":"${sts:RoleSessionName}"}`},
		{anybody, `"StringEquals":{"aws:PrincipalOrgID":"${sts:SourceIdentity}"}`},
		{anybody, `"StringEquals":{"aws:PrincipalOrgID":"${aws:UserAgent}"}`},
		{anybody, `"StringLike":{"aws:PrincipalOrgID":"${aws:PrincipalTag/org, 'o-x*'}"}`},
		{anybody, `"StringEquals":{"aws:PrincipalAccount":"${aws:PrincipalTag/account}"}`},
		{anybody, `"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::${aws:PrincipalTag/account}:role/app"}`},
		{anybody, `"StringLike":{"aws:PrincipalArn":"arn:aws:iam::${aws:PrincipalAccount}:role/app"}`},
		{anybody, `"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::${aws:PrincipalAccount}:role/app"}`},
		{anybody, `"NumericGreaterThan":{"aws:PrincipalAccount":"700000000000"}`},
		{anybody, `"StringEquals":{"aws:PrincipalServiceName":"pods.eks.amazonaws.com"}`},
		{anybody, `"ForAnyValue:StringEquals":{"aws:PrincipalServiceNamesList":"pods.eks.amazonaws.com"}`},
		{pods, `"StringEquals":{"aws:RequestTag/eks-cluster-arn":"${aws:SourceArn}"}`},
		{pods, `"StringEquals":{"aws:SourceArn":"${aws:RequestTag/eks-cluster-arn}"}`},
		{pods, `"StringEquals":{"aws:SourceAccount":"${aws:RequestTag/kubernetes-namespace}"}`},
		{pods, `"ArnLike":{"aws:SourceArn":"arn:aws:eks:*:${aws:RequestTag/kubernetes-namespace}:cluster/*"}`},
	} {
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":%s,"Condition":{%s},`+
			`"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}]}`, c.principal, c.condition)
		document, err := policy.Parse(policy.Trust, "p", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", c.condition, err)
		}
		all, err := policy.Parse(policy.Identity, "all",
			[]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		admitted := false
		for _, by := range []struct {
			principal policy.Principal
			context   *policy.Context
		}{{role, byRole}, {service, byService}} {
			policies := &policy.Policies{Trust: document}
			if by.principal.Kind == policy.RoleSession {
				policies.Identity = []*policy.Policy{all}
			}
			request := &policy.Request{
				Principal: by.principal, Action: "sts:AssumeRole", Resource: "arn:aws:iam::111122223333:role/r",
				ResourceAccount: "111122223333", Context: by.context,
			}
			decision, _ := policy.DecideAll(request, []string{"sts:AssumeRole"}, policies)
			admitted = admitted || decision.Effect == policy.Allowed
		}
		if !admitted {
			t.Errorf("%s: the engine lets no stranger in", c.condition)
		}
		findings := policy.Lint(policy.Trust, "p", []byte(text), policy.LintOptions{Account: "111122223333"})
		if !slices.ContainsFunc(findings, func(f finding.Finding) bool { return policy.LetsStrangersIn(f.Rule) }) {
			t.Errorf("%s: lint says of strangers nothing, but %+v", c.condition, findings)
		}
		for _, f := range findings {
			if strings.HasPrefix(f.Rule, "admits-nobody") {
				t.Errorf("%s: lint says that nobody gets in", c.condition)
			}
		}
	}
}
