package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// TestEdgesOfLint: each rule beside what it is not about. What else is found in
// these documents does not matter here.
func TestEdgesOfLint(t *testing.T) {
	t.Parallel()
	const eks = `'Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/` + eksID + `'},`
	const pod = `{'Effect':'Allow','Principal':{'Service':'pods.eks.amazonaws.com'},'Action':'sts:AssumeRole'}`
	const others = "third-party-without-external-id"
	const never = "impossible-key"
	const foreign = "key-of-another-issuer"
	withoutDefault := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","NotResource":` +
		`"arn:aws:s3:::b/${aws:username}"}]}`
	for _, row := range []struct {
		name, rule string
		kind       policy.Kind
		text       string
		want       []finding.Severity
		fixed      string // what the first finding's suggestion makes of the text; empty for none
	}{
		{
			name: "an action without service is of none",
			rule: "unknown-service",
			text: allow(`'Action':'foo','Resource':'*'`),
		},
		{
			name: "no duration where nothing is asked for",
			rule: never,
			text: allow(`'Action':[],'Resource':'*','Condition':{'NumericLessThan':{'sts:DurationSeconds':'1'}}`),
		},
		{
			name: "no address where nobody calls",
			rule: never,
			kind: policy.Resource,
			text: allow(`'Principal':{'Service':[]},'Action':'s3:*','Resource':'*',` +
				`'Condition':{'IpAddress':{'aws:SourceIp':'10.0.0.0/8'}}`),
		},
		{
			name: "a Null has no variables",
			rule: "malformed-variable",
			text: condition(`'Null':{'aws:PrincipalTag/a':'${x'}`),
		},
		{
			name: "a malformed variable right behind another",
			rule: "malformed-variable",
			text: allow(`'Action':'s3:*','Resource':'arn:aws:s3:::b/${aws:username}${x'`),
			want: []finding.Severity{finding.Error},
		},
		{
			name: "a variable of NotResource without default",
			rule: "not-resource-variable",
			text: withoutDefault,
			want: []finding.Severity{finding.Warning},
		},
		{
			name: "a variable of NotResource with a default",
			rule: "not-resource-variable",
			text: strings.Replace(withoutDefault, "aws:username", "aws:username, \x00x\x00", 1),
		},
		{
			name: "a Null that stands first demands one key more",
			rule: "for-all-values-missing",
			text: condition(`'Null':{'a:b':'false'},'ForAllValues:StringEquals':{'aws:TagKeys':'a'}`),
			want: []finding.Severity{finding.Security},
			fixed: condition(`'Null':{'aws:TagKeys': 'false', 'a:b':'false'},` +
				`'ForAllValues:StringEquals':{'aws:TagKeys':'a'}`),
		},
		{
			name: "an unknown version is not an old one",
			rule: "old-version",
			text: strings.Replace(condition(`'Bool':{'a':'true'}`), "2012-10-17", "2012-10-18", 1),
		},
		{
			name: "empty lists of resources are not alike",
			rule: "duplicate-statement",
			text: doc(
				`{'Effect':'Allow','Action':'s3:*','Resource':[]}`,
				`{'Effect':'Allow','Action':'s3:*','Resource':[]}`,
			),
		},
		{
			name: "a principal is not like one that was not read",
			rule: "duplicate-statement",
			kind: policy.Trust,
			text: doc(
				`{'Effect':'Deny','NotPrincipal':{'AWS':'111122223333'},'Action':'sts:AssumeRole'}`,
				`{'Effect':'Deny','Principal':{'AWS':'111122223333'},'Action':'sts:AssumeRole'}`,
			),
		},
		{
			name:  "the only action is another principal's",
			rule:  "action-of-another-principal",
			kind:  policy.Trust,
			text:  allow(eks + `'Action':'sts:TagSession'`),
			want:  []finding.Severity{finding.Error},
			fixed: allow(eks + `'Action':'sts:AssumeRoleWithWebIdentity'`),
		},
		{
			name: "two actions that are none",
			rule: "action-of-another-principal",
			kind: policy.Trust,
			text: allow(eks + `'Action':['sts:TagSession','sts:SetSourceIdentity']`),
			want: []finding.Severity{finding.Error},
		},
		{
			name: "a Deny lets no pod tag its session",
			rule: "pods-without-tag-session",
			kind: policy.Trust,
			text: doc(pod, strings.NewReplacer("Allow", "Deny", "AssumeRole", "TagSession").Replace(pod)),
			want: []finding.Severity{finding.Warning},
			fixed: doc(strings.Replace(pod, "'sts:AssumeRole'", "['sts:AssumeRole', 'sts:TagSession']", 1),
				strings.NewReplacer("Allow", "Deny", "AssumeRole", "TagSession").Replace(pod)),
		},
		{
			name: "another service may tag its session",
			rule: "pods-without-tag-session",
			kind: policy.Trust,
			text: doc(pod, strings.NewReplacer("pods.eks", "ec2", "AssumeRole", "TagSession").Replace(pod)),
			want: []finding.Severity{finding.Warning},
			fixed: doc(strings.Replace(pod, "'sts:AssumeRole'", "['sts:AssumeRole', 'sts:TagSession']", 1),
				strings.NewReplacer("pods.eks", "ec2", "AssumeRole", "TagSession").Replace(pod)),
		},
		{
			name: "another statement lets pods tag their sessions",
			rule: "pods-without-tag-session",
			kind: policy.Trust,
			text: doc(pod, strings.NewReplacer("AssumeRole", "TagSession").Replace(pod)),
		},
		{
			name: "another account",
			rule: others,
			kind: policy.Trust,
			text: roleTrust(`{'AWS':'444455556666'}`),
			want: []finding.Severity{finding.Security},
		},
		{
			name: "another account's role",
			rule: others,
			kind: policy.Trust,
			text: roleTrust(`{'AWS':'` + roleTB + `'}`),
			want: []finding.Severity{finding.Security},
		},
		{name: "the own account", rule: others, kind: policy.Trust, text: roleTrust(`{'AWS':'111122223333'}`)},
		{name: "the own account's role", rule: others, kind: policy.Trust, text: roleTrust(`{'AWS':'` + roleT + `'}`)},
		{
			name:  "a broken key with a scheme, and one provider",
			rule:  "scheme-in-key",
			kind:  policy.Trust,
			text:  broken(eksID, "https://oidc.<REGION>.eks.amazonaws.com/id/A1"),
			want:  []finding.Severity{finding.Error},
			fixed: broken(eksID, eksID),
		},
		{
			name: "a key that no token brings",
			rule: never, kind: policy.Trust,
			text: webLint(`'StringEquals':{'aws:username':'a'}`),
			want: []finding.Severity{finding.Error},
		},
		{
			name: "a key that no token brings must be another",
			rule: never, kind: policy.Trust,
			text: webLint(`'StringNotEquals':{'aws:username':'a'}`),
			want: []finding.Severity{finding.Warning},
		},
		{
			name: "a key that no token brings, if it does",
			rule: never, kind: policy.Trust,
			text: webLint(`'StringEqualsIfExists':{'aws:username':'a'}`),
			want: []finding.Severity{finding.Warning},
		},
		{
			name: "a key that no token brings must be missing",
			rule: never, kind: policy.Trust,
			text: webLint(`'Null':{'aws:username':'true'}`),
			want: []finding.Severity{finding.Warning},
		},
		{
			name: "another issuer's key",
			rule: foreign, kind: policy.Trust,
			text:  webLint(`'StringEquals':{'h.example/q:sub':'a'}`),
			want:  []finding.Severity{finding.Error},
			fixed: webLint(`'StringEquals':{'h.example/p:sub':'a'}`),
		},
		{
			name: "another issuer's key must be another",
			rule: foreign, kind: policy.Trust,
			text:  webLint(`'StringNotEquals':{'h.example/q:sub':'a'}`),
			want:  []finding.Severity{finding.Warning},
			fixed: webLint(`'StringNotEquals':{'h.example/p:sub':'a'}`),
		},
		{
			name: "another issuer's key, if it is there",
			rule: foreign, kind: policy.Trust,
			text:  webLint(`'StringEqualsIfExists':{'h.example/q:sub':'a'}`),
			want:  []finding.Severity{finding.Warning},
			fixed: webLint(`'StringEqualsIfExists':{'h.example/p:sub':'a'}`),
		},
		{
			name: "another issuer's key must be missing",
			rule: foreign, kind: policy.Trust,
			text:  webLint(`'Null':{'h.example/q:sub':'true'}`),
			want:  []finding.Severity{finding.Warning},
			fixed: webLint(`'Null':{'h.example/p:sub':'true'}`),
		},
		{
			name: "all of another issuer's key, which are none",
			rule: foreign, kind: policy.Trust,
			text:  webLint(`'ForAllValues:StringEquals':{'h.example/q:sub':'a'}`),
			want:  []finding.Severity{finding.Warning},
			fixed: webLint(`'ForAllValues:StringEquals':{'h.example/p:sub':'a'}`),
		},
	} {
		quotes := strings.NewReplacer("'", `"`, "\x00", "'")
		text := quotes.Replace(row.text)
		options := policy.LintOptions{Account: roleAccount, Role: &policy.RoleFacts{}}
		if row.kind != policy.Trust {
			options = policy.LintOptions{}
		}
		var found []finding.Finding
		for _, f := range policy.Lint(row.kind, "p", []byte(text), options) {
			if f.Rule == row.rule {
				found = append(found, f)
			}
		}
		if len(found) != len(row.want) {
			t.Errorf("%s: %d times %s: %+v", row.name, len(found), row.rule, found)
			continue
		}
		for i := range found {
			if found[i].Severity != row.want[i] {
				t.Errorf("%s: %s is of severity %s", row.name, row.rule, found[i].Severity)
			}
		}
		switch {
		case len(found) == 0:
		case row.fixed == "" && found[0].Suggested != nil:
			t.Errorf("%s: suggests %s", row.name, found[0].Suggested.Edit.Apply(text))
		case row.fixed != "" && (found[0].Suggested == nil ||
			found[0].Suggested.Edit.Apply(text) != quotes.Replace(row.fixed)):
			t.Errorf("%s: suggests %+v, want %s", row.name, found[0].Suggested, row.fixed)
		}
	}
}

// roleEdges are further rows of TestLintRole.
var roleEdges = []roleRow{
	{
		name: "a Deny beside one of another",
		facts: everyFact(func(o *policy.LintOptions) {
			o.Role.Subjects = []string{"system:serviceaccount:a:b"}
		}),
		text: doc(
			`{'Effect':'Allow',`+web+`,'Condition':{`+goodConds+`}}`,
			`{'Effect':'Deny',`+web+`,'Condition':{'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:c'}}}`,
			`{'Effect':'Deny',`+web+`,'Condition':{'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'}}}`,
		),
		want: []string{"error explicit-deny"},
		fixed: doc(
			`{'Effect':'Allow',`+web+`,'Condition':{`+goodConds+`}}`,
			`{'Effect':'Deny',`+web+`,'Condition':{'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:c'}}}`,
		),
		manual: true,
	},
	{
		name:  "a slip in the issuer, and a key that belongs to no issuer",
		facts: everyFact(func(o *policy.LintOptions) { o.Role.Issuers = []string{"h.example/q"} }),
		text:  webLint(goodConds + `,'IpAddress':{'aws:SourceIp':'10.0.0.0/8'}`),
		want:  []string{"error provider-of-another-issuer"},
		fixed: strings.ReplaceAll(webLint(goodConds+`,'IpAddress':{'aws:SourceIp':'10.0.0.0/8'}`), "h.example/p",
			"h.example/q"),
		says: "theirs come from h.example/q (1 character differs)",
	},
	{
		name: "another audience, and nothing registered",
		facts: everyFact(func(o *policy.LintOptions) {
			o.Role.Audience, o.Role.Registered, o.Role.Subjects = "other", nil, nil
		}),
		text:  webLint(goodConds),
		want:  []string{"error aud-mismatch"},
		fixed: strings.Replace(webLint(goodConds), "sts.amazonaws.com", "other", 1),
		says:  "the provider registers unknown,",
	},
	{
		name: "the same audience, and nothing registered",
		facts: everyFact(func(o *policy.LintOptions) {
			o.Role.Registered = nil
		}),
		text: webLint(goodConds),
	},
	{
		name: "an audience that is not registered",
		facts: everyFact(func(o *policy.LintOptions) {
			o.Role.Registered = []string{"other"}
		}),
		text: webLint(goodConds),
		want: []string{"error audience-not-registered"},
		says: `the provider registers ["other"],`,
	},
	{
		name: "a pod that runs as default",
		facts: everyFact(func(o *policy.LintOptions) {
			o.Role.Subjects = []string{"system:serviceaccount:a:default"}
		}),
		text: webLint(goodConds),
		want: []string{"error subject-refused"},
		fixed: strings.Replace(webLint(goodConds), `"system:serviceaccount:a:b"`,
			`["system:serviceaccount:a:b", "system:serviceaccount:a:default"]`, 1),
		manual: true,
		says:   "system:serviceaccount:a:default of h.example/p is not let in: ",
	},
}

// TestVersionsAreFaultedOnce: what is refused for its version is not warned of as well.
func TestVersionsAreFaultedOnce(t *testing.T) {
	t.Parallel()
	good := allow(`'Action':'s3:Get*','Resource':'arn:aws:s3:::b/*'`)
	for _, row := range []struct {
		name, written string
		managed       bool
		want          finding.Severity
	}{
		{"none", ``, false, finding.Warning},
		{"an old one", `"Version":"2008-10-17",`, false, finding.Warning},
		{"an unknown one", `"Version":"2012-10-18",`, false, finding.Error},
		{"none of a managed policy", ``, true, finding.Error},
		{"an old one of a managed policy", `"Version":"2008-10-17",`, true, finding.Error},
	} {
		text := strings.Replace(good, `"Version":"2012-10-17",`, row.written, 1)
		found := policy.Lint(policy.Identity, "p", []byte(text), policy.LintOptions{Managed: row.managed})
		if len(found) != 1 || found[0].Severity != row.want {
			t.Errorf("%s: %+v", row.name, found)
		}
	}
}

// TestCoveredStatements: each statement that another one makes superfluous is found.
func TestCoveredStatements(t *testing.T) {
	t.Parallel()
	one := func(action, resource string) string {
		return `{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`
	}
	all := one("s3:Get*", "arn:aws:s3:::b/*")
	for _, row := range []struct {
		statements []string
		want       []string
	}{
		{
			[]string{all, one("s3:GetObject", "arn:aws:s3:::b/x"), one("s3:GetObjectAcl", "arn:aws:s3:::b/y")},
			[]string{"covered-statement", "covered-statement"},
		},
		{[]string{one("s3:GetObject", "arn:aws:s3:::b/x"), all, all}, []string{"covered-statement", "duplicate-statement"}},
		{[]string{all, one("sqs:GetQueueUrl", "arn:aws:sqs:::b/x")}, nil},
		{[]string{one("s3:GetObject", "arn:aws:s3:*:b/*"), one("s3:GetObject", "arn:aws:s3:::b/x")}, nil},
	} {
		var got []string
		text := `{"Version":"2012-10-17","Statement":[` + strings.Join(row.statements, ",") + `]}`
		for _, f := range policy.Lint(policy.Identity, "p", []byte(text), policy.LintOptions{}) {
			if strings.HasSuffix(f.Rule, "-statement") {
				got = append(got, f.Rule)
			}
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", text, got, row.want)
		}
	}
}
