package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// lintRow is a document and the only findings it has, as severity and rule.
type lintRow struct {
	name string
	kind policy.Kind
	text string // ' for "
	want []string
	// fixed is what the first suggestion makes of the text; empty for none.
	fixed string
}

const web = `'Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/h.example/p'},` +
	`'Action':'sts:AssumeRoleWithWebIdentity'`

func allow(rest string) string { return doc(`{'Effect':'Allow',` + rest + `}`) }

func condition(text string) string {
	return allow(`'Action':'s3:*','Resource':'*','Condition':{` + text + `}`)
}

func webLint(text string) string { return allow(web + `,'Condition':{` + text + `}`) }

var lintRows = []lintRow{
	{name: "nothing", text: allow(`'Action':'s3:Get*','Resource':'arn:aws:s3:::b/${aws:username}/*'`)},
	{
		name: "nothing, IRSA",
		kind: policy.Trust,
		text: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b',` +
			`'h.example/p:aud':'sts.amazonaws.com'}`),
	},
	{
		name: "nothing, Pod Identity",
		kind: policy.Trust,
		text: allow(`'Principal':{'Service':'pods.eks.amazonaws.com'},'Action':['sts:AssumeRole','sts:TagSession'],` +
			`'Condition':{'StringEquals':{'aws:SourceAccount':'111122223333'}}`),
	},

	// errors
	{
		name:  "several faults",
		text:  doc(`{'Effect':'allow','Action':'s3','Resource':'b'}`),
		want:  []string{"error effect-case", "error action-without-service", "error resource-not-arn"},
		fixed: doc(`{'Effect':'Allow','Action':'s3','Resource':'b'}`),
	},
	{name: "NullIfExists", text: condition(`'NullIfExists':{'a':'true'}`), want: []string{"error bad-structure"}},
	{
		name: "variable in an old version",
		text: strings.Replace(allow(`'Action':'s3:*','Resource':'arn:aws:s3:::${aws:username}'`), "2012", "2008", 1),
		want: []string{"error variable-in-old-version"},
	},
	{
		name: "malformed variable",
		text: allow(`'Action':'s3:*','Resource':'arn:aws:s3:::${ aws:username}'`),
		want: []string{"error malformed-variable"},
	},
	{
		name: "malformed variable in a condition",
		text: condition(`'StringEquals':{'aws:username':'${a'}`),
		want: []string{"error malformed-variable"},
	},
	{
		name: "Allow with NotPrincipal",
		kind: policy.Resource,
		text: allow(`'NotPrincipal':{'AWS':'111122223333'},'Action':'s3:*','Resource':'*'`),
		want: []string{"error allow-not-principal"},
	},
	{
		name: "values in a session policy",
		kind: policy.Session,
		text: condition(`'NumericEquals':{'a':'x'},'ArnLike':{'b':'x'},'IpAddress':{'c':'2001:db8::5/64'},` +
			`'DateEquals':{'d':'x'}`),
		want: []string{"error bad-value", "error bad-value", "error bad-value", "error bad-value"},
	},
	{
		name:  "no set operator",
		text:  condition(`'StringEquals':{'aws:TagKeys':'a'}`),
		want:  []string{"error needs-set-operator"},
		fixed: condition(`'ForAnyValue:StringEquals':{'aws:TagKeys':'a'}`),
	},
	{
		name:  "en dash",
		text:  strings.Replace(allow(`'Action':'s3:*','Resource':'*'`), "2012-10-17", "2012\u201310\u201317", 1),
		want:  []string{"error unusual-character"},
		fixed: allow(`'Action':'s3:*','Resource':'*'`),
	},
	{
		name:  "no-break space",
		text:  condition(`'StringEquals':{'a':'x` + "\u00a0" + `y'}`),
		want:  []string{"error unusual-character"},
		fixed: condition(`'StringEquals':{'a':'x y'}`),
	},
	{
		name:  "curly quote in a text",
		text:  condition(`'StringEquals':{'a':'x` + "\u201c" + `y'}`),
		want:  []string{"error unusual-character"},
		fixed: condition(`'StringEquals':{'a':'x\'y'}`),
	},
	{
		name:  "line separator in a text",
		text:  condition(`'StringEquals':{'a':'x\\` + "\u2028" + `y'}`),
		want:  []string{"error unusual-character"},
		fixed: condition(`'StringEquals':{'a':'x\\\ny'}`),
	},
	{
		name:  "escaped quote and a dash",
		text:  condition(`'StringEquals':{'a':'x\'` + "\u2013" + `y'}`),
		want:  []string{"error unusual-character"},
		fixed: condition(`'StringEquals':{'a':'x\'-y'}`),
	},
	{name: "empty list", text: condition(`'StringEquals':{'a':[]}`), want: []string{"error empty-list"}},
	{
		name: "RCP that allows",
		kind: policy.RCP,
		text: allow(`'Principal':'*','Action':'s3:*','Resource':'*'`),
		want: []string{"error control-policy-grammar"},
	},
	{
		name: "wildcard service",
		kind: policy.Resource,
		text: allow(`'Principal':{'AWS':'111122223333'},'Action':'s*:Get*','Resource':'*'`),
		want: []string{"error action-bad-service", "error wildcard-in-service"},
	},
	{name: "placeholder", text: condition(`'StringEquals':{'a':'<VALUE>'}`), want: []string{"error placeholder"}},
	{
		name: "placeholder in capitals",
		kind: policy.Trust,
		text: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:NAMESPACE:SA_NAME'}`),
		want: []string{"warning web-identity-without-aud", "error placeholder", "error placeholder"},
	},
	{name: "capitals that are no placeholder", text: condition(`'StringEquals':{'aws:PrincipalTag/TEAM':'RED_TEAM'}`)},
	{
		name: "placeholder for an account",
		kind: policy.Trust,
		text: strings.Replace(webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'}`), "111122223333",
			"AWS_ACCOUNT", 1),
		want: []string{"error bad-federated", "warning web-identity-without-aud"},
	},
	{name: "unknown operator, empty", text: condition(`'StringEqual':{}`), want: []string{"error unknown-operator"}},
	{
		name:  "seed 000: key outside of an operator",
		kind:  policy.Trust,
		text:  webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'},'h.example/p:aud':'test'`),
		want:  []string{"warning web-identity-without-aud", "error bad-structure"},
		fixed: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b', 'h.example/p:aud':'test'}`),
	},
	{
		name:  "key before its operator",
		text:  condition(`'a:sub':'x', 'Bool':{'a':'true'}, 'StringEquals':{'b':'c'}`),
		want:  []string{"error bad-structure"},
		fixed: condition(`'Bool':{'a':'true'}, 'StringEquals':{'a:sub':'x', 'b':'c'}`),
	},
	{
		name:  "key without an operator",
		text:  condition(`'a:sub':'x'`),
		want:  []string{"error bad-structure"},
		fixed: condition(`'StringEquals': {'a:sub':'x'}`),
	},
	{
		name: "key and an operator that holds none",
		text: condition(`'a:sub':'x','StringEquals':'y'`),
		want: []string{"error bad-structure", "error bad-structure"},
	},
	{
		name: "over quota",
		kind: policy.SCP,
		text: allow(`'Action':'s3:*','Resource':'*'`) + strings.Repeat(" ", 5120),
		want: []string{"error over-quota"},
	},

	// security
	{
		name: "no subject",
		kind: policy.Trust,
		text: allow(web),
		want: []string{"security web-identity-without-sub", "warning web-identity-without-aud"},
		fixed: allow(web +
			`, 'Condition': {'StringEquals': {'h.example/p:sub': 'system:serviceaccount:NAMESPACE:NAME'}}`),
	},
	{
		name: "seed 004: audience only",
		kind: policy.Trust,
		text: webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'}`),
		want: []string{"security web-identity-without-sub"},
		fixed: webLint(`'StringEquals':{'h.example/p:sub': 'system:serviceaccount:NAMESPACE:NAME', ` +
			`'h.example/p:aud':'sts.amazonaws.com'}`),
	},
	{
		name: "no subject, other operator",
		kind: policy.Trust,
		text: webLint(`'StringLike':{'h.example/p:aud':'sts.*'}`),
		want: []string{"security web-identity-without-sub", "security aud-wildcard"},
		fixed: webLint(`'StringEquals': {'h.example/p:sub': 'system:serviceaccount:NAMESPACE:NAME'}, 'StringLike':{` +
			`'h.example/p:aud':'sts.*'}`),
	},
	{
		name: "every namespace",
		kind: policy.Trust,
		text: webLint(`'StringLike':{'h.example/p:sub':'system:serviceaccount:*'}`),
		want: []string{"warning web-identity-without-aud", "security sub-any-namespace"},
	},
	{
		name: "every namespace, one name",
		kind: policy.Trust,
		text: webLint(`'StringLike':{'h.example/p:sub':'system:serviceaccount:*:app'}`),
		want: []string{"warning web-identity-without-aud", "security sub-any-namespace"},
	},
	{
		name: "every namespace, from the start",
		kind: policy.Trust,
		text: webLint(`'StringLike':{'h.example/p:sub':'*:app'}`),
		want: []string{"warning web-identity-without-aud", "security sub-any-namespace"},
	},
	{
		name: "one namespace, from the start",
		kind: policy.Trust,
		text: webLint(`'StringLike':{'h.example/p:sub':'*:a:app'}`), want: []string{"warning web-identity-without-aud"},
	},
	{
		name: "no namespace",
		kind: policy.Trust,
		text: webLint(`'StringLike':{'h.example/p:sub':'system:serviceaccount::app'}`),
		want: []string{"warning web-identity-without-aud", "error subject-slip"},
	},
	{
		name: "everything",
		kind: policy.Trust,
		text: webLint(`'StringLike':{'h.example/p:sub':'*'}`),
		want: []string{"warning web-identity-without-aud", "security sub-any-namespace"},
	},
	{
		name: "one namespace",
		kind: policy.Trust,
		text: webLint(`'StringLike':{'h.example/p:sub':'system:serviceaccount:a:*'}`), want: []string{"warning web-identity-without-aud"},
	},
	{
		name:  "ForAllValues on sub",
		kind:  policy.Trust,
		text:  webLint(`'ForAllValues:StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'}`),
		want:  []string{"warning web-identity-without-aud", "security for-all-values-single"},
		fixed: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'}`),
	},
	{
		name:  "ForAllValues without the key",
		text:  condition(`'ForAllValues:StringEquals':{'aws:TagKeys':'a'}`),
		want:  []string{"security for-all-values-missing"},
		fixed: condition(`'Null': {'aws:TagKeys': 'false'}, 'ForAllValues:StringEquals':{'aws:TagKeys':'a'}`),
	},
	{
		name: "ForAllValues with Null",
		text: condition(`'ForAllValues:StringEquals':{'aws:TagKeys':'a'},'Null':{'aws:TagKeys':'false'}`),
	},
	{
		name: "anybody",
		kind: policy.Trust,
		text: allow(`'Principal':{'AWS':'*'},'Action':'sts:AssumeRole'`),
		want: []string{"security trust-anybody"},
	},
	{
		name: "anybody of the organisation",
		kind: policy.Trust,
		text: allow(`'Principal':{'AWS':'*'},'Action':'sts:AssumeRole','Condition':{'StringEquals':{` +
			`'aws:PrincipalOrgID':'o-1'}}`),
	},
	{
		name: "service",
		kind: policy.Trust,
		text: allow(`'Principal':{'Service':'x.amazonaws.com'},'Action':'sts:AssumeRole'`),
		want: []string{"security service-without-source"},
	},
	{
		name: "service of instances",
		kind: policy.Trust,
		text: allow(`'Principal':{'Service':'ec2.amazonaws.com'},'Action':'sts:AssumeRole'`),
	},
	{name: "PassRole", text: allow(`'Action':'iam:Pass*','Resource':'*'`), want: []string{"security pass-role-any"}},
	{
		name: "PassRole to a service",
		text: allow(`'Action':'iam:PassRole','Resource':'*','Condition':{'StringEquals':{` +
			`'iam:PassedToService':'ec2.amazonaws.com'}}`),
	},
	{
		name: "Deny that a missing key escapes",
		text: doc(`{'Effect':'Deny','Action':'s3:*','Resource':'*','Condition':{'Bool':{` +
			`'aws:MultiFactorAuthPresent':'false'}}}`),
		want: []string{"security deny-escaped"},
		fixed: doc(`{'Effect':'Deny','Action':'s3:*','Resource':'*','Condition':{'BoolIfExists':{` +
			`'aws:MultiFactorAuthPresent':'false'}}}`),
	},
	{
		name: "Deny on a key that is always there",
		text: doc(`{'Effect':'Deny','Action':'s3:*','Resource':'*','Condition':{'Bool':{` +
			`'aws:SecureTransport':'false'}}}`),
	},

	// warnings
	{
		name: "no version",
		text: `{'Statement':{'Effect':'Allow','Action':'s3:*','Resource':'*'}}`,
		want: []string{"warning no-version"},
	},
	{
		name: "old version",
		text: strings.Replace(allow(`'Action':'s3:*','Resource':'*'`), "2012", "2008", 1),
		want: []string{"warning old-version"},
	},
	{
		name:  "wildcard under equality",
		text:  condition(`'StringNotEquals':{'a':'x*'}`),
		want:  []string{"warning wildcard-without-like"},
		fixed: condition(`'StringNotLike':{'a':'x*'}`),
	},
	{name: "escaped wildcard", text: condition(`'StringEquals':{'a':'x${*}'}`)},
	{
		name: "duration",
		kind: policy.Trust,
		text: allow(`'Principal':{'AWS':'arn:aws:iam::111122223333:role/a'},'Action':'sts:AssumeRole','Condition':{` +
			`'NumericLessThan':{'sts:DurationSeconds':'3600'}}`),
		want: []string{"error impossible-key"},
	},
	{
		name: "a claim that is no key",
		kind: policy.Trust,
		text: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b',` +
			`'h.example/p:kubernetes.io/namespace':'a'}`),
		want: []string{"warning web-identity-without-aud", "error impossible-key"},
	},
	{
		name: "a key web identities do not have",
		kind: policy.Trust,
		text: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'},'ArnLike':{` +
			`'aws:PrincipalArn':'*'}`),
		want: []string{"warning web-identity-without-aud", "error impossible-key"},
	},
	{
		name: "seed 000: another issuer's key",
		kind: policy.Trust,
		text: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'},'StringLike':{` +
			`'h.example/q:sub':'system:serviceaccount:a:*'}`),
		want: []string{"warning web-identity-without-aud", "error key-of-another-issuer"},
		fixed: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'},'StringLike':{` +
			`'h.example/p:sub':'system:serviceaccount:a:*'}`),
	},
	{
		name:  "web identity with AssumeRole",
		kind:  policy.Trust,
		text:  strings.Replace(allow(web), "WithWebIdentity", "", 1),
		want:  []string{"error action-of-another-principal"},
		fixed: allow(web),
	},
	{
		name: "service with web identity's action",
		kind: policy.Trust,
		text: allow(`'Principal':{'Service':'x.amazonaws.com'},'Action':'sts:AssumeRoleWithWebIdentity',` +
			`'Condition':{'StringEquals':{'aws:SourceAccount':'111122223333'}}`),
		want: []string{"error action-of-another-principal"},
	},
	{
		name: "Pod Identity without TagSession",
		kind: policy.Trust,
		text: allow(`'Principal':{'Service':'pods.eks.amazonaws.com'},'Action':'sts:AssumeRole','Condition':{` +
			`'StringEquals':{'aws:SourceAccount':'111122223333'}}`),
		want: []string{"warning pods-without-tag-session"},
	},
	{
		name: "near quota",
		kind: policy.SCP,
		text: allow(`'Action':'s3:*','Resource':'*'`) + strings.Repeat(" ", 4900),
		want: []string{"warning near-quota"},
	},
	{
		name: "duplicate statements",
		text: doc(`{'Effect':'Allow','Action':'s3:*','Resource':'*'}`,
			`{'Effect':'Allow','Action':'s3:*','Resource':'*'}`),
		want: []string{"warning duplicate-statement"},
	},
	{
		name: "covered statement",
		text: doc(`{'Effect':'Allow','Action':'s3:Get*','Resource':'arn:aws:s3:::b/x/*'}`,
			`{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::b/*'}`),
		want: []string{"warning covered-statement"},
	},
	{
		name: "statements that are not covered",
		text: doc(`{'Effect':'Allow','Action':'s3:Get*','Resource':'arn:aws:s3:::b/*'}`,
			`{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::b/?'}`, `{'Effect':'Deny','Action':'s3:`+
				`Get*','Resource':'*'}`),
	},
	{
		name: "covered under the same condition",
		text: doc(`{'Effect':'Allow','Action':'s3:*','Resource':'*','Condition':{'StringEquals':{'a':['b','c']}}}`,
			`{'Effect':'Allow','Action':'s3:Get*','Resource':'*','Condition':{'StringEquals':{'A':['b','c']}}}`),
		want: []string{"warning covered-statement"},
	},
	{
		name: "not covered under another condition",
		text: doc(`{'Effect':'Allow','Action':'s3:*','Resource':'*','Condition':{'StringEquals':{'a':'b'}}}`,
			`{'Effect':'Allow','Action':'s3:Get*','Resource':'*','Condition':{'StringEquals':{'a':'c'}}}`),
	},
	{
		name: "address of a service",
		kind: policy.Trust,
		text: allow(`'Principal':{'Service':'x.amazonaws.com'},'Action':'sts:AssumeRole','Condition':{` +
			`'StringEquals':{'aws:SourceAccount':'111122223333'},'IpAddress':{'aws:SourceIp':'10.0.0.0/8'}}`),
		want: []string{"error impossible-key"},
	},
	{
		name: "SAML",
		kind: policy.Trust,
		text: allow(`'Principal':{'Federated':'arn:aws:iam::111122223333:saml-provider/p'},` +
			`'Action':'sts:AssumeRoleWithSAML'`),
		want: []string{"security saml-without-audience"},
		fixed: allow(`'Principal':{'Federated':'arn:aws:iam::111122223333:saml-provider/p'},` +
			`'Action':'sts:AssumeRoleWithSAML', 'Condition': {'StringEquals': {'SAML:aud': ` +
			`'https://signin.aws.amazon.com/saml'}}`),
	},
	{
		name: "SAML with web identity's action",
		kind: policy.Trust,
		text: allow(`'Principal':{'Federated':'arn:aws:iam::111122223333:saml-provider/p'},` +
			`'Action':'sts:AssumeRoleWithWebIdentity'`),
		want: []string{"error action-of-another-principal"},
		fixed: allow(`'Principal':{'Federated':'arn:aws:iam::111122223333:saml-provider/p'},` +
			`'Action':'sts:AssumeRoleWithSAML'`),
	},
	{
		name:  "a role with web identity's action",
		kind:  policy.Trust,
		text:  allow(`'Principal':{'AWS':'arn:aws:iam::111122223333:role/a'},'Action':'sts:AssumeRoleWithWebIdentity'`),
		want:  []string{"error action-of-another-principal"},
		fixed: allow(`'Principal':{'AWS':'arn:aws:iam::111122223333:role/a'},'Action':'sts:AssumeRole'`),
	},
	{
		name: "Pod Identity, TagSession in another statement",
		kind: policy.Trust,
		text: doc(`{'Effect':'Allow','Principal':{'Service':'pods.eks.amazonaws.com'},'Action':'sts:AssumeRole',`+
			`'Condition':{'StringEquals':{'aws:SourceAccount':'111122223333'}}}`, `{'Effect':'Allow','Principal':{`+
			`'Service':'pods.eks.amazonaws.com'},'Action':'sts:TagSession','Condition':{'StringEquals':{`+
			`'aws:SourceAccount':'111122223333'}}}`),
	},
	{
		name: "unknown service",
		text: allow(`'Action':'sss:Get*','Resource':'*'`),
		want: []string{"warning unknown-service"},
	},
	{
		name:  "nearly a service",
		text:  allow(`'Action':'dynamdb:Get*','Resource':'*'`),
		want:  []string{"warning unknown-service"},
		fixed: allow(`'Action':'dynamodb:Get*','Resource':'*'`),
	},
	{name: "empty operator", text: condition(`'StringEquals':{}`), want: []string{"warning empty-operator"}},
	{name: "empty condition", text: condition(``), want: []string{"warning empty-condition"}},
	{
		name: "null among resources",
		text: allow(`'Action':'s3:*','Resource':['*',null]`),
		want: []string{"warning null-resource"},
	},
	{
		name:  "operator's letter case",
		text:  condition(`'stringequals':{'a':'b'}`),
		want:  []string{"warning letter-case"},
		fixed: condition(`'StringEquals':{'a':'b'}`),
	},
	{
		name:  "service's letter case",
		text:  allow(`'Action':'S3:*','Resource':'*'`),
		want:  []string{"warning letter-case"},
		fixed: allow(`'Action':'s3:*','Resource':'*'`),
	},
	{
		name:  "ARN's letter case",
		text:  allow(`'Action':'s3:*','Resource':'arn:aws:S3:::b/K'`),
		want:  []string{"warning letter-case"},
		fixed: allow(`'Action':'s3:*','Resource':'arn:aws:s3:::b/K'`),
	},
	{name: "neither true nor false", text: condition(`'Bool':{'a':'yes'}`), want: []string{"warning bool-value"}},
	{
		name:  "IfExists with a set prefix",
		text:  condition(`'ForAnyValue:StringEqualsIfExists':{'aws:TagKeys':'a'}`),
		want:  []string{"warning if-exists-with-set"},
		fixed: condition(`'ForAnyValue:StringEquals':{'aws:TagKeys':'a'}`),
	},
	{
		name:  "set prefix before Null",
		text:  condition(`'ForAnyValue:Null':{'aws:TagKeys':'true'}`),
		want:  []string{"warning set-operator-null"},
		fixed: condition(`'Null':{'aws:TagKeys':'true'}`),
	},
	{
		name: "Id",
		text: `{'Version':'2012-10-17','Id':'x','Statement':{'Effect':'Allow','Action':'s3:*','Resource':'*'}}`,
		want: []string{"warning id"},
	},
	{
		name: "blank in an action",
		text: allow(`'Action':'s3:Get Object','Resource':'*'`),
		want: []string{"warning blank-in-action"},
	},
	{
		name:  "blank around an action",
		text:  allow(`'Action':' s3:GetObject','Resource':'*'`),
		want:  []string{"warning blank-around-action"},
		fixed: allow(`'Action':'s3:GetObject','Resource':'*'`),
	},
	{
		name: "NotResource with a variable",
		text: allow(`'Action':'s3:*','NotResource':'arn:aws:s3:::${aws:username}'`),
		want: []string{"warning not-resource-variable"},
	},
	{
		name: "Deny with NotPrincipal",
		kind: policy.Resource,
		text: doc(`{'Effect':'Deny','NotPrincipal':{'AWS':'111122223333'},'Action':'s3:*','Resource':'*'}`),
		want: []string{"warning deny-not-principal"},
	},
	{
		name: "resource policy without principal",
		kind: policy.Resource,
		text: allow(`'Action':'s3:*','Resource':'*'`),
		want: []string{"warning no-principal"},
	},
	{
		name: "trust with an action that assumes no role",
		kind: policy.Trust,
		text: allow(`'Principal':{'AWS':'arn:aws:iam::111122223333:role/a'},'Action':['sts:AssumeRole',` +
			`'sts:GetCallerIdentity']`),
		want: []string{"warning unknown-trust-action"},
	},
}

// TestLintEdits: every suggested edit leaves a document that is read, if it was
// one before, and removes its finding.
func TestLintEdits(t *testing.T) {
	t.Parallel()
	rows := append(slices.Clone(lintRows), []lintRow{
		{name: "Like is there", text: condition(`'StringEquals':{'a':'x*'},'StringLike':{'b':'y'}`)},
		{name: "Null is there", text: condition(`'ForAllValues:StringEquals':{'aws:TagKeys':'x'},'Null':{'b':'true'}`)},
		{
			name: "Null of the key is there",
			text: condition(`'ForAllValues:StringEquals':{'aws:TagKeys':'x'},'Null':{'aws:TagKeys':'true'}`),
		},
		{name: "Null is empty", text: condition(`'ForAllValues:StringEquals':{'aws:TagKeys':'x'},'Null':{}`)},
		{
			name: "ForAnyValue is there",
			text: condition(`'StringEquals':{'aws:TagKeys':'x'},'ForAnyValue:StringEquals':{'aws:TagKeys':'y'}`),
		},
		{
			name: "two keys need other operators",
			text: condition(`'ForAllValues:StringEquals':{'aws:TagKeys':'x','aws:username':'y'},'Null':{` +
				`'aws:TagKeys':'false'}`),
		},
		{
			name: "two spellings",
			text: condition(`'stringequals':{'a':'x'},'StringEquals':{'b':'y'},'null':{'c':'true'}`),
		},
		{
			name: "IfExists is there without",
			text: condition(`'ForAnyValue:StringEqualsIfExists':{'aws:TagKeys':'x'},'ForAnyValue:StringEquals':{` +
				`'aws:CalledVia':'y'}`),
		},
		{
			name: "BoolIfExists is there",
			text: doc(`{'Effect':'Deny','Action':'s3:*','Resource':'*','Condition':{'Bool':{'a':'true'},` +
				`'BoolIfExists':{'b':'true'}}}`),
		},
		{
			name: "an empty StringEquals",
			kind: policy.Trust,
			text: webLint(`'StringEquals':{},'StringLike':{'h.example/p:aud':'sts.*'}`),
		},
	}...)
	for _, row := range rows {
		text := strings.ReplaceAll(row.text, "'", `"`)
		_, err := policy.Parse(row.kind, "p", []byte(text))
		for _, f := range policy.Lint(row.kind, "p", []byte(text), policy.LintOptions{}) {
			if f.Suggested == nil {
				continue
			}
			edited := f.Suggested.Edit.Apply(text)
			if _, after := policy.Parse(row.kind, "p", []byte(edited)); err == nil && after != nil {
				t.Errorf("%s: %s gives %s: %v", row.name, f.Rule, edited, after)
			}
			if slices.ContainsFunc(policy.Lint(row.kind, "p", []byte(edited), policy.LintOptions{}),
				func(left finding.Finding) bool {
					return left.Message == f.Message && left.Column == f.Column
				}) {
				t.Errorf("%s: %s is still there in %s", row.name, f.Rule, edited)
			}
		}
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	quotes := strings.NewReplacer("'", `"`)
	for _, row := range lintRows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text := quotes.Replace(row.text)
			findings := policy.Lint(row.kind, "p", []byte(text), policy.LintOptions{})
			var got []string
			for _, f := range findings {
				got = append(got, string(f.Severity)+" "+f.Rule)
				if f.Line != 1 || f.Column < 1 || f.Message == "" {
					t.Errorf("%+v has no place or reason", f)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Fatalf("%s:\n got %v\nwant %v\n%+v", text, got, row.want, findings)
			}
			if row.fixed == "" {
				return
			}
			// That of the audience, which most rows leave out, is not the row's.
			i := slices.IndexFunc(findings, func(f finding.Finding) bool { return f.Rule != "web-identity-without-aud" })
			fix := findings[max(i, 0)].Suggested
			if fix == nil || fix.Edit.Apply(text) != quotes.Replace(row.fixed) ||
				fix.Old != text[fix.Edit.Start:fix.Edit.End] {
				t.Errorf("suggestion %+v, want %s", fix, row.fixed)
			}
		})
	}
}

// TestStrayKeysKeepEachOther: an edit for one key outside of an operator leaves
// the others.
func TestStrayKeysKeepEachOther(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(condition(`'StringEquals':{'b':'c'}, 'a:sub':'x', 'a:aud':'y'`), "'", `"`)
	findings := policy.Lint(policy.Identity, "p", []byte(text), policy.LintOptions{})
	want := strings.ReplaceAll(condition(`'StringEquals':{'b':'c', 'a:aud':'y'}, 'a:sub':'x'`), "'", `"`)
	if len(findings) != 2 || findings[1].Suggested.Edit.Apply(text) != want {
		t.Errorf("%+v, want %s", findings, want)
	}
}

// TestLintAccount: whose account another one is, no document says.
func TestLintAccount(t *testing.T) {
	t.Parallel()
	text := []byte(roleTrust(`{'AWS':'arn:aws:iam::444455556666:root'}`))
	text = []byte(strings.ReplaceAll(string(text), "'", `"`))
	if got := policy.Lint(policy.Trust, "p", text, policy.LintOptions{}); len(got) != 0 {
		t.Errorf("without an account: %+v", got)
	}
	got := policy.Lint(policy.Trust, "p", text, policy.LintOptions{Account: "111122223333"})
	if len(got) != 1 || got[0].Rule != "third-party-without-external-id" {
		t.Errorf("with an account: %+v", got)
	}
}

func TestGuessKind(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]policy.Kind{
		allow(`'Action':'sts:AssumeRole','Resource':'*'`): policy.Identity,
		allow(web): policy.Trust,
		allow(`'Principal':'*','Action':['sts:AssumeRole','sts:TagSession']`): policy.Trust,
		allow(`'Principal':'*','Action':'ecr:BatchGetImage'`):                 policy.Resource,
		allow(`'Principal':'*','Action':'s3:*','Resource':'*'`):               policy.Resource,
		allow(`'Principal':{'AWS':'*'},'Action':['ecr:BatchGetImage']`):       policy.Resource,
		// What keeps a trust policy from being one, is said of it as one.
		allow(strings.Replace(web, "sts:AssumeRoleWith", "AssumeRoleWith", 1)):                         policy.Trust,
		allow(web + `,'Resource':'*'`):                                                                 policy.Trust,
		allow(`'Principal':{'Service':'ec2.amazonaws.com'},'Action':'sts:AssumeRole','Resource':'*'`):  policy.Trust,
		allow(`'Principal':{'AWS':'*'},'Action':['s3:GetObject','sts:AssumeRole']`):                    policy.Trust,
		allow(`'Principal':{'AWS':'111122223333'},'Action':'*'`):                                       policy.Trust,
		allow(`'Principal':'*','Action':'sts:*','Resource':'*'`):                                       policy.Resource,
		allow(`'Principal':{'AWS':'111122223333'},'Action':'sts:AssumeRole','Resource':'*'`):           policy.Trust,
		allow(`'Principal':{'AWS':'*'},'Action':'sts:AssumeRole','Resource':'*'`):                      policy.Resource,
		allow(`'Principal':'*','Action':'sts:AssumeRole','Resource':'*'},{` + web):                     policy.Trust,
		allow(`'Principal':'*','Action':['sts:AssumeRole','s3:*'],'Resource':'*'`):                     policy.Resource,
		allow(`'Principal':{'Service':'sns.amazonaws.com'},'Action':'sqs:SendMessage','Resource':'*'`): policy.Resource,
		`[]`: policy.Identity, `{`: policy.Identity, `{"Statement":[1,{"Action":[{}]}]}`: policy.Identity,
	} {
		if got := policy.GuessKind([]byte(strings.ReplaceAll(text, "'", `"`))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
