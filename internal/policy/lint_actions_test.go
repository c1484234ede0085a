package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/managedpolicy"
	"github.com/rolecall/rolecall/internal/policy"
)

// actionRow is a statement of an identity-based policy, without Effect, and its only
// findings.
type actionRow struct {
	statement string // ' for "
	want      []string
	says      string // what the first finding's message has
	fixed     string // what the first suggestion makes of it; empty for none
}

const (
	impossible = "error action-on-wrong-resource"
	unknown    = "warning unknown-action"
	suffix     = "error secret-without-suffix"
	sqsQueue   = "arn:aws:sqs:eu-west-1:111122223333:q"
	snsTopic   = "arn:aws:sns:eu-west-1:111122223333:t"
	kmsKey     = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	kmsAlias   = "arn:aws:kms:eu-west-1:111122223333:alias/app"
	secret     = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:"
	parameter  = "arn:aws:ssm:eu-west-1:111122223333:parameter"
	table      = "arn:aws:dynamodb:eu-west-1:111122223333:table/"
)

func act(action, resource string) string {
	return `'Action':'` + action + `','Resource':'` + resource + `'`
}

var actionRows = []actionRow{
	// an action and what it is about
	{act("s3:GetObject", "arn:aws:s3:::b/*"), nil, "", ""},
	{act("s3:GetObject", "arn:aws:s3:::*"), nil, "", ""},
	{act("s3:ListBucket", "arn:aws:s3:::b*"), nil, "", ""},
	{act("S3:listbucket", "arn:aws:s3:::b"), []string{"warning letter-case"}, "", ""},
	{act("s3:*", "arn:aws:s3:::b"), nil, "", ""},
	{act("s3:Get*", "arn:aws:s3:::b"), nil, "", ""}, // GetBucketLocation
	{act("s3:ListAllMyBuckets", "*"), nil, "", ""},
	{act("s3:ListAllMyBuckets", "arn:aws:s3:::*"), nil, "", ""},
	{act("s3:GetObject", "arn:aws:s3:eu-west-1:111122223333:accesspoint/a/object/*"), nil, "", ""},
	{act("sts:AssumeRole", "arn:aws:iam::111122223333:role/a"), nil, "", ""},
	{act("iam:ListRoles", "arn:aws:iam::111122223333:role/"), nil, "", ""},
	{act("iam:GetPolicy", "arn:aws:iam::aws:policy/*"), nil, "", ""},
	{act("ssm:GetParameter", parameter+"/a/b"), nil, "", ""},
	{act("ssm:GetParameter", "arn:aws:ssm:eu-west-1::parameter/aws/service/*"), nil, "", ""},
	{act("ssm:SendCommand", "arn:aws:ssm:*::document/AWS-RunShellScript"), nil, "", ""},
	{act("ssm:DescribeParameters", "arn:aws:ssm:eu-west-1:111122223333:*"), nil, "", ""},
	{act("dynamodb:Query", table+"t/index/*"), nil, "", ""},
	{act("logs:PutLogEvents", "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/f:*"), nil, "", ""},
	{act("logs:CreateLogGroup", "arn:aws:logs:eu-west-1:111122223333:*"), nil, "", ""},
	{act("lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:111122223333:function:f:live"), nil, "", ""},
	{act("ecr:BatchGetImage", "arn:aws:ecr:eu-west-1:111122223333:repository/team/app"), nil, "", ""},
	{act("s3:PutObject", "arn:aws:s3:::b/${aws:username}/*"), nil, "", ""},
	{act("s3:PutObject", "arn:aws:s3:::${aws:PrincipalTag/bucket}"), nil, "", ""}, // the tag may have a slash
	{act("kms:Decrypt", kmsKey), nil, "", ""},
	{act("kms:CreateAlias", kmsAlias), nil, "", ""},
	{act("kms:*", kmsAlias), nil, "", ""},
	{act("route53:GetChange", "arn:aws:route53:::change/*"), nil, "", ""},
	{act("eks:DescribeCluster", "arn:aws:eks:eu-west-1:111122223333:cluster/prod"), nil, "", ""},
	{act("glue:Anything", "arn:aws:s3:::b"), nil, "", ""}, // nothing is known of glue
	{`'Action':['s3:GetObject','s3:ListBucket'],'Resource':['arn:aws:s3:::b','arn:aws:s3:::b/*']`, nil, "", ""},
	{`'NotAction':'s3:ListBucket','Resource':'arn:aws:s3:::b/*'`, nil, "", ""},
	{`'Action':'s3:ListBucket','NotResource':'arn:aws:s3:::b/*'`, nil, "", ""},

	// an action and what it is never about
	{
		act("s3:ListBucket", "arn:aws:s3:::b/*"),
		[]string{impossible},
		"arn:aws:s3:::NAME",
		`'Action':'s3:ListBucket','Resource':['arn:aws:s3:::b/*', 'arn:aws:s3:::b']`,
	},
	{
		act("s3:GetObject", "arn:aws:s3:::b"),
		[]string{impossible},
		"arn:aws:s3:::NAME/NAME",
		`'Action':'s3:GetObject','Resource':['arn:aws:s3:::b', 'arn:aws:s3:::b/*']`,
	},
	{
		`'Action':['s3:PutObject'],'Resource':['arn:aws:s3:::b']`,
		[]string{impossible},
		"never allows it",
		`'Action':['s3:PutObject'],'Resource':['arn:aws:s3:::b', 'arn:aws:s3:::b/*']`,
	},
	{
		`'Action':['s3:GetObject','s3:ListBucket','s3:PutObject'],'Resource':'arn:aws:s3:::b'`,
		[]string{impossible, impossible},
		"s3:GetObject",
		`'Action':['s3:GetObject','s3:ListBucket','s3:PutObject'],'Resource':['arn:aws:s3:::b', 'arn:aws:s3:::b/*']`,
	},
	{act("s3:PutObject*", "arn:aws:s3:::b"), []string{impossible}, "", `'Action':'s3:PutObject*','Resource':` +
		`['arn:aws:s3:::b', 'arn:aws:s3:::b/*']`},
	{act("s3:ListAllMyBuckets", "arn:aws:s3:::b"), []string{impossible}, `only "*"`, ""},
	{act("sqs:SendMessage", snsTopic), []string{impossible}, "arn:aws:sqs:REGION:ACCOUNT:NAME", ""},
	{act("sqs:SendMessage", "arn:aws:sqs:eu-west-1:111122223333:queue/q"), []string{impossible}, "", ""},
	{act("sns:Publish", sqsQueue), []string{impossible}, "", ""},
	{act("dynamodb:GetItem", table+"t/index/i"), []string{impossible}, "", ""},
	{act("dynamodb:GetItem", "arn:aws:dynamodb:eu-west-1:111122223333:t"), []string{impossible}, "", ""},
	{act("ssm:GetParameter", parameter+"//a/b"), []string{impossible}, "", ""},
	{act("ssm:GetParameter", parameter+"a"), []string{impossible}, "", ""},
	{act("ssm:DescribeParameters", parameter+"/a/*"), []string{impossible}, `only "*"`, ""},
	{act("ecr:GetAuthorizationToken", "arn:aws:ecr:*:*:repository/*"), []string{impossible}, `only "*"`, ""},
	{act("ec2:DescribeInstances", "arn:aws:ec2:*:*:instance/*"), []string{impossible}, `only "*"`, ""},
	{act("ec2:StartInstances", "arn:aws:ec2:*:*:i-0123456789abcdef0"), []string{impossible}, "instance/NAME", ""},
	{act("secretsmanager:ListSecrets", secret+"a-??????"), []string{impossible}, `only "*"`, ""},
	{act("iam:PassRole", "arn:aws:iam::111122223333:user/a"), []string{impossible}, "role/NAME", ""},
	{act("sts:AssumeRole", "arn:aws:sts::111122223333:assumed-role/a/b"), []string{impossible}, "role/NAME", ""},
	{act("lambda:InvokeFunction", "arn:aws:lambda:*:*:function/f"), []string{impossible}, "function:NAME", ""},
	{act("logs:PutLogEvents", "arn:aws:logs:*:*:/aws/lambda/f"), []string{impossible}, "", ""},
	{act("ecr:BatchGetImage", "arn:aws:ecr:*:*:app"), []string{impossible}, "repository/NAME", ""},
	{
		act("eks:DescribeNodegroup", "arn:aws:eks:*:*:cluster/prod"), []string{impossible}, "nodegroup/NAME", "",
	},
	{act("route53:ChangeResourceRecordSets", "arn:aws:route53:::Z1"), []string{impossible}, "hostedzone/NAME", ""},

	// secrets and keys
	{act("secretsmanager:GetSecretValue", secret+"db-??????"), nil, "", ""},
	{act("secretsmanager:GetSecretValue", secret+"db-*"), nil, "", ""},
	{act("secretsmanager:GetSecretValue", secret+"db*"), nil, "", ""},
	{act("secretsmanager:GetSecretValue", secret+"prod/*"), nil, "", ""},
	{act("secretsmanager:GetSecretValue", secret+"db-a1b2C3"), nil, "", ""},
	{act("secretsmanager:GetSecretValue", secret+"${aws:PrincipalTag/secret}"), nil, "", ""},
	{act("secretsmanager:CreateSecret", secret+"db"), nil, "", ""},
	{act("secretsmanager:GetSecretValue", "*"), nil, "", ""},
	{
		act("secretsmanager:GetSecretValue", secret+"db"),
		[]string{suffix},
		"six characters",
		act("secretsmanager:GetSecretValue", secret+"db-??????"),
	},
	{
		act("secretsmanager:GetSecretValue", secret+"prod/my-secret"),
		[]string{suffix},
		"",
		act("secretsmanager:GetSecretValue", secret+"prod/my-secret-??????"),
	},
	{
		act("secretsmanager:*", secret+"db-202601"), []string{suffix}, "", act("secretsmanager:*", secret+"db-202601-??????"),
	},
	{
		act("secretsmanager:GetSecretValue", secret+"db-?????"),
		[]string{suffix},
		"",
		act("secretsmanager:GetSecretValue", secret+"db-?????-??????"),
	},
	{act("kms:Decrypt", kmsAlias), []string{impossible}, "an alias is none of them", ""},
	{
		`'Action':['kms:Decrypt','kms:GenerateDataKey*'],'Resource':'` + kmsAlias + `'`,
		[]string{impossible, impossible},
		"kms:Decrypt", "",
	},
	{`'Action':'kms:Encrypt','Resource':['` + kmsKey + `','` + kmsAlias + `']`, nil, "", ""},

	// actions that do not exist
	{
		act("s3:GetObjects", "arn:aws:s3:::b/*"),
		[]string{unknown},
		"did you mean s3:GetObject?",
		act("s3:GetObject", "arn:aws:s3:::b/*"),
	},
	{act("s3:Getobject", "arn:aws:s3:::b/*"), nil, "", ""},
	{
		act("s3:ListObjectsV2", "arn:aws:s3:::b"),
		[]string{unknown},
		"the call needs s3:ListBucket",
		act("s3:ListBucket", "arn:aws:s3:::b"),
	},
	{act("s3:HeadObject", "arn:aws:s3:::b/*"), []string{unknown}, "s3:GetObject", act("s3:GetObject", "arn:aws:s3:::b/*")},
	{act("s3:CopyObject", "arn:aws:s3:::b/*"), []string{unknown}, "s3:GetObject, s3:PutObject", ""},
	{act("s3:Frobnicate", "arn:aws:s3:::b/*"), []string{unknown}, "s3 has no action s3:Frobnicate", ""},
	{act("s3:GetObjct*", "arn:aws:s3:::b/*"), []string{unknown}, "matches no action", ""},
	{act("sqs:SendMesage", sqsQueue), []string{unknown}, "sqs:SendMessage", act("sqs:SendMessage", sqsQueue)},
	{act("kms:Decrpyt", kmsKey), []string{unknown}, "kms:Decrypt", act("kms:Decrypt", kmsKey)},
	{
		act("sts:AsumeRole", "arn:aws:iam::111122223333:role/a"),
		[]string{unknown},
		"sts:AssumeRole",
		act("sts:AssumeRole", "arn:aws:iam::111122223333:role/a"),
	},
	{
		act("lambda:Invoke", "arn:aws:lambda:*:*:function:f"),
		[]string{unknown},
		"lambda:InvokeFunction",
		act("lambda:InvokeFunction", "arn:aws:lambda:*:*:function:f"),
	},
	{act("ec2:DescribeInstance", "*"), []string{unknown}, "ec2:DescribeInstances", act("ec2:DescribeInstances", "*")},
	{
		`'NotAction':'s3:GetObjects','Resource':'arn:aws:s3:::b/*'`,
		[]string{unknown},
		"",
		`'NotAction':'s3:GetObject','Resource':'arn:aws:s3:::b/*'`,
	},
}

// TestLintActions holds lint to the table, for Allow and for Deny.
func TestLintActions(t *testing.T) {
	t.Parallel()
	for _, row := range actionRows {
		for _, effect := range []string{"Allow", "Deny"} {
			text := doc(`{'Effect':'` + effect + `',` + row.statement + `}`)
			findings := policy.Lint(policy.Identity, "p", []byte(text), policy.LintOptions{})
			got, want := severitiesAndRules(findings), row.want
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: got %q, want %q", effect, row.statement, got, want)
				continue
			}
			if len(findings) == 0 {
				continue
			}
			first := findings[0]
			if effect == "Allow" && !strings.Contains(first.Message, row.says) {
				t.Errorf("%s: message %q lacks %q", row.statement, first.Message, row.says)
			}
			fixed := ""
			if first.Suggested != nil {
				fixed = first.Suggested.Edit.Apply(text)
			}
			if row.fixed != "" && fixed != doc(`{'Effect':'`+effect+`',`+row.fixed+`}`) {
				t.Errorf("%s: suggests %s, want %s", row.statement, fixed, row.fixed)
			}
		}
	}
}

func severitiesAndRules(findings []finding.Finding) []string {
	var all []string
	for i := range findings {
		all = append(all, string(findings[i].Severity)+" "+findings[i].Rule)
	}
	return all
}

// TestActionsOfAWS: AWS's own policies name no action that is said not to exist, and of
// those that are embedded none is said to be in vain.
func TestActionsOfAWS(t *testing.T) {
	t.Parallel()
	for _, one := range managedpolicy.All() {
		for _, f := range policy.Lint(policy.Identity, one.Name, []byte(one.Document), policy.LintOptions{Managed: true}) {
			switch f.Rule {
			case "unknown-action", "action-on-wrong-resource", "secret-without-suffix":
				t.Errorf("%s: %s: %s", one.Name, f.Rule, f.Message)
			}
		}
	}
}
