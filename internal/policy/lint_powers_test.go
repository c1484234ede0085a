package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/managedpolicy"
	"github.com/rolecall/rolecall/internal/policy"
)

func does(action, resource string) string {
	return allow(`'Action':` + action + `,'Resource':` + resource)
}

func publicly(condition string) string {
	return allow(`'Principal':{'AWS':'*'},'Action':'s3:GetObject','Resource':'arn:aws:s3:::b/*','Condition':{` + condition + `}`)
}

const secretARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:"

// powerRows are what policies of identities and resources say in vain, or too much.
var powerRows = []lintRow{
	{
		name: "a bucket's action on objects", text: does(`'s3:ListBucket'`, `'arn:aws:s3:::b/*'`),
		want: []string{"error action-on-wrong-resource"}, fixed: does(`'s3:ListBucket'`, `['arn:aws:s3:::b/*', 'arn:aws:s3:::b']`),
	},
	{
		name: "an object's action on a bucket", text: does(`['s3:GetObject','s3:PutObject']`, `'arn:aws:s3:::b'`),
		want:  []string{"error action-on-wrong-resource", "error action-on-wrong-resource"},
		fixed: does(`['s3:GetObject','s3:PutObject']`, `['arn:aws:s3:::b', 'arn:aws:s3:::b/*']`),
	},
	{name: "both", text: does(`['s3:ListBucket','s3:GetObject']`, `['arn:aws:s3:::b','arn:aws:s3:::b/*']`)},
	{name: "a wildcard that reaches both", text: does(`['s3:ListBucket','s3:GetObject']`, `'arn:aws:s3:::b*'`)},
	{name: "all buckets", text: does(`'s3:ListAllMyBuckets'`, `'arn:aws:s3:::*'`)},
	{
		name: "all buckets, of one", text: does(`'s3:ListAllMyBuckets'`, `'arn:aws:s3:::b'`),
		want: []string{"error action-on-wrong-resource"},
	},
	{name: "an access point", text: does(`'s3:GetObject'`, `'arn:aws:s3:eu-west-1:111122223333:accesspoint/a/object/*'`)},
	{name: "a variable", text: does(`'s3:GetObject'`, `'arn:aws:s3:::b/${aws:username}/*'`)},
	{
		name: "a key's alias", text: does(`'kms:Decrypt'`, `'arn:aws:kms:eu-west-1:111122223333:alias/a'`),
		want: []string{"error action-on-wrong-resource"},
	},
	{name: "an alias's action", text: does(`'kms:CreateAlias'`, `'arn:aws:kms:eu-west-1:111122223333:alias/a'`)},
	{name: "a key", text: does(`'kms:Decrypt'`, `'arn:aws:kms:*:111122223333:key/*'`)},
	{
		name: "a role's action on users", text: does(`'iam:GetRole'`, `'arn:aws:iam::111122223333:user/*'`),
		want: []string{"error action-on-wrong-resource"},
	},
	{
		name: "a secret without its end", text: does(`'secretsmanager:GetSecretValue'`, `'`+secretARN+`db'`),
		want: []string{"error secret-without-suffix"}, fixed: does(`'secretsmanager:GetSecretValue'`, `'`+secretARN+`db-??????'`),
	},
	{name: "a secret with its end", text: does(`'secretsmanager:GetSecretValue'`, `'`+secretARN+`db-AbCd12'`)},
	{name: "a secret with an open end", text: does(`'secretsmanager:GetSecretValue'`, `'`+secretARN+`db*'`)},
	{
		name: "several objects", text: does(`'s3:GetObjects'`, `'arn:aws:s3:::b/*'`), want: []string{"warning unknown-action"},
		fixed: does(`'s3:GetObject'`, `'arn:aws:s3:::b/*'`),
	},
	{
		name: "an operation", text: does(`'s3:ListObjectsV2'`, `'arn:aws:s3:::b'`), want: []string{"warning unknown-action"},
		fixed: does(`'s3:ListBucket'`, `'arn:aws:s3:::b'`),
	},
	{
		name: "no action of a service", text: does(`'kms:Read*'`, `'arn:aws:kms:eu-west-1:111122223333:key/*'`),
		want: []string{"warning unknown-action"},
	},
	{name: "everything", text: does(`'*'`, `'*'`), want: []string{"security allow-everything"}},
	{name: "everything of a service", text: does(`'ec2:*'`, `'*'`)},
	{
		name: "a variable that does not exist", text: does(`'s3:GetObject'`, `'arn:aws:s3:::b/${aws:usrname}/*'`),
		want: []string{"error unknown-variable"}, fixed: does(`'s3:GetObject'`, `'arn:aws:s3:::b/${aws:username}/*'`),
	},
	{
		name: "MFA if it exists", text: condition(`'BoolIfExists':{'aws:MultiFactorAuthPresent':'true'}`),
		want:  []string{"security mfa-if-exists"},
		fixed: condition(`'Bool':{'aws:MultiFactorAuthPresent':'true'}`),
	},
	{
		name: "MFA as text if it exists", text: condition(`'StringEqualsIfExists':{'aws:MultiFactorAuthPresent':'true'}`),
		want:  []string{"security mfa-if-exists"},
		fixed: condition(`'Bool':{'aws:MultiFactorAuthPresent':'true'}`),
	},
	{
		name: "MFA not absent", text: condition(`'StringNotEquals':{'aws:MultiFactorAuthPresent':'false'}`),
		want: []string{"security mfa-if-exists"},
	},
	{name: "MFA", text: condition(`'StringEquals':{'aws:MultiFactorAuthPresent':'true'}`)},
	{
		name: "a variable of a tag that does not exist",
		text: does(`'s3:GetObject'`, `'arn:aws:s3:::b/${aws:PrincipalTags/Team/a}/*'`),
		want: []string{"error unknown-variable"}, fixed: does(`'s3:GetObject'`, `'arn:aws:s3:::b/${aws:PrincipalTag/Team/a}/*'`),
	},
	{name: "a variable of a tag", text: does(`'s3:GetObject'`, `'arn:aws:s3:::b/${AWS:principalTag/Team}/*'`)},
	{
		name: "a tag's key that does not exist", text: condition(`'StringEquals':{'aws:ResourcesTag/Team':'red'}`),
		want: []string{"warning unknown-key"}, fixed: condition(`'StringEquals':{'aws:ResourceTag/Team':'red'}`),
	},
	{
		name: "no tag's key", text: condition(`'StringEquals':{'aws:OwnersTag/Team':'red'}`),
		want: []string{"warning unknown-key"},
	},
	{name: "a key that does not exist", text: condition(`'StringEquals':{'aws:PrincipalOrgIDs':'o-1'}`), want: []string{
		"warning unknown-key",
	}, fixed: condition(`'StringEquals':{'aws:PrincipalOrgID':'o-1'}`)},
	{name: "a user's own keys", text: does(`'iam:CreateAccessKey'`, `'arn:aws:iam::*:user/${aws:username}'`)},
	{
		name: "a user's own policies", text: does(`'iam:AttachUserPolicy'`, `'arn:aws:iam::*:user/${aws:username}'`),
		want: []string{"security privilege-escalation"},
	},
	{name: "one role's policy", text: does(`'iam:PutRolePolicy'`, `'arn:aws:iam::111122223333:role/app'`)},
	{
		name: "chosen policies", text: allow(`'Action':'iam:AttachRolePolicy','Resource':'*','Condition':{` +
			`'ArnEquals':{'iam:PolicyARN':'arn:aws:iam::aws:policy/ReadOnlyAccess'}}`),
	},
	{
		name: "a parameter without its slash", text: does(`'ssm:GetParameter'`, `'arn:aws:ssm:eu-west-1:111122223333:parameterx'`),
		want: []string{"error action-on-wrong-resource"},
	},
	{
		name: "records of a change", text: does(`'route53:ChangeResourceRecordSets'`, `'arn:aws:route53:::change/*'`),
		want: []string{"error action-on-wrong-resource"},
	},
	{name: "an item", text: does(`'dynamodb:GetItem'`, `'arn:aws:dynamodb:eu-west-1:111122223333:table/t'`)},
	{
		name: "all but a few actions", text: allow(`'NotAction':'s3:*','Resource':'*'`),
		want: []string{"security privilege-escalation"},
	},
	{name: "all but IAM", text: allow(`'NotAction':['iam:*','organizations:*'],'Resource':'*'`)},
	{name: "one role", text: does(`'sts:AssumeRole'`, `'arn:aws:iam::111122223333:role/app'`)},
	{
		name: "a public bucket", kind: policy.Resource, want: []string{"security public-resource"},
		text: allow(`'Principal':'*','Action':'s3:GetObject','Resource':'arn:aws:s3:::b/*'`),
	},
	{
		name: "a public bucket, if it exists", kind: policy.Resource, want: []string{"security public-resource"},
		text:  publicly(`'StringEqualsIfExists':{'aws:PrincipalOrgID':'o-abcde12345'}`),
		fixed: publicly(`'StringEquals':{'aws:PrincipalOrgID':'o-abcde12345'}`),
	},
	{
		name: "a bucket for an address", kind: policy.Resource, want: []string{"warning public-resource"},
		text: publicly(`'IpAddress':{'aws:SourceIp':'203.0.113.0/24'}`),
	},
	{
		name: "a bucket for an organization", kind: policy.Resource,
		text: publicly(`'StringEquals':{'aws:PrincipalOrgID':'o-abcde12345'}`),
	},
	{
		name: "a bucket for a VPC endpoint", kind: policy.Resource,
		text: publicly(`'StringEquals':{'aws:SourceVpce':'vpce-0123'}`),
	},
	{
		name: "a key for the callers of an account", kind: policy.Resource,
		text: allow(`'Principal':{'AWS':'*'},'Action':'kms:Decrypt','Resource':'*','Condition':{` +
			`'StringEquals':{'kms:CallerAccount':'111122223333','kms:ViaService':'s3.eu-west-1.amazonaws.com'}}`),
	},
}

// TestLintPowers: what a policy of an identity or a resource says in vain, or too much.
func TestLintPowers(t *testing.T) {
	t.Parallel()
	rows := powerRows
	for _, action := range []string{
		"iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:AttachUserPolicy", "iam:AttachGroupPolicy",
		"iam:AttachRolePolicy", "iam:PutUserPolicy", "iam:PutGroupPolicy", "iam:PutRolePolicy", "iam:AddUserToGroup",
		"iam:UpdateAssumeRolePolicy", "iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:UpdateLoginProfile", "iam:Put*",
	} {
		want := []string{"security privilege-escalation"}
		rows = append(rows, lintRow{name: action, text: does(`'`+action+`'`, `'*'`), want: want},
			lintRow{name: action + " of an account", text: does(`'`+action+`'`, `'arn:aws:iam::111122223333:*'`), want: want})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text := strings.ReplaceAll(row.text, "'", `"`)
			var got []string
			findings := policy.Lint(row.kind, "p", []byte(text), policy.LintOptions{})
			for _, f := range findings {
				got = append(got, string(f.Severity)+" "+f.Rule)
			}
			if !slices.Equal(got, row.want) {
				t.Fatalf("%s: %v, want %v\n%+v", text, got, row.want, findings)
			}
			if len(findings) == 0 {
				return
			}
			fix := findings[0].Suggested
			switch want := strings.ReplaceAll(row.fixed, "'", `"`); {
			case want == "" && fix == nil:
			case fix == nil || fix.Edit.Apply(text) != want:
				t.Errorf("suggests %+v, want %s", fix, want)
			}
		})
	}
}

// TestLintManaged: AWS's own policies name no action that there is not, none on a
// resource that it is not about, and no key that there is not.
func TestLintManaged(t *testing.T) {
	t.Parallel()
	count := 0
	for _, one := range managedpolicy.All() {
		count++
		for _, f := range policy.Lint(policy.Identity, one.Name, []byte(one.Document), policy.LintOptions{}) {
			if slices.Contains([]string{
				"unknown-action", "action-on-wrong-resource", "secret-without-suffix", "unknown-key", "unknown-variable",
			}, f.Rule) {
				t.Errorf("%s: %s", one.Name, f.Message)
			}
		}
	}
	if count == 0 {
		t.Error("no managed policy was looked at")
	}
}
