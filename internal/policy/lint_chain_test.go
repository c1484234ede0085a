package policy_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// TestLintChain: whether a role of pods may go on to another one, with the tags that
// go on with its sessions.
func TestLintChain(t *testing.T) {
	t.Parallel()
	const pod = "arn:aws:iam::111122223333:role/team/pod"
	statement := func(principal, action, more string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":` + action + more + `}`
	}
	document := func(statements string) string { return `{"Version":"2012-10-17","Statement":[` + statements + `]}` }
	for _, row := range []struct {
		name, statements, rule, fixed string
	}{
		{name: "both allowed", statements: statement(pod, `["sts:AssumeRole","sts:TagSession"]`, "")},
		{name: "both by a wildcard", statements: statement(pod, `"sts:*"`, "")},
		{name: "by the account", statements: statement("111122223333", `["sts:AssumeRole","sts:TagSession"]`, "")},
		{
			name: "in two statements", statements: statement(pod, `"sts:AssumeRole"`, "") + "," +
				statement(pod, `"sts:TagSession"`, ""),
		},
		{
			name: "without tags", statements: statement(pod, `"sts:AssumeRole"`, ""), rule: "source-without-tag-session",
			fixed: statement(pod, `["sts:AssumeRole", "sts:TagSession"]`, ""),
		},
		{
			name: "the account without tags", statements: statement("111122223333", `["sts:AssumeRole"]`, ""),
			rule: "source-without-tag-session", fixed: statement("111122223333", `["sts:AssumeRole", "sts:TagSession"]`, ""),
		},
		{
			name: "tags of another namespace only",
			statements: statement(pod, `["sts:AssumeRole","sts:TagSession"]`,
				`,"Condition":{"StringEquals":{"aws:PrincipalTag/kubernetes-namespace":"elsewhere"}}`),
			rule: "source-refused",
		},
		{
			name: "tags denied", statements: statement(pod, `["sts:AssumeRole","sts:TagSession"]`, "") +
				`,{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sts:TagSession"}`,
			rule: "source-without-tag-session",
		},
		{name: "somebody else", statements: statement(pod+"s", `"sts:AssumeRole"`, ""), rule: "source-refused"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text := document(row.statements)
			options := policy.LintOptions{
				Account: "111122223333", Role: &policy.RoleFacts{Sources: []string{pod}},
			}
			rules, fixed := "", ""
			for _, f := range policy.Lint(policy.Trust, "trust.json", []byte(text), options) {
				if f.Rule != "source-refused" && f.Rule != "source-without-tag-session" {
					continue
				}
				rules += f.Rule
				if f.Suggested != nil {
					fixed = f.Suggested.Edit.Apply(text)
				}
			}
			if want := row.fixed; rules != row.rule || want != "" && fixed != document(want) || want == "" && fixed != "" {
				t.Errorf("%q, want %q; fixed %s", rules, row.rule, fixed)
			}
		})
	}
}

// TestLintTarget: a role for an association's target is sound with the external id that the
// association sends, and nothing of EKS Pod Identity itself is missing in it.
func TestLintTarget(t *testing.T) {
	t.Parallel()
	const (
		cluster = "arn:aws:eks:eu-west-1:444455556666:cluster/prod"
		source  = "arn:aws:iam::444455556666:role/src"
	)
	for id, want := range map[string]string{
		"eu-west-1/444455556666/prod/shop/cart": "", "eu-west-1/444455556666/prod/shop/other": "source-refused",
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + source + `"},` +
			`"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"sts:ExternalId":"` + id + `"}}}]}`
		rules := ""
		for _, f := range policy.Lint(policy.Trust, "trust.json", []byte(text), policy.LintOptions{
			Account: "111122223333", Role: &policy.RoleFacts{
				Sources: []string{source}, Clusters: []string{cluster}, Subjects: []string{"system:serviceaccount:shop:cart"},
			},
		}) {
			if f.Severity == finding.Error {
				rules += f.Rule
			}
		}
		if rules != want {
			t.Errorf("%s: %q, want %q", id, rules, want)
		}
	}
}
