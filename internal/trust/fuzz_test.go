package trust_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/trust"
)

// FuzzGenerate: whatever is asked for, a document that is given is one that IAM
// reads, within the quota, without white space and without findings; and a defect
// of ours is never the answer.
func FuzzGenerate(f *testing.F) {
	f.Add(
		"app/api jobs/*", "https://oidc.example/a1 s3.eu-west-1.amazonaws.com/b/c1", "sts.amazonaws.com", prod,
		"arn:aws:iam::111122223333:role/broker", uint8(0), false,
	)
	f.Add("*/*", "https://oidc.example", "", "", "", uint8(255), true)
	f.Add(
		strings.Repeat("a/b ", 3)+strings.Repeat("team-a/x?* ", 40),
		`https://h.example/"`,
		`"`,
		prod+"?",
		"arn:aws:iam::1:role/*",
		uint8(7),
		true,
	)
	f.Add("a/b", "https://oidc.eu-west-1.eks.amazonaws.com/A1", "sts.amazon.com", "", "", uint8(0), false)
	f.Fuzz(func(t *testing.T, list, issuers, audience, cluster, role string, forms uint8, wildcards bool) {
		request := trust.Request{
			Account:       roleAccount,
			Audience:      audience,
			Tagged:        forms&1 > 0,
			AllowWildcard: wildcards,
			Issuers:       strings.Fields(issuers),
		}
		for text := range strings.FieldsSeq(list) {
			if one, err := trust.ParseServiceAccount(text); err == nil && len(request.ServiceAccounts) < 100 {
				request.ServiceAccounts = append(request.ServiceAccounts, one)
			}
		}
		if forms&2 > 0 {
			request.EKSClusters = []string{cluster}
		}
		if forms&4 > 0 {
			request.Broker = &trust.Broker{RoleARN: role, ClusterARN: cluster}
		}
		if forms&8 > 0 {
			request.Target = &trust.Target{SourceRoleARN: role, ClusterARN: cluster}
		}
		result, err := trust.Generate(request)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		for _, one := range result.Documents {
			if _, err := policy.Parse(policy.Trust, "p", []byte(one.Text)); err != nil {
				t.Fatal(err)
			}
			if one.Size > result.Quota || one.Size != len(one.Text) {
				t.Fatalf("%d characters in %d bytes, quota %d", one.Size, len(one.Text), result.Quota)
			}
			if !wildcards {
				for _, f := range policy.Lint(
					policy.Trust, "p", []byte(one.Text), policy.LintOptions{Account: roleAccount},
				) {
					if f.Severity != finding.Warning && f.Rule != "third-party-without-external-id" &&
						f.Rule != "aud-slip" {
						t.Fatalf("%+v in %s", f, one.Text)
					}
				}
			}
		}
	})
}

// FuzzMerge: what is not ours stays byte for byte and in its order, what is comes
// out as asked for; a document that IAM refuses is refused.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(foreign))
	f.Add([]byte(`{"Statement": {"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}}`))
	f.Add(
		[]byte(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
				`"Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/oidc.example/a1"},` +
				`"Action":"sts:*"} , {"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`,
		),
	)
	provider := arn.OIDCProvider("aws", roleAccount, "oidc.example/a1").String()
	f.Fuzz(func(t *testing.T, present []byte) {
		request := trust.Request{
			Account:         roleAccount,
			Issuers:         []string{"https://oidc.example/a1"},
			Present:         present,
			Quota:           trust.LargestQuota,
			ServiceAccounts: []trust.ServiceAccount{{Namespace: "app", Name: "api"}, {Namespace: "jobs", Name: "*"}},
		}
		before, parseErr := policy.Parse(policy.Trust, "p", present)
		result, err := trust.Generate(request)
		if parseErr != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%v, although %v", err, parseErr)
			}
			return
		}
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		text := result.Documents[0].Text
		after, err := policy.Parse(policy.Trust, "p", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		isOurs := func(s policy.Statement) bool {
			return s.Allow && len(s.Principals) == 1 && s.Principals[0].Name == provider
		}
		kept := func(p *policy.Policy) (texts []string, ours int) {
			statements, _ := p.Statements()
			for _, s := range statements {
				if isOurs(s) {
					ours++
					continue
				}
				texts = append(texts, p.Text()[s.Start:s.End])
			}
			return texts, ours
		}
		foreignBefore, _ := kept(before)
		foreignAfter, ours := kept(after)
		if strings.Join(foreignBefore, "\x00") != strings.Join(foreignAfter, "\x00") || ours != 2 {
			t.Fatalf("%s\nbecame\n%s", present, text)
		}
	})
}

// FuzzFix: a document that IAM reads stays one, and what was fixed once has
// nothing left to fix.
func FuzzFix(f *testing.F) {
	f.Add([]byte(foreign))
	for _, row := range generateRows {
		f.Add([]byte(strings.ReplaceAll(row.want[0], "'", `"`)))
	}
	f.Add(
		[]byte(
			`{"Version":"2012–10–17","Statement":{"Effect":"allow",` +
				`"Principal":{"AWS":"arn:aws:iam::1:oidc-provider/oidc.example/a1/"},"Action":"sts:AssumeRole",` +
				`"Condition":{"StringEquals":{"https://oidc.example/a1:sub":"service-account:a/b*"},` +
				`"oidc.example/a1:aud":"sts.amazon.com"}}}`,
		),
	)
	options := policy.LintOptions{Account: roleAccount, Role: &policy.RoleFacts{
		Partition: "aws",
		Issuers:   []string{"oidc.example/a1"},
		Audience:  "sts.amazonaws.com",
		Subjects:  []string{"system:serviceaccount:app:api"},
		Tagged:    true,
	}}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, before := policy.Parse(policy.Trust, "p", text)
		fixed := trust.Fix("p", text, options)
		if _, after := policy.Parse(policy.Trust, "p", []byte(fixed.Text)); before == nil && after != nil {
			t.Fatalf("%s\nbecame\n%s: %v", text, fixed.Text, after)
		}
		again := trust.Fix("p", []byte(fixed.Text), options)
		if again.Text != fixed.Text && len(fixed.Applied) < 100 {
			t.Fatalf("%s\nbecame\n%s\nand then\n%s", text, fixed.Text, again.Text)
		}
	})
}
