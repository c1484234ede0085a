package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/managedpolicy"
	"github.com/rolecall/rolecall/internal/policy"
)

// TestLintEscalation: what amounts to more than it says is found where the engine allows
// it for what nobody named, and only there.
func TestLintEscalation(t *testing.T) {
	t.Parallel()
	const account = "arn:aws:iam::111122223333:"
	allowed := func(rest string) string { return `{'Effect':'Allow',` + rest + `}` }
	denied := func(rest string) string { return `{'Effect':'Deny',` + rest + `}` }
	pass := func(resource, rest string) string { return allowed(act("iam:PassRole", resource) + rest) }
	const toLambda = `,'Condition':{'StringEquals':{'iam:PassedToService':'lambda.amazonaws.com'}}`
	for name, row := range map[string]struct {
		statements []string
		want       string // what the message has; empty for no finding
	}{
		"every policy":             {[]string{allowed(act("iam:CreatePolicyVersion", "*"))}, "rewrites a managed policy"},
		"all policies":             {[]string{allowed(act("iam:CreatePolicyVersion", account+"policy/*"))}, "rewrites"},
		"policies of a path":       {[]string{allowed(act("iam:CreatePolicyVersion", account+"policy/app/*"))}, ""},
		"one policy":               {[]string{allowed(act("iam:CreatePolicyVersion", account+"policy/a"))}, ""},
		"roles by a pattern":       {[]string{allowed(act("iam:UpdateAssumeRolePolicy", account+"role/app-*"))}, ""},
		"all roles":                {[]string{allowed(act("iam:UpdateAssumeRolePolicy", account+"role/*"))}, "trust the holder"},
		"letters do not count":     {[]string{allowed(act("IAM:attachUSERpolicy", "*"))}, "attaches any policy"},
		"his own user":             {[]string{allowed(act("iam:AttachUserPolicy", account+"user/${aws:username}"))}, "attaches"},
		"his own keys":             {[]string{allowed(act("iam:CreateAccessKey", account+"user/${aws:username}"))}, ""},
		"a group for another kind": {[]string{allowed(act("iam:PutUserPolicy", account+"group/*"))}, ""},
		"denied": {
			[]string{allowed(act("iam:*", "*")), denied(act("iam:*", "*"))}, "",
		},
		"denied but for one": {
			[]string{
				allowed(act("iam:*", "*")),
				denied(`'NotAction':['iam:Get*','iam:List*','iam:AddUserToGroup'],'Resource':'*'`),
			},
			"joins any group",
		},
		"denied without a second factor": {
			[]string{
				allowed(act("iam:PutRolePolicy", "*")),
				denied(act("*", "*") + `,'Condition':{'BoolIfExists':{'aws:MultiFactorAuthPresent':'false'}}`),
			},
			"writes any policy of a role",
		},
		"one policy to attach": {
			[]string{allowed(act("iam:AttachRolePolicy", "*") +
				`,'Condition':{'ArnEquals':{'iam:PolicyARN':'arn:aws:iam::aws:policy/ReadOnlyAccess'}}`)}, "",
		},
		"any policy but one": {
			[]string{allowed(act("iam:AttachRolePolicy", "*") +
				`,'Condition':{'ArnNotEquals':{'iam:PolicyARN':'arn:aws:iam::aws:policy/ReadOnlyAccess'}}`)}, "attaches",
		},
		"with a boundary": {
			[]string{allowed(act("iam:PutRolePolicy", "*") +
				`,'Condition':{'StringEquals':{'iam:PermissionsBoundary':'` + account + `policy/b'}}`)}, "",
		},
		"with a tag": {
			[]string{allowed(act("iam:PutRolePolicy", "*") +
				`,'Condition':{'StringEquals':{'aws:ResourceTag/team':'a'}}`)}, "",
		},
		"from an address": {
			[]string{allowed(act("iam:PutRolePolicy", "*") +
				`,'Condition':{'IpAddress':{'aws:SourceIp':'203.0.113.0/24'}}`)}, "writes any policy",
		},
		"until a day": {
			[]string{allowed(act("iam:PutRolePolicy", "*") +
				`,'Condition':{'DateLessThan':{'aws:CurrentTime':'2030-01-01T00:00:00Z'}}`)}, "writes any policy",
		},
		"all but a few":          {[]string{allowed(`'NotAction':'s3:*','Resource':'*'`)}, "rewrites"},
		"all but IAM":            {[]string{allowed(`'NotAction':['iam:*'],'Resource':'*'`)}, ""},
		"all resources but one":  {[]string{allowed(`'Action':'*','NotResource':'arn:aws:s3:::b'`)}, "rewrites"},
		"all with a condition":   {[]string{allowed(act("*", "*") + `,'Condition':{'Bool':{'aws:SecureTransport':'true'}}`)}, "rew"},
		"passes and creates":     {[]string{pass(account+"role/*", toLambda), allowed(act("lambda:CreateFunction", "*"))}, "a function"},
		"passes alone":           {[]string{pass(account+"role/*", toLambda)}, ""},
		"passes to another":      {[]string{pass(account+"role/*", toLambda), allowed(act("ec2:RunInstances", "*"))}, ""},
		"passes one":             {[]string{pass(account+"role/a", ""), allowed(act("lambda:CreateFunction", "*"))}, ""},
		"passes those of a path": {[]string{pass(account+"role/a/*", ""), allowed(act("lambda:*", "*"))}, ""},
		"passes to instances":    {[]string{pass(account+"role/*", ""), allowed(act("ec2:Run*", "*"))}, "an instance"},
		"passes half the way":    {[]string{pass(account+"role/*", ""), allowed(act("glue:CreateJob", "*"))}, ""},
		"passes all the way": {
			[]string{pass(account+"role/*", ""), allowed(act("glue:CreateJob", "*")), allowed(act("glue:StartJobRun", "*"))},
			"a job",
		},
		"passes to pods": {
			[]string{pass(account+"role/*", ""), allowed(act("eks:CreatePodIdentityAssociation", "arn:aws:eks:*:*:cluster/prod"))},
			"a pod",
		},
	} {
		got := ""
		for _, f := range policy.Lint(policy.Identity, "p", []byte(doc(row.statements...)), policy.LintOptions{}) {
			if f.Rule == "privilege-escalation" {
				got += string(f.Severity) + " " + f.Message
			}
		}
		if (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", name, got, row.want)
		}
	}
}

// TestEscalationOfAWS: of AWS's own policies that are embedded those are found that give
// everything, all of IAM, and instances with any role.
func TestEscalationOfAWS(t *testing.T) {
	t.Parallel()
	var found []string
	for _, one := range managedpolicy.All() {
		for _, f := range policy.Lint(policy.Identity, one.Name, []byte(one.Document), policy.LintOptions{Managed: true}) {
			switch f.Rule {
			case "privilege-escalation", "allow-everything", "public-resource", "mfa-if-exists", "unknown-variable", "unknown-key":
				found = append(found, one.Name+" "+f.Rule)
			}
		}
	}
	slices.Sort(found)
	want := []string{
		"AdministratorAccess allow-everything", "AmazonEKSComputePolicy privilege-escalation",
		"IAMFullAccess privilege-escalation",
	}
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}
