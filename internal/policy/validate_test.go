package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

// TestWhatIAMRejects is the table of spec iam-policy §1.5, identity kinds, row by
// row, and the place of the fault.
func TestWhatIAMRejects(t *testing.T) {
	t.Parallel()
	const (
		syntax   = "Syntax errors in policy."
		legacy   = "The policy failed legacy parsing"
		iamPaths = `IAM resource path must either be "*" or start with user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/.`
	)
	for _, row := range []struct {
		name, text, message string
		column              int // 0: not looked at
	}{
		{"1 no JSON", `{`, syntax, 1},
		{"1 a comment", `{/* */}`, syntax, 2},
		{"1 a trailing comma", `{'Statement':[],}`, syntax, 17},
		{"1 a byte-order mark", "\ufeff{}", "The specified value for policyDocument is invalid.", 1},
		{"1 no object", `'x'`, syntax, 1},
		{"1 unknown member", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Foo':1}`), syntax, 84},
		{"1 unknown version", `{'Version':'2012-10-18','Statement':[]}`, syntax, 12},
		{"1 version as a number", `{'Version':20121017,'Statement':[{'Effect':'Allow','Action':'*','Resource':'*'}]}`, syntax, 12},
		{"1 version with escaped dashes", `{'Version':'2012\u201310\u201317','Statement':[{'Effect':'Allow','Action':'*','Resource':'*'}]}`, syntax, 12},
		{"1 no statement", `{'Version':'2012-10-17'}`, syntax, 1},
		{"1 no statements", `{'Statement':[]}`, syntax, 14},
		{"1 statement is a text", `{'Statement':['x']}`, syntax, 15},
		{"1 no effect", doc(`{'Action':'*','Resource':'*'}`), syntax, 0},
		{"1 another effect", doc(`{'Effect':'Permit','Action':'*','Resource':'*'}`), syntax, 0},
		{"1 action is a number", doc(`{'Effect':'Allow','Action':1,'Resource':'*'}`), syntax, 0},
		{"1 action holds null", doc(`{'Effect':'Allow','Action':['s3:*',null],'Resource':'*'}`), syntax, 0},
		{"1 NotResource holds null", doc(`{'Effect':'Allow','Action':'*','NotResource':[null]}`), syntax, 0},
		{"1 both resources", doc(`{'Effect':'Allow','Action':'*','Resource':'*','NotResource':'*'}`), syntax, 0},
		{"1 unknown operator", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'StringEqual':{'a':'b'}}}`), syntax, 0},
		{"1 two colons after a set prefix", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'ForAnyValue::StringEquals':{}}}`), syntax, 0},
		{"1 condition is a list", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':[]}`), syntax, 0},
		{"1 operator is a text", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'StringEquals':'x'}}`), syntax, 0},
		{"1 value is an object", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'StringEquals':{'a':{}}}}`), syntax, 0},
		{"3 effect in lower case", doc(`{'Effect':'allow','Action':'*','Resource':'*'}`), legacy, 48},
		{"3 no date", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateLessThan':{'a':'soon'}}}`), legacy, 0},
		{"3 negative seconds", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateLessThan':{'a':'-1'}}}`), legacy, 0},
		{"3 too many seconds", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateLessThan':{'a':'9223372036854775808'}}}`), legacy, 0},
		{"3 fraction of a second", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateLessThan':{'a':'1.5'}}}`), legacy, 0},
		{"3 two colons and five parts", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:s3::bkt'}`), legacy, 0},
		{"3 no service", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws::::bkt'}`), legacy, 0},
		{"3b no number", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'NumericEquals':{'a':'ten'}}}`), legacy, 0},
		{"3b IPv6 with host bits", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'IpAddress':{'a':'2001:db8::5/64'}}}`), legacy, 0},
		{"3b no ARN", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'ArnLike':{'a':'x'}}}`), legacy, 0},
		{"3b no base64", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'BinaryEquals':{'a':'YQ'}}}`), legacy, 0},
		{"3b IPv6 network in dotted spelling", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'IpAddress':{'a':'::ffff:192.0.2.0/120'}}}`), legacy, 0},
		{"3b two signs", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'IpAddress':{'a':'192.0.2.0/+-0'}}}`), legacy, 0},
		{"3 zone of more than a day", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateEquals':{'a':'2026-01-01T00:00:00+24:00'}}}`), legacy, 0},
		{"4 repeated Sid", doc(`{'Sid':'a','Effect':'Allow','Action':'*','Resource':'*'},{'Sid':'a','Effect':'Allow','Action':'*','Resource':'*'}`), "Statement IDs (SID) in a single policy must be unique.", 0},
		{"5 no action", doc(`{'Effect':'Allow','Resource':'*'}`), "Policy statement must contain actions.", 0},
		{"5 no actions", doc(`{'Effect':'Allow','NotAction':[],'Resource':'*'}`), "Policy statement must contain actions.", 0},
		{"6 no colon", doc(`{'Effect':'Allow','Action':'*','Resource':'bkt'}`), `Resource bkt must be in ARN format or "*".`, 0},
		{"6 no ARN", doc(`{'Effect':'Allow','Action':'*','Resource':'foo:aws:s3:::b'}`), `Resource foo:aws:s3:::b must be in ARN format or "*".`, 0},
		{"7 partition", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:amazon:s3:::b'}`), `Partition "amazon" is not valid for resource "arn:amazon:s3:::b".`, 0},
		{"7 partition, missing parts", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:x'}`), `Partition "x" is not valid for resource "arn:x:*:*:*:*".`, 0},
		{"8 two parts", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws'}`), "Resource vendor must be fully qualified and cannot contain regexes.", 0},
		{"9 region of IAM", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:iam:eu-west-1:111122223333:role/x'}`), "IAM resource arn:aws:iam:eu-west-1:111122223333:role/x cannot contain region information.", 0},
		{"9 region of a bucket", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:s3:eu-west-1::bkt'}`), "Resource arn:aws:s3:eu-west-1::bkt can not contain region information.", 0},
		{"10 path of IAM", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:iam::111122223333:cluster/x'}`), iamPaths, 0},
		{"11 action without service", doc(`{'Effect':'Allow','Action':'s3','Resource':'*'}`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", 0},
		{"12 action with two colons", doc(`{'Effect':'Allow','Action':'s3:a:b','Resource':'*'}`), "Actions/Condition can contain only one colon.", 0},
		{"13 wildcard service", doc(`{'Effect':'Allow','Action':'s*:Get','Resource':'*'}`), "Vendor s* is not valid", 0},
		{"13 a no-break space", doc(`{'Effect':'Allow','Action':'\u00a0s3:Get','Resource':'*'}`), "Vendor \u00a0s3 is not valid", 0},
		{"14 no resource", doc(`{'Effect':'Allow','Action':'*'}`), "Policy statement must contain resources.", 0},
		{"14 no resources", doc(`{'Effect':'Allow','Action':'*','NotResource':[]}`), "Policy statement must contain resources.", 0},
		{"15 principal", doc(`{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*'}`), "Policy document should not specify a principal.", 0},
		{"16 Sid", doc(`{'Sid':'a b','Effect':'Allow','Action':'*','Resource':'*'}`), "Statement IDs (SID) must be alpha-numeric.", 0},

		{"6 no ARN in a known partition", doc(`{'Effect':'Allow','Action':'*','Resource':'aws:aws:s3:::b'}`), "Resource aws:aws:s3:::b must be in ARN format", 0},
		{"7 no ARN", doc(`{'Effect':'Allow','Action':'*','Resource':'a:b:c'}`), `Partition "b" is not valid for resource "arn:b:c:*:*:*".`, 0},
		{"9 a region and no more", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:s3:eu-west-1'}`), "Resource arn:aws:s3:eu-west-1 can not contain region information.", 0},
		{"10 a variable does not hide the path", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:iam::${aws:PrincipalAccount}:x/y'}`), iamPaths, 0},
		{"order: an action before a resource format", doc(`{'Effect':'Allow','Resource':'bkt'}`), "Policy statement must contain actions.", 0},
		{"order: a resource before an action format", doc(`{'Effect':'Allow','Action':'s3','Resource':'bkt'}`), "Resource bkt must be in ARN format", 0},
		{"order: a later statement's effect before this one's action", doc(`{'Effect':'Allow','Action':'s3','Resource':'*'},{'Effect':'allow','Action':'*','Resource':'*'}`), legacy, 0},
		{"order: resources from the end of the alphabet", doc(`{'Effect':'Allow','Action':'*','Resource':['abc','arn:zzz:s3:::b']}`), `Partition "zzz"`, 0},
	} {
		_, err := policy.Parse(policy.Identity, "p", []byte(strings.ReplaceAll(row.text, "'", `"`)))
		refused, ok := errors.AsType[*policy.SyntaxError](err)
		if !ok || !strings.HasPrefix(refused.Message, row.message) || (row.column != 0 && refused.Column != row.column) {
			t.Errorf("%s: %v, want %q at column %d", row.name, err, row.message, row.column)
		}
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	allow := func(rest string) string { return doc(`{'Effect':'Allow','Action':'s3:*',` + rest + `}`) }
	for _, row := range []struct {
		kind policy.Kind
		text string
	}{
		{policy.Identity, allow(`'Resource':['*',null]`)},
		{policy.Identity, allow(`'Resource':'*','Condition':{}`)},
		{policy.Identity, allow(`'Resource':'*','Condition':{'StringEquals':{},'NoOperator':{}}`)},
		{policy.Identity, allow(`'Resource':'*','Condition':{'StringEquals':{'a':[]}}`)},
		{policy.Identity, allow(`'Resource':'*','Condition':{'Bool':{'a':true},'NumericEquals':{'b':5.50},'Null':{'c':'maybe'}}`)},
		{policy.Identity, allow(`'Resource':'*','Condition':{'DateLessThan':{'a':9223372036854775807,'b':0}}`)},
		{policy.Identity, `{"Id":"x","Statement":{"Effect":"Allow","Action":"nosuch:Thing","Resource":["arn:aws:s3:*","${aws:PrincipalTag/arn}","arn:${a}:s3:::b"]}}`},
		{policy.Identity, allow(`'Resource':['arn:aws:iam::${aws:PrincipalAccount}:role/x','arn:${aws:PrincipalTag/p}:iam::${aws:PrincipalAccount}:user/${aws:username}']`)},
		{policy.Identity, `{"Statement":{"Sid":"","Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::\u03a3"}}`},
		{policy.Resource, doc(`{'Sid':'a b','Effect':'Allow','Principal':'*','Action':'ecr:*'}`)},
		{policy.Session, allow(`'Resource':'*','Condition':{'NumericEquals':{'a':'ten'},'IpAddress':{'a':'x'},'ArnLike':{'a':'x'},'DateEquals':{'a':'x'}}`)},
		{policy.RCP, doc(`{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*'}`)},
		{policy.RCP, doc(`{'Effect':'Deny','Principal':{'AWS':'*'},'Action':'s3:*','Resource':'*'}`)},
		{policy.SCP, doc(`{'Effect':'Deny','Action':'ec2:*Security*','Resource':'arn:aws:ec2:*'}`)},
	} {
		text := strings.ReplaceAll(row.text, "'", `"`)
		if _, err := policy.ParseParameter(row.kind, "p", []byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestRefusedByKind is what the other kinds do not accept.
func TestRefusedByKind(t *testing.T) {
	t.Parallel()
	const control = "The provided policy document does not meet the requirements of the specified policy type."
	for _, row := range []struct {
		kind                  policy.Kind
		text, message, detail string
	}{
		{policy.Boundary, doc(`{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*'}`), "Policy document should not specify a principal.", "belongs to its holder"},
		{policy.Session, doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'BinaryEquals':{'a':'YQ'}}}`), "The policy failed legacy parsing", "base64"},
		{policy.SCP, doc(`{'Effect':'Deny','Principal':'*','Action':'*','Resource':'*'}`), control, "no Principal"},
		{policy.SCP, doc(`{'Effect':'Deny','Action':'*','Resource':'arn:aws:s3'}`), control, "has 3 parts"},
		{policy.RCP, doc(`{'Effect':'Deny','Action':'s3:*','Resource':'*'}`), control, "no Principal"},
		{policy.RCP, doc(`{'Effect':'Deny','Principal':{'AWS':'111122223333'},'Action':'s3:*','Resource':'*'}`), control, `is "*"`},
		{policy.RCP, doc(`{'Effect':'Deny','Principal':'*','NotAction':'s3:*','Resource':'*'}`), control, "no NotAction"},
		{policy.RCP, doc(`{'Effect':'Deny','Principal':'*','Action':'*','Resource':'*'}`), control, "names services"},
		{policy.RCP, doc(`{'Effect':'Allow','Principal':'*','Action':'s3:*','Resource':'*'}`), control, "can only Deny"},
		{policy.RCP, doc(`{'Effect':'Deny','Principal':'*','Action':'s3:*','Resource':'arn:aws:s3:*'}`), control, "has 4 parts"},
		{policy.Endpoint, doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`), "Missing required field Principal", "no Principal"},
		{policy.Resource, doc(`{'Effect':'Allow','Principal':{'Aws':'*'},'Action':'*','Resource':'*'}`), `Invalid principal in policy: "Aws":"*"`, "no kind of principal"},
		{policy.Resource, doc(`{'Effect':'Allow','Principal':{'AWS':[]},'Action':'*','Resource':'*'}`), "Invalid principal in policy: com.amazon.balsa", "empty list"},
	} {
		_, err := policy.ParseParameter(row.kind, "p", []byte(row.text))
		refused, ok := errors.AsType[*policy.SyntaxError](err)
		if !ok || !strings.HasPrefix(refused.Message, row.message) || !strings.Contains(refused.Detail, row.detail) {
			t.Errorf("%s %s: %v, want %q, %q", row.kind, row.text, err, row.message, row.detail)
		}
	}
	if _, err := policy.ParseManaged("p", []byte(`{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)); !isMessage(err, "Policy document must be version 2012-10-17 or greater.") {
		t.Errorf("an old managed policy: %v", err)
	}
	if _, err := policy.ParseManaged("p", []byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)); !isMessage(err, "Policy document must be version 2012-10-17 or greater.") {
		t.Errorf("a managed policy without version: %v", err)
	}
	long := []byte(doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`) + strings.Repeat(" ", 131072))
	if _, err := policy.ParseParameter(policy.Identity, "p", long); !isMessage(err, "1 validation error detected: Value at 'policyDocument' failed to satisfy constraint: Member must have length less than or equal to 131072") {
		t.Errorf("a long parameter: %v", err)
	}
	latin := []byte(strings.Replace(doc(`{'Sid':'','Effect':'Allow','Action':'*','Resource':'é'}`), "é", "arn:aws:s3:::"+strings.Repeat("é", 130000), 1))
	if _, err := policy.ParseParameter(policy.Identity, "p", latin); err != nil {
		t.Errorf("a parameter of fewer characters than bytes: %v", err)
	}
	if _, err := policy.Parse(policy.Identity, "p", long); err != nil {
		t.Errorf("a long document: %v", err)
	}
	if _, err := policy.Parse(policy.Identity, "p", append(long, make([]byte, 1<<20)...)); err == nil {
		t.Error("a document of more than a megabyte is read")
	}
}

func isMessage(err error, message string) bool {
	refused, ok := errors.AsType[*policy.SyntaxError](err)
	return ok && refused.Message == message
}

// TestSharedIssuers is spec iam-policy §1.5, shared OIDC issuers.
func TestSharedIssuers(t *testing.T) {
	t.Parallel()
	const github = "token.actions.githubusercontent.com"
	for _, row := range []struct {
		name, issuer, action, condition string
		want                            string // part of the message; empty for accepted
	}{
		{"github, sub", github, "sts:AssumeRoleWithWebIdentity", `'StringLike':{'` + github + `:sub':'repo:org/repo:*'}`, ""},
		{"github, workflow in other case", github, "sts:AssumeRoleWithWebIdentity", `'ForAnyValue:StringEquals':{'` + github + `:JOB_workflow_ref':'x'}`, ""},
		{"github, only aud", github, "sts:AssumeRoleWithWebIdentity", `'StringEquals':{'` + github + `:aud':'sts.amazonaws.com'}`, "must evaluate, using StringEquals, StringLike or StringEqualsIgnoreCase, " + github + ":sub or " + github + ":job_workflow_ref which is not scoped to all."},
		{"github, no condition", github, "sts:*", ``, "which is not scoped to all."},
		{"github, leading star", github, "sts:AssumeRoleWithWebIdentity", `'StringLike':{'` + github + `:sub':'*/repo'}`, "not scoped"},
		{"github, blank", github, "sts:AssumeRoleWithWebIdentity", `'StringLike':{'` + github + `:sub':' '}`, "not scoped"},
		{"github, one of two open", github, "sts:AssumeRoleWithWebIdentity", `'StringLike':{'` + github + `:sub':'*','` + github + `:job_workflow_ref':'x'}`, "not scoped"},
		{"github, another operator closed", github, "sts:AssumeRoleWithWebIdentity", `'StringLike':{'` + github + `:sub':'*'},'StringEquals':{'` + github + `:job_workflow_ref':'x'}`, ""},
		{"github enterprise", github + "/acme", "sts:AssumeRoleWithWebIdentity", ``, "not scoped"},
		{"github, deny-only operator", github, "sts:AssumeRoleWithWebIdentity", `'StringNotEquals':{'` + github + `:sub':'x'}`, "not scoped"},
		{"github, IfExists", github, "sts:AssumeRoleWithWebIdentity", `'StringEqualsIfExists':{'` + github + `:sub':'x'}`, "not scoped"},
		{"github, another action", github, "sts:TagSession", ``, ""},
		{"gitlab, star", "gitlab.com", "sts:AssumeRoleWithWebIdentity", `'StringLike':{'gitlab.com:sub':'*'}`, "gitlab.com:sub which is not scoped"},
		{"gitlab, question mark", "gitlab.com", "sts:AssumeRoleWithWebIdentity", `'StringLike':{'gitlab.com:sub':['?','**','*?','']}`, ""},
		{"gitlab, empty list", "gitlab.com", "sts:AssumeRoleWithWebIdentity", `'StringEquals':{'gitlab.com:sub':[]}`, ""},
		{"vercel, aud", "oidc.vercel.com", "sts:AssumeRoleWithWebIdentity", `'StringEquals':{'oidc.vercel.com:aud':'x'}`, ""},
		{"a cluster needs none", "oidc.eks.eu-west-1.amazonaws.com/id/A1", "sts:AssumeRoleWithWebIdentity", ``, ""},
		{"google, like", "accounts.google.com", "sts:AssumeRoleWithWebIdentity", `'StringLike':{'accounts.google.com:aud':'x*'}`, "not scoped"},
		{"google, upper case", "accounts.google.com", "sts:AssumeRoleWithWebIdentity", `'StringEquals':{'accounts.google.com:AUD':'x'}`, "not scoped"},
		{"google, equal", "accounts.google.com", "sts:AssumeRoleWithWebIdentity", `'StringEquals':{'accounts.google.com:aud':'x'}`, ""},
		{"cognito, none", "cognito-identity.amazonaws.com", "sts:AssumeRoleWithWebIdentity", ``, "A condition block must be present for the Cognito provider"},
		{"cognito, star", "cognito-identity.amazonaws.com", "sts:AssumeRoleWithWebIdentity", `'StringLike':{'cognito-identity.amazonaws.com:aud':'*'}`, "not scoped"},
	} {
		if deny := doc(`{'Effect':'Deny','Principal':{'Federated':'` + row.issuer + `'},'Action':'sts:*'}`); strings.Count(row.issuer, "/") == 0 {
			if _, err := policy.Parse(policy.Trust, "p", []byte(deny)); err != nil {
				t.Errorf("a Deny needs no condition: %v", err)
			}
		}
		principal := "arn:aws:iam::111122223333:oidc-provider/" + row.issuer
		if strings.HasPrefix(row.name, "google") || strings.HasPrefix(row.name, "cognito") {
			principal = row.issuer
		}
		text := doc(`{'Effect':'Allow','Principal':{'Federated':'` + principal + `'},'Action':'` + row.action + `','Condition':{` + row.condition + `}}`)
		_, err := policy.Parse(policy.Trust, "p", []byte(text))
		refused, isRefused := errors.AsType[*policy.SyntaxError](err)
		if isRefused != (row.want != "") || (isRefused && !strings.HasSuffix(refused.Message, row.want) && !strings.Contains(refused.Message, row.want)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}
