package policy_test

import (
	"errors"
	"slices"
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
		iamPaths = `IAM resource path must either be "*" or start with user/, federated-user/, role/, group/, ` +
			`instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, ` +
			`report/, access-report/.`
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
		{
			name:    "1 version as a number",
			text:    `{'Version':20121017,'Statement':[{'Effect':'Allow','Action':'*','Resource':'*'}]}`,
			message: syntax,
			column:  12,
		},
		{
			name:    "1 version with escaped dashes",
			text:    `{'Version':'2012\u201310\u201317','Statement':[{'Effect':'Allow','Action':'*','Resource':'*'}]}`,
			message: syntax,
			column:  12,
		},
		{"1 no statement", `{'Version':'2012-10-17'}`, syntax, 1},
		{"1 no statements", `{'Statement':[]}`, syntax, 14},
		{"1 statement is a text", `{'Statement':['x']}`, syntax, 15},
		{"1 no effect", doc(`{'Action':'*','Resource':'*'}`), syntax, 0},
		{"1 another effect", doc(`{'Effect':'Permit','Action':'*','Resource':'*'}`), syntax, 0},
		{"1 action is a number", doc(`{'Effect':'Allow','Action':1,'Resource':'*'}`), syntax, 0},
		{"1 action holds null", doc(`{'Effect':'Allow','Action':['s3:*',null],'Resource':'*'}`), syntax, 0},
		{"1 NotResource holds null", doc(`{'Effect':'Allow','Action':'*','NotResource':[null]}`), syntax, 0},
		{"1 both resources", doc(`{'Effect':'Allow','Action':'*','Resource':'*','NotResource':'*'}`), syntax, 0},
		{
			name:    "1 unknown operator",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'StringEqual':{'a':'b'}}}`),
			message: syntax,
		},
		{
			name:    "1 two colons after a set prefix",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'ForAnyValue::StringEquals':{}}}`),
			message: syntax,
		},
		{"1 condition is a list", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':[]}`), syntax, 0},
		{
			name:    "1 operator is a text",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'StringEquals':'x'}}`),
			message: syntax,
		},
		{
			name:    "1 value is an object",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'StringEquals':{'a':{}}}}`),
			message: syntax,
		},
		{"3 effect in lower case", doc(`{'Effect':'allow','Action':'*','Resource':'*'}`), legacy, 48},
		{
			name:    "3 no date",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateLessThan':{'a':'soon'}}}`),
			message: legacy,
		},
		{
			name:    "3 negative seconds",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateLessThan':{'a':'-1'}}}`),
			message: legacy,
		},
		{
			name: "3 too many seconds",
			text: doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateLessThan':{` +
				`'a':'9223372036854775808'}}}`),
			message: legacy,
		},
		{
			name:    "3 fraction of a second",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateLessThan':{'a':'1.5'}}}`),
			message: legacy,
		},
		{"3 two colons and five parts", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:s3::bkt'}`), legacy, 0},
		{"3 no service", doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws::::bkt'}`), legacy, 0},
		{
			name:    "3b no number",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'NumericEquals':{'a':'ten'}}}`),
			message: legacy,
		},
		{
			name: "3b IPv6 with host bits",
			text: doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'IpAddress':{` +
				`'a':'2001:db8::5/64'}}}`),
			message: legacy,
		},
		{
			name:    "3b no ARN",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'ArnLike':{'a':'x'}}}`),
			message: legacy,
		},
		{
			name:    "3b no base64",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'BinaryEquals':{'a':'YQ'}}}`),
			message: legacy,
		},
		{
			name: "3b IPv6 network in dotted spelling",
			text: doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'IpAddress':{` +
				`'a':'::ffff:192.0.2.0/120'}}}`),
			message: legacy,
		},
		{
			name: "3b two signs",
			text: doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'IpAddress':{` +
				`'a':'192.0.2.0/+-0'}}}`),
			message: legacy,
		},
		{
			name: "3 zone of more than a day",
			text: doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'DateEquals':{` +
				`'a':'2026-01-01T00:00:00+24:00'}}}`),
			message: legacy,
		},
		{
			name: "4 repeated Sid",
			text: doc(`{'Sid':'a','Effect':'Allow','Action':'*','Resource':'*'},{'Sid':'a','Effect':'Allow',` +
				`'Action':'*','Resource':'*'}`),
			message: "Statement IDs (SID) in a single policy must be unique.",
		},
		{"5 no action", doc(`{'Effect':'Allow','Resource':'*'}`), "Policy statement must contain actions.", 0},
		{
			name:    "5 no actions",
			text:    doc(`{'Effect':'Allow','NotAction':[],'Resource':'*'}`),
			message: "Policy statement must contain actions.",
		},
		{
			name:    "6 no colon",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'bkt'}`),
			message: `Resource bkt must be in ARN format or "*".`,
		},
		{
			name:    "6 no ARN",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'foo:aws:s3:::b'}`),
			message: `Resource foo:aws:s3:::b must be in ARN format or "*".`,
		},
		{
			name:    "7 partition",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'arn:amazon:s3:::b'}`),
			message: `Partition "amazon" is not valid for resource "arn:amazon:s3:::b".`,
		},
		{
			name:    "7 partition, missing parts",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'arn:x'}`),
			message: `Partition "x" is not valid for resource "arn:x:*:*:*:*".`,
		},
		{
			name:    "8 two parts",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws'}`),
			message: "Resource vendor must be fully qualified and cannot contain regexes.",
		},
		{
			name:    "9 region of IAM",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:iam:eu-west-1:111122223333:role/x'}`),
			message: "IAM resource arn:aws:iam:eu-west-1:111122223333:role/x cannot contain region information.",
		},
		{
			name:    "9 region of a bucket",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:s3:eu-west-1::bkt'}`),
			message: "Resource arn:aws:s3:eu-west-1::bkt can not contain region information.",
		},
		{
			name:    "10 path of IAM",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:iam::111122223333:cluster/x'}`),
			message: iamPaths,
		},
		{
			name:    "11 action without service",
			text:    doc(`{'Effect':'Allow','Action':'s3','Resource':'*'}`),
			message: "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
		},
		{
			name:    "12 action with two colons",
			text:    doc(`{'Effect':'Allow','Action':'s3:a:b','Resource':'*'}`),
			message: "Actions/Condition can contain only one colon.",
		},
		{
			name:    "13 wildcard service",
			text:    doc(`{'Effect':'Allow','Action':'s*:Get','Resource':'*'}`),
			message: "Vendor s* is not valid",
		},
		{
			name:    "13 a no-break space",
			text:    doc(`{'Effect':'Allow','Action':'\u00a0s3:Get','Resource':'*'}`),
			message: "Vendor \u00a0s3 is not valid",
		},
		{"14 no resource", doc(`{'Effect':'Allow','Action':'*'}`), "Policy statement must contain resources.", 0},
		{
			name:    "14 no resources",
			text:    doc(`{'Effect':'Allow','Action':'*','NotResource':[]}`),
			message: "Policy statement must contain resources.",
		},
		{
			name:    "15 principal",
			text:    doc(`{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*'}`),
			message: "Policy document should not specify a principal.",
		},
		{
			name:    "16 Sid",
			text:    doc(`{'Sid':'a b','Effect':'Allow','Action':'*','Resource':'*'}`),
			message: "Statement IDs (SID) must be alpha-numeric.",
		},

		{
			name:    "6 no ARN in a known partition",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'aws:aws:s3:::b'}`),
			message: "Resource aws:aws:s3:::b must be in ARN format",
		},
		{
			name:    "7 no ARN",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'a:b:c'}`),
			message: `Partition "b" is not valid for resource "arn:b:c:*:*:*".`,
		},
		{
			name:    "9 a region and no more",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:s3:eu-west-1'}`),
			message: "Resource arn:aws:s3:eu-west-1 can not contain region information.",
		},
		{
			name:    "10 a variable does not hide the path",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'arn:aws:iam::${aws:PrincipalAccount}:x/y'}`),
			message: iamPaths,
		},
		{
			name:    "order: an action before a resource format",
			text:    doc(`{'Effect':'Allow','Resource':'bkt'}`),
			message: "Policy statement must contain actions.",
		},
		{
			name:    "order: a resource before an action format",
			text:    doc(`{'Effect':'Allow','Action':'s3','Resource':'bkt'}`),
			message: "Resource bkt must be in ARN format",
		},
		{
			name: "order: a later statement's effect before this one's action",
			text: doc(`{'Effect':'Allow','Action':'s3','Resource':'*'},{'Effect':'allow','Action':'*',` +
				`'Resource':'*'}`),
			message: legacy,
		},
		{
			name:    "order: resources from the end of the alphabet",
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':['abc','arn:zzz:s3:::b']}`),
			message: `Partition "zzz"`,
		},
	} {
		_, err := policy.Parse(policy.Identity, "p", []byte(strings.ReplaceAll(row.text, "'", `"`)))
		refused, ok := errors.AsType[*policy.SyntaxError](err)
		if !ok || !strings.HasPrefix(refused.Message, row.message) ||
			(row.column != 0 && refused.Column != row.column) {
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
		{
			policy.Identity,
			allow(`'Resource':'*','Condition':{'Bool':{'a':true},'NumericEquals':{'b':5.50},'Null':{'c':'maybe'}}`),
		},
		{policy.Identity, allow(`'Resource':'*','Condition':{'DateLessThan':{'a':9223372036854775807,'b':0}}`)},
		{
			policy.Identity,
			`{"Id":"x","Statement":{"Effect":"Allow","Action":"nosuch:Thing","Resource":["arn:aws:s3:*","${` +
				`aws:PrincipalTag/arn}","arn:${a}:s3:::b"]}}`,
		},
		{
			policy.Identity,
			allow(`'Resource':['arn:aws:iam::${aws:PrincipalAccount}:role/x','arn:${aws:PrincipalTag/p}:iam::${` +
				`aws:PrincipalAccount}:user/${aws:username}']`),
		},
		{policy.Identity, `{"Statement":{"Sid":"","Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::\u03a3"}}`},
		{policy.Resource, doc(`{'Sid':'a b','Effect':'Allow','Principal':'*','Action':'ecr:*'}`)},
		{
			policy.Session,
			allow(`'Resource':'*','Condition':{'NumericEquals':{'a':'ten'},'IpAddress':{'a':'x'},'ArnLike':{` +
				`'a':'x'},'DateEquals':{'a':'x'}}`),
		},
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
		{
			kind:    policy.Boundary,
			text:    doc(`{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*'}`),
			message: "Policy document should not specify a principal.",
			detail:  "applies to its holder",
		},
		{
			kind:    policy.Session,
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'BinaryEquals':{'a':'YQ'}}}`),
			message: "The policy failed legacy parsing",
			detail:  "base64",
		},
		{policy.SCP, doc(`{'Effect':'Deny','Principal':'*','Action':'*','Resource':'*'}`), control, "no Principal"},
		{policy.SCP, doc(`{'Effect':'Deny','Action':'*','Resource':'arn:aws:s3'}`), control, "has 3 parts"},
		{policy.RCP, doc(`{'Effect':'Deny','Action':'s3:*','Resource':'*'}`), control, "Principal is missing"},
		{
			kind:    policy.RCP,
			text:    doc(`{'Effect':'Deny','Principal':{'AWS':'111122223333'},'Action':'s3:*','Resource':'*'}`),
			message: control,
			detail:  `is "*"`,
		},
		{
			kind:    policy.RCP,
			text:    doc(`{'Effect':'Deny','Principal':'*','NotAction':'s3:*','Resource':'*'}`),
			message: control,
			detail:  "no NotAction",
		},
		{policy.RCP, doc(`{'Effect':'Deny','Principal':'*','Action':'*','Resource':'*'}`), control, "names services"},
		{
			kind:    policy.RCP,
			text:    doc(`{'Effect':'Deny','NotPrincipal':'*','Action':'s3:*','Resource':'*'}`),
			message: control,
			detail:  `is "*"`,
		},
		{
			kind:    policy.RCP,
			text:    doc(`{'Effect':'Deny','Principal':{'AWS':['*','111122223333']},'Action':'s3:*','Resource':'*'}`),
			message: control,
			detail:  `is "*"`,
		},
		{
			kind:    policy.Resource,
			text:    doc(`{'Effect':'Allow','Principal':'111122223333','Action':'*','Resource':'*'}`),
			message: "",
			detail:  "Principal must be an object",
		},
		{
			kind:    policy.RCP,
			text:    doc(`{'Effect':'Allow','Principal':'*','Action':'s3:*','Resource':'*'}`),
			message: control,
			detail:  "can only Deny",
		},
		{
			kind:    policy.RCP,
			text:    doc(`{'Effect':'Deny','Principal':'*','Action':'s3:*','Resource':'arn:aws:s3:*'}`),
			message: control,
			detail:  "has 4 parts",
		},
		{
			kind:    policy.Endpoint,
			text:    doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`),
			message: "Missing required field Principal",
			detail:  "Principal is missing",
		},
		{
			kind:    policy.Resource,
			text:    doc(`{'Effect':'Allow','Principal':{'Aws':'*'},'Action':'*','Resource':'*'}`),
			message: `Invalid principal in policy: "Aws":"*"`,
			detail:  "not a kind of principal",
		},
		{
			kind:    policy.Resource,
			text:    doc(`{'Effect':'Allow','Principal':{'AWS':[]},'Action':'*','Resource':'*'}`),
			message: "Invalid principal in policy: com.amazon.balsa",
			detail:  "empty list",
		},
	} {
		_, err := policy.ParseParameter(row.kind, "p", []byte(row.text))
		refused, ok := errors.AsType[*policy.SyntaxError](err)
		if !ok || !strings.HasPrefix(refused.Message, row.message) || !strings.Contains(refused.Detail, row.detail) {
			t.Errorf("%s %s: %v, want %q, %q", row.kind, row.text, err, row.message, row.detail)
		}
	}
	if _, err := policy.ParseManaged("p",
		[]byte(`{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)); !isMessage(err,
		"Policy document must be version 2012-10-17 or greater.") {
		t.Errorf("an old managed policy: %v", err)
	}
	if _, err := policy.ParseManaged("p",
		[]byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)); !isMessage(err,
		"Policy document must be version 2012-10-17 or greater.") {
		t.Errorf("a managed policy without version: %v", err)
	}
	long := []byte(doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`) + strings.Repeat(" ", 131072))
	if _, err := policy.ParseParameter(policy.Identity, "p",
		long); !isMessage(err,
		"1 validation error detected: Value at 'policyDocument' failed to satisfy constraint: Member must have "+
			"length less than or equal to 131072") {
		t.Errorf("a long parameter: %v", err)
	}
	for name, more := range map[string]string{"a character": "\u2013", "another fault": "x"} {
		if _, err := policy.ParseParameter(policy.Identity, "p", append(slices.Clone(long), more...)); err == nil ||
			!strings.Contains(err.Error(), "less than or equal to 131072") {
			t.Errorf("a long parameter with %s: %v", name, err)
		}
	}
	latin := []byte(strings.Replace(doc(`{'Sid':'','Effect':'Allow','Action':'*','Resource':'é'}`), "é",
		"arn:aws:s3:::"+strings.Repeat("é", 130000), 1))
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

// TestEveryStatementIsLookedAt for issuers that others share, behind statements that
// let no token in.
func TestEveryStatementIsLookedAt(t *testing.T) {
	t.Parallel()
	const open = `{'Effect':'Allow','Principal':{'Federated':` +
		`'arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com'},` +
		`'Action':'sts:AssumeRoleWithWebIdentity'}`
	for name, first := range map[string]string{
		"a Deny":         `{'Effect':'Deny','Principal':{'AWS':'*'},'Action':'sts:*'}`,
		"another action": `{'Effect':'Allow','Principal':{'AWS':'111122223333'},'Action':'sts:AssumeRole'}`,
		"another caller": `{'Effect':'Allow','Principal':{'AWS':'111122223333'},'Action':'sts:*'}`,
	} {
		if _, err := policy.Parse(policy.Trust, "p", []byte(doc(first))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err := policy.Parse(policy.Trust, "p", []byte(doc(first, open)))
		if err == nil || !strings.Contains(err.Error(), "has many tenants") {
			t.Errorf("behind %s: %v", name, err)
		}
	}
}

// TestServicesHaveRulesOfTheirOwn for the resources that their policies name.
func TestServicesHaveRulesOfTheirOwn(t *testing.T) {
	t.Parallel()
	text := []byte(doc(`{'Effect':'Allow','Principal':'*','Action':'s3:*','Resource':'bucket'}`))
	for _, kind := range []policy.Kind{policy.Resource, policy.Endpoint} {
		if _, err := policy.ParseParameter(kind, "p", text); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestSharedIssuers is spec iam-policy §1.5, shared OIDC issuers.
func TestSharedIssuers(t *testing.T) {
	t.Parallel()
	const github = "token.actions.githubusercontent.com"
	for _, row := range []struct {
		name, issuer, action, condition string
		want                            string // part of the message; empty for accepted
	}{
		{
			name:      "github, sub",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'` + github + `:sub':'repo:org/repo:*'}`,
		},
		{
			name:      "github, workflow in other case",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'ForAnyValue:StringEquals':{'` + github + `:JOB_workflow_ref':'x'}`,
		},
		{
			name:      "github, only aud",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringEquals':{'` + github + `:aud':'sts.amazonaws.com'}`,
			want: "must evaluate, using StringEquals, StringLike or StringEqualsIgnoreCase, " + github +
				":sub or " + github + ":job_workflow_ref which is not scoped to all.",
		},
		{"github, no condition", github, "sts:*", ``, "which is not scoped to all."},
		{
			name:      "github, sub behind aud",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringEquals':{'` + github + `:aud':'x','` + github + `:sub':'repo:org/repo:x'}`,
		},
		{
			name:   "github, sub behind one that does not count",
			issuer: github,
			action: "sts:AssumeRoleWithWebIdentity",
			condition: `'StringNotEquals':{'` + github + `:sub':'x'},'StringEquals':{'` + github +
				`:sub':'repo:org/repo:x'}`,
		},
		{
			name:      "github, leading star",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'` + github + `:sub':'*/repo'}`,
			want:      "not scoped",
		},
		{
			name:      "github, blank",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'` + github + `:sub':' '}`,
			want:      "not scoped",
		},
		{
			name:      "github, one of two open",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'` + github + `:sub':'*','` + github + `:job_workflow_ref':'x'}`,
			want:      "not scoped",
		},
		{
			name:      "github, another operator closed",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'` + github + `:sub':'*'},'StringEquals':{'` + github + `:job_workflow_ref':'x'}`,
		},
		{"github enterprise", github + "/acme", "sts:AssumeRoleWithWebIdentity", ``, "not scoped"},
		{
			name:      "github, deny-only operator",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringNotEquals':{'` + github + `:sub':'x'}`,
			want:      "not scoped",
		},
		{
			name:      "github, IfExists",
			issuer:    github,
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringEqualsIfExists':{'` + github + `:sub':'x'}`,
			want:      "not scoped",
		},
		{"github, another action", github, "sts:TagSession", ``, ""},
		{
			name:      "gitlab, star",
			issuer:    "gitlab.com",
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'gitlab.com:sub':'*'}`,
			want:      "gitlab.com:sub which is not scoped",
		},
		{
			name:      "gitlab, question mark",
			issuer:    "gitlab.com",
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'gitlab.com:sub':['?','**','*?','']}`,
		},
		{
			name:      "gitlab, empty list",
			issuer:    "gitlab.com",
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringEquals':{'gitlab.com:sub':[]}`,
		},
		{
			name:      "vercel, aud",
			issuer:    "oidc.vercel.com",
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringEquals':{'oidc.vercel.com:aud':'x'}`,
		},
		{"a cluster needs none", "oidc.eks.eu-west-1.amazonaws.com/id/A1", "sts:AssumeRoleWithWebIdentity", ``, ""},
		{
			name:      "google, like",
			issuer:    "accounts.google.com",
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'accounts.google.com:aud':'x*'}`,
			want:      "not scoped",
		},
		{
			name:      "google, upper case",
			issuer:    "accounts.google.com",
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringEquals':{'accounts.google.com:AUD':'x'}`,
			want:      "not scoped",
		},
		{
			name:      "google, equal",
			issuer:    "accounts.google.com",
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringEquals':{'accounts.google.com:aud':'x'}`,
		},
		{
			name:   "cognito, none",
			issuer: "cognito-identity.amazonaws.com",
			action: "sts:AssumeRoleWithWebIdentity",
			want:   "A condition block must be present for the Cognito provider",
		},
		{
			name:      "cognito, star",
			issuer:    "cognito-identity.amazonaws.com",
			action:    "sts:AssumeRoleWithWebIdentity",
			condition: `'StringLike':{'cognito-identity.amazonaws.com:aud':'*'}`,
			want:      "not scoped",
		},
	} {
		if deny := doc(`{'Effect':'Deny','Principal':{'Federated':'` + row.issuer +
			`'},'Action':'sts:*'}`); strings.Count(row.issuer, "/") == 0 {
			if _, err := policy.Parse(policy.Trust, "p", []byte(deny)); err != nil {
				t.Errorf("a Deny needs no condition: %v", err)
			}
		}
		principal := "arn:aws:iam::111122223333:oidc-provider/" + row.issuer
		if strings.HasPrefix(row.name, "google") || strings.HasPrefix(row.name, "cognito") {
			principal = row.issuer
		}
		text := doc(`{'Effect':'Allow','Principal':{'Federated':'` + principal + `'},'Action':'` + row.action +
			`','Condition':{` + row.condition + `}}`)
		_, err := policy.Parse(policy.Trust, "p", []byte(text))
		refused, isRefused := errors.AsType[*policy.SyntaxError](err)
		if isRefused != (row.want != "") ||
			(isRefused && !strings.HasSuffix(refused.Message, row.want) &&
				!strings.Contains(refused.Message, row.want)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}
