package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

const (
	roleAccount = "111122223333"
	goodConds   = `'StringEquals':{'h.example/p:aud':'sts.amazonaws.com','h.example/p:sub':'system:serviceaccount:a:b'}`
	eksHead     = `'Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/`
	webAction   = `'},'Action':'sts:AssumeRoleWithWebIdentity'`
)

const eksID = "oidc.eks.eu-west-1.amazonaws.com/id/A1"

// broken is a document whose provider and condition key name their issuers.
func broken(provider, key string) string {
	return allow(eksHead + provider + webAction + `,'Condition':{'StringEquals':{'` + key +
		`:sub':'system:serviceaccount:a:b'}}`)
}

// everyFact is all that can be known of a role that webLint's good document fits.
func everyFact(edits ...func(*policy.LintOptions)) policy.LintOptions {
	options := policy.LintOptions{Account: roleAccount, Role: &policy.RoleFacts{
		Partition: "aws", Issuers: []string{
			"h.example/p",
		}, Audience: "sts.amazonaws.com", Registered: []string{"sts.amazonaws.com"},
		Subjects: []string{"system:serviceaccount:a:b"},
	}}
	for _, edit := range edits {
		edit(&options)
	}
	return options
}

// roleRow is a document, what is known of its role, and all findings but warnings.
type roleRow struct {
	name  string
	facts policy.LintOptions
	text  string
	want  []string
	// fixed is what the first of these findings makes of the text; empty for no
	// suggestion. manual says that it waits for a person.
	fixed  string
	manual bool
	says   string // a part of the first message
}

var roleRows = []roleRow{
	{name: "sound", facts: everyFact(), text: webLint(goodConds)},
	{name: "nothing known", facts: policy.LintOptions{Role: &policy.RoleFacts{}}, text: webLint(goodConds)},
	{name: "more clusters than asked about", facts: everyFact(), text: doc(
		`{'Effect':'Allow',`+web+`,'Condition':{`+goodConds+`}}`,
		`{'Effect':'Allow',`+strings.ReplaceAll(web, "/p",
			"/q")+`,'Condition':{`+strings.ReplaceAll(goodConds, "/p", "/q")+`}}`,
	)},
	{
		name:   "another cluster, not a slip",
		facts:  everyFact(func(o *policy.LintOptions) { o.Role.Issuers = []string{"other.example"} }),
		text:   webLint(goodConds),
		want:   []string{"error provider-of-another-issuer"},
		fixed:  strings.ReplaceAll(webLint(goodConds), "h.example/p", "other.example"),
		manual: true,
	},
	{
		name:  "several issuers, none named",
		facts: everyFact(func(o *policy.LintOptions) { o.Role.Issuers = []string{"one.example", "two.example"} }),
		text:  webLint(goodConds),
		want:  []string{"error subject-refused", "error subject-refused"},
	},
	{
		name:  "an internal issuer",
		facts: policy.LintOptions{Role: &policy.RoleFacts{}},
		text:  strings.ReplaceAll(webLint(goodConds), "h.example/p", "kubernetes.default.svc.cluster.local"),
		want:  []string{"error issuer-not-public"},
	},
	{
		name: "several slips in the provider's name",
		text: allow(eksHead + `https://oidc.eu-west-1.eks.amazonaws.com/A1` + webAction +
			`,'Condition':{'StringEquals':{'https://oidc.eu-west-1.eks.amazonaws.com/A1:sub':'system:serviceaccount:` +
			`a:b'}}`),
		want: []string{"error provider-slip", "error scheme-in-key"},
		fixed: allow(eksHead + `oidc.eks.eu-west-1.amazonaws.com/id/A1` + webAction +
			`,'Condition':{'StringEquals':{'oidc.eks.eu-west-1.amazonaws.com/id/A1:sub':'system:serviceaccount:a:b'}}`),
		says: "/id/ is missing",
	},
	{
		name:  "a placeholder in the provider, the keys are sound",
		text:  broken("oidc.<REGION>.eks.amazonaws.com/id/A1", eksID),
		want:  []string{"error provider-slip", "error placeholder", "error key-of-another-issuer"},
		fixed: broken(eksID, eksID),
		says:  "the placeholder <REGION> is not filled in",
	},
	{
		name:  "a placeholder in the keys, the provider is sound",
		text:  broken(eksID, "oidc.<REGION>.eks.amazonaws.com/id/A1"),
		want:  []string{"error key-of-another-issuer", "error placeholder"},
		fixed: broken(eksID, eksID),
	},
	{
		name: "placeholders on both sides",
		text: broken("oidc.<REGION>.eks.amazonaws.com/id/A1", "oidc.<REGION>.eks.amazonaws.com/id/A1"),
		want: []string{"error provider-slip", "error placeholder", "error placeholder"},
	},
	{
		name: "placeholders and schemes on both sides",
		text: broken("https://oidc.<REGION>.eks.amazonaws.com/id/A1", "https://oidc.<REGION>.eks.amazonaws.com/id/A1"),
		want: []string{"error provider-slip", "error placeholder", "error scheme-in-key", "error placeholder"},
	},
	{
		name:  "two placeholders, the issuer is known",
		facts: everyFact(func(o *policy.LintOptions) { o.Role.Issuers, o.Role.Subjects = []string{eksID}, nil }),
		text:  broken("oidc.eks.<REGION>.amazonaws.com/id/A1", "https://oidc.eks.REGION.amazonaws.com/id/A1"),
		want:  []string{"error provider-slip", "error placeholder", "error scheme-in-key", "error placeholder"},
		fixed: broken(eksID, eksID),
	},
	{
		name:  "no region of AWS, the keys are sound",
		text:  broken("oidc.eks.eu-wst-1.amazonaws.com/id/A1", eksID),
		want:  []string{"error provider-slip", "error key-of-another-issuer"},
		fixed: broken(eksID, eksID),
		says:  "there is no region in",
	},
	{
		name: "no region of AWS on both sides",
		text: broken("oidc.eks.eu-wst-1.amazonaws.com/id/A1", "oidc.eks.eu-wst-1.amazonaws.com/id/A1"),
		want: []string{"error provider-slip"},
	},
	{
		name:  "a slip in the domain on both sides",
		text:  broken("oidc.eks.eu-west-1.amazonaws.co/id/A1", "oidc.eks.eu-west-1.amazonaws.co/id/A1"),
		want:  []string{"error provider-slip"},
		fixed: broken(eksID, eksID),
		says:  "the issuers of EKS there are on oidc.eks.eu-west-1.amazonaws.com",
	},
	{
		name:  "the domain of another partition",
		text:  broken("oidc.eks.cn-north-1.amazonaws.com/id/A1", "oidc.eks.cn-north-1.amazonaws.com/id/A1"),
		want:  []string{"error provider-slip"},
		fixed: broken("oidc.eks.cn-north-1.amazonaws.com.cn/id/A1", "oidc.eks.cn-north-1.amazonaws.com.cn/id/A1"),
	},
	{
		name:  "a slip in EKS's own label",
		text:  broken("odic.eks.eu-west-1.amazonaws.com/id/A1", eksID),
		want:  []string{"error provider-slip", "error key-of-another-issuer"},
		fixed: broken(eksID, eksID),
	},
	{
		name: "the API server's name for the issuer's",
		text: broken("A1.gr7.eu-west-1.eks.amazonaws.com", "A1.gr7.eu-west-1.eks.amazonaws.com"),
		want: []string{"error provider-slip"},
		says: "the issuers of EKS there are on",
	},
	{
		name: "the dual-stack address of the keys",
		text: broken("oidc-eks.eu-west-1.api.aws/id/A1", "oidc-eks.eu-west-1.api.aws/id/A1"),
		want: []string{"error provider-slip"}, says: "tokens name oidc.eks.eu-west-1.amazonaws.com",
		fixed: broken("oidc.eks.eu-west-1.amazonaws.com/id/A1", "oidc.eks.eu-west-1.amazonaws.com/id/A1"),
	},
	{
		name: "a slash after a cluster's id", text: broken(eksID+"/", eksID),
		want:  []string{"error provider-slip", "error key-of-another-issuer"},
		fixed: broken(eksID, eksID), says: "the trailing slash does not belong here",
	},
	{
		name: "issuers in a bucket",
		text: broken("s3.eu-west-1.amazonaws.com/bucket/p", "s3.eu-west-1.amazonaws.com/bucket/p"),
	},
	{
		name:  "the account alone is open",
		facts: policy.LintOptions{Account: roleAccount},
		text:  strings.Replace(broken(eksID, eksID), roleAccount, "AWS_ACCOUNT", 1),
		want:  []string{"error bad-federated"},
		fixed: broken(eksID, eksID),
	},
	{
		name: "keys of two issuers, neither is the provider's",
		text: strings.Replace(broken("oidc.<REGION>.eks.amazonaws.com/id/A1",
			eksID), `}}`, `,"h.example/p:aud":"x"}}`, 1),
		want: []string{"error provider-slip", "error placeholder", "error key-of-another-issuer", "error key-of-another-issuer"},
	},
	{
		name: "nobody is named, the facts do",
		facts: everyFact(func(o *policy.LintOptions) {
			o.Role.Subjects = append(o.Role.Subjects, "system:serviceaccount:a:c")
		}),
		text: webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'}`),
		want: []string{"security web-identity-without-sub"},
		fixed: webLint(`'StringEquals':{'h.example/p:sub': ['system:serviceaccount:a:b', ` +
			`'system:serviceaccount:a:c'], 'h.example/p:aud':'sts.amazonaws.com'}`),
	},
	{
		name: "nobody is named, nobody is known",
		text: webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'}`),
		want: []string{"security web-identity-without-sub"},
		fixed: webLint(`'StringEquals':{'h.example/p:sub': 'system:serviceaccount:NAMESPACE:NAME', ` +
			`'h.example/p:aud':'sts.amazonaws.com'}`),
		manual: true,
	},
	{
		name: "a list",
		facts: everyFact(func(o *policy.LintOptions) {
			o.Role.Subjects = []string{"system:serviceaccount:jobs:batch"}
		}),
		text: webLint(strings.Replace(goodConds, `'system:serviceaccount:a:b'`,
			`['system:serviceaccount:a:b','system:serviceaccount:a:c']`, 1)),
		want: []string{"error subject-refused"},
		fixed: webLint(strings.Replace(goodConds, `'system:serviceaccount:a:b'`,
			`['system:serviceaccount:a:b','system:serviceaccount:a:c', 'system:serviceaccount:jobs:batch']`, 1)),
	},
	{
		name: "the default account",
		facts: everyFact(func(o *policy.LintOptions) {
			o.Role.Subjects = []string{"system:serviceaccount:a:default"}
		}),
		text: webLint(goodConds),
		want: []string{"error subject-refused"},
		fixed: webLint(strings.Replace(goodConds, `'system:serviceaccount:a:b'`,
			`['system:serviceaccount:a:b', 'system:serviceaccount:a:default']`, 1)),
		manual: true,
		says:   "serviceAccountName",
	},
	{
		name:  "a pattern that leaves one out",
		facts: everyFact(),
		text: webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'},'StringLike':{` +
			`'h.example/p:sub':'system:serviceaccount:b:*'}`),
		want: []string{"error subject-refused"},
	},
	{
		name:  "two providers share conditions",
		facts: everyFact(),
		text: strings.Replace(webLint(goodConds), `"arn:aws:iam::111122223333:oidc-provider/h.example/p"`,
			`["arn:aws:iam::111122223333:oidc-provider/h.example/p",`+
				`"arn:aws:iam::111122223333:oidc-provider/h.example/q"]`, 1),
		want: []string{"error admits-nobody"},
	},
	{
		name: "subjects of another kind",
		text: webLint(strings.Replace(goodConds, "system:serviceaccount:a:b", "project_path:mygroup/x", 1)),
	},
	{
		name:  "a slip that is seen without facts",
		text:  webLint(strings.Replace(goodConds, "system:serviceaccount:a:b", "system:service-account:a:b", 1)),
		want:  []string{"error subject-slip"},
		fixed: webLint(goodConds),
	},
	{
		name: "pattern in a shared namespace",
		text: webLint(`'StringLike':{'h.example/p:sub':'system:serviceaccount:kube-system:s3-*'}`),
		want: []string{"security sub-shared-namespace"},
	},
	{
		name: "several namespaces",
		text: webLint(`'StringLike':{'h.example/p:sub':'system:serviceaccount:team-a*:app'}`),
		want: []string{"security sub-several-namespaces"},
	},
	{
		name:  "IfExists",
		text:  webLint(`'StringEqualsIfExists':{'h.example/p:sub':'system:serviceaccount:a:b'}`),
		want:  []string{"security if-exists-on-claim"},
		fixed: webLint(`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b'}`),
	},
	{
		name:  "all audiences",
		facts: everyFact(),
		text: webLint(`'StringLike':{'h.example/p:aud':'*'},'StringEquals':{` +
			`'h.example/p:sub':'system:serviceaccount:a:b'}`),
		want: []string{"security aud-wildcard"},
		fixed: webLint(`'StringLike':{'h.example/p:aud':'sts.amazonaws.com'},'StringEquals':{` +
			`'h.example/p:sub':'system:serviceaccount:a:b'}`),
	},
	{
		name: "China's audience is none",
		text: webLint(strings.Replace(goodConds, "amazonaws.com", "amazonaws.com.cn", 1)),
	},
	{
		name: "kOps' audience is none",
		text: webLint(strings.Replace(goodConds, "sts.amazonaws.com", "amazonaws.com", 1)),
	},
	{
		name:  "a scheme in the audience",
		text:  webLint(strings.Replace(goodConds, "sts.amazonaws.com", "https://sts.amazonaws.com", 1)),
		want:  []string{"error aud-slip"},
		fixed: webLint(goodConds),
	},
	{name: "not registered, the token's unknown", facts: everyFact(func(o *policy.LintOptions) {
		o.Role.Audience, o.Role.Registered, o.Role.Subjects = "", []string{"sts.amazonaws.com.cn"}, nil
	}), text: webLint(goodConds), want: []string{
		"error aud-not-registered",
	}, fixed: webLint(strings.Replace(goodConds, "amazonaws.com", "amazonaws.com.cn", 1))},
	{name: "three audiences side by side", facts: everyFact(func(o *policy.LintOptions) {
		o.Role.Audience, o.Role.Registered = "amazonaws.com", []string{"amazonaws.com", "x"}
	}), text: webLint(goodConds), want: []string{
		"error aud-mismatch",
	}, fixed: webLint(strings.Replace(goodConds, "sts.amazonaws.com", "amazonaws.com",
		1)), says: `the token's is "amazonaws.com", the provider registers ["amazonaws.com" "x"], the policy wants ` +
		`["sts.amazonaws.com"]`},
	{
		name:  "a pattern that adds nothing",
		facts: everyFact(),
		text:  webLint(goodConds + `,'StringLike':{'h.example/p:sub':'system:serviceaccount:a:*'}`),
	},
	{
		name:  "a pattern that takes some away",
		facts: everyFact(),
		text: webLint(strings.Replace(goodConds, `'system:serviceaccount:a:b'`,
			`['system:serviceaccount:a:b','system:serviceaccount:c:d']`, 1) +
			`,'StringLike':{'h.example/p:sub':'system:serviceaccount:a:*'}`),
		want:   []string{"error equals-and-like"},
		manual: true,
		fixed: doc(
			`{'Effect':'Allow',`+web+`,'Condition':{`+strings.Replace(goodConds, `'system:serviceaccount:a:b'`,
				`['system:serviceaccount:a:b','system:serviceaccount:c:d']`, 1)+`}}`,
			` {'Effect':'Allow',`+web+
				`,'Condition':{'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'},'StringLike':{`+
				`'h.example/p:sub':'system:serviceaccount:a:*'}}}`,
		),
	},
	{
		name:  "over a quota that is known",
		facts: everyFact(func(o *policy.LintOptions) { o.Role.Quota = 200 }),
		text:  webLint(goodConds),
		want:  []string{"error over-quota"},
	},
	{
		name:  "the role's own provider as a service",
		facts: everyFact(),
		text: strings.Replace(webLint(goodConds), `"Federated":"arn:aws:iam::111122223333:oidc-provider/h.example/p"`,
			`"Service":"eks.amazonaws.com"`, 1),
		want:  []string{"error web-identity-principal"},
		fixed: strings.Replace(webLint(goodConds), `{"Federated":"arn:`, `{"Federated": "arn:`, 1),
	},
	{
		name:  "tags",
		facts: everyFact(func(o *policy.LintOptions) { o.Role.Tagged = true }),
		text:  webLint(goodConds),
		want:  []string{"error token-without-tag-session"},
		fixed: strings.Replace(webLint(goodConds), `"sts:AssumeRoleWithWebIdentity"`,
			`["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]`, 1),
	},
	{
		name:  "seed 002: words for numbers",
		facts: everyFact(func(o *policy.LintOptions) { o.Role.Subjects = nil }),
		text: allow(`'Principal':{'Service':'pods.eks.amazonaws.com'},'Action':['sts:AssumeRole','sts:TagSession'],` +
			`'Condition':{'StringEquals':{'aws:SourceAccount':'aws-account-number'},'ArnEquals':{` +
			`'aws:SourceArn':'cluster-arn'}}`),
		want: []string{"error bad-account", "error bad-value"},
		fixed: allow(`'Principal':{'Service':'pods.eks.amazonaws.com'},'Action':['sts:AssumeRole','sts:TagSession'],` +
			`'Condition':{'StringEquals':{'aws:SourceAccount':'111122223333'},'ArnEquals':{` +
			`'aws:SourceArn':'cluster-arn'}}`),
	},
	{
		name:  "a Deny that decides",
		facts: everyFact(),
		text: doc(`{'Effect':'Allow',`+web+`,'Condition':{`+goodConds+`}}`,
			`{'Effect':'Deny',`+web+`,'Condition':{'NotIpAddress':{'aws:SourceIp':'203.0.113.0/24'}}}`),
		want:   []string{"error explicit-deny"},
		fixed:  webLint(goodConds),
		manual: true,
		says:   "unless NotIpAddress aws:SourceIp",
	},
}

// TestLintRole: what is known of the role makes findings, and edits, of what a
// document alone does not show.
func TestLintRole(t *testing.T) {
	t.Parallel()
	for _, row := range slices.Concat(roleRows, roleEdges) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.check(t)
		})
	}
}

// check lints a row's document.
func (row *roleRow) check(t *testing.T) {
	t.Helper()
	quotes := strings.NewReplacer(`\'`, `\"`, "'", `"`)
	text := quotes.Replace(row.text)
	var got []string
	var first *finding.Finding
	findings := policy.Lint(policy.Trust, "p", []byte(text), row.facts)
	for i := range findings {
		if f := &findings[i]; f.Severity != finding.Warning {
			got = append(got, string(f.Severity)+" "+f.Rule)
			if first == nil {
				first = f
			}
		}
	}
	if !slices.Equal(got, row.want) {
		t.Fatalf("%s:\n got %v\nwant %v\n%+v", text, got, row.want, findings)
	}
	switch {
	case first == nil:
	case !strings.Contains(first.Message, row.says):
		t.Errorf("message %q lacks %q", first.Message, row.says)
	case row.fixed == "" && first.Suggested != nil:
		t.Errorf("suggests %s", first.Suggested.Edit.Apply(text))
	case row.fixed != "" &&
		(first.Suggested == nil || first.Suggested.Edit.Apply(text) != quotes.Replace(row.fixed) ||
			first.Suggested.Manual != row.manual):
		t.Errorf("suggests %+v, want %s", first.Suggested, row.fixed)
	}
}
