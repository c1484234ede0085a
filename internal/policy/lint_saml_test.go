package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

const (
	samlProvider = "arn:aws:iam::111122223333:saml-provider/p"
	signIn       = "https://signin.aws.amazon.com/saml"
)

func samlLint(conditions string) string {
	return allow(`'Principal':{'Federated':'` + samlProvider + `'},'Action':'sts:AssumeRoleWithSAML','Condition':{` +
		conditions + `}`)
}

func samlAud(operator, value string) string {
	return samlLint(`'` + operator + `':{'SAML:aud':` + value + `}`)
}

func tokenLint(provider, conditions string) string {
	return allow(`'Principal':{'Federated':'` + provider + `'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{` +
		conditions + `}`)
}

const (
	pool      = "cognito-identity.amazonaws.com"
	poolIs    = `'StringEquals':{'cognito-identity.amazonaws.com:aud':'eu-west-1:a'}`
	openSAML  = "security saml-without-audience"
	slip      = "error aud-slip"
	badName   = "error provider-slip"
	wantsSAML = `'StringEquals':{'SAML:aud':'` + signIn + `'`
)

// federatedRows are documents for providers that are no cluster's, with all that is found in
// them.
var federatedRows = []lintRow{
	{name: "AWS's address", text: samlAud("StringEquals", `'`+signIn+`'`)},
	{
		name: "a region's",
		text: samlAud("StringEquals", `['`+signIn+`','https://eu-west-1.signin.aws.amazon.com/saml']`),
	},
	{
		name: "of a provider that decrypts",
		text: samlAud("StringEquals", `'https://eu-west-1.signin.aws.amazon.com/saml/acs/X1'`),
	},
	{name: "in another letter case", text: samlAud("StringEqualsIgnoreCase", `'HTTPS://SIGNIN.AWS.AMAZON.COM/SAML'`)},
	{name: "anything on AWS's host", text: samlAud("StringLike", `'https://signin.aws.amazon.com/saml*'`)},
	{name: "several partitions'", text: samlAud("StringEquals", `['`+signIn+`','https://signin.amazonaws.cn/saml']`)},
	{
		name: "China's", text: strings.ReplaceAll(samlAud("StringEquals", `'https://cn-north-1.signin.amazonaws.cn/saml'`),
			"arn:aws:", "arn:aws-cn:"),
	},
	{
		name: "GovCloud's", text: strings.ReplaceAll(samlAud("StringEquals", `'https://signin.amazonaws-us-gov.com/saml'`),
			"arn:aws:", "arn:aws-us-gov:"),
	},
	{
		name: "where it is not known", text: strings.ReplaceAll(samlAud("StringEquals", `'https://signin.example/saml'`),
			"arn:aws:", "arn:aws-iso:"),
	},
	{
		name: "any where it is not known", want: []string{openSAML},
		text: strings.ReplaceAll(samlAud("StringLike", `'https://*'`), "arn:aws:", "arn:aws-iso:"),
	},
	{
		name: "a Deny for all others", text: doc(`{'Effect':'Allow','Principal':{'Federated':'`+samlProvider+
			`'},'Action':'sts:AssumeRoleWithSAML'}`, `{'Effect':'Deny','Principal':{'Federated':'`+samlProvider+
			`'},'Action':'sts:AssumeRoleWithSAML','Condition':{'StringNotEquals':{'SAML:aud':'`+signIn+`'}}}`),
	},
	{
		name: "a Deny that does not reach them", want: []string{openSAML},
		text: doc(`{'Effect':'Allow','Principal':{'Federated':'`+samlProvider+`'},'Action':'sts:AssumeRoleWithSAML'}`,
			`{'Effect':'Deny','Principal':{'AWS':'*'},'Action':'sts:AssumeRoleWithSAML','Condition':{'StringNotEquals':{`+
				`'SAML:aud':'`+signIn+`'}}}`),
	},
	{name: "any", text: samlAud("StringLike", `'*'`), want: []string{openSAML}, fixed: samlLint(wantsSAML + "}")},
	{
		name: "a host to be continued", want: []string{openSAML},
		text: samlAud("StringLike", `'https://signin.aws.amazon.com*'`),
	},
	{
		name: "any region", want: []string{"warning saml-without-audience"},
		text: samlAud("StringLike", `'https://*.signin.aws.amazon.com/saml'`),
	},
	{
		name: "another service's", want: []string{openSAML},
		text: samlAud("StringEquals", `'https://sso.example.com/acs'`),
	},
	{
		name: "AWS's, or another's", want: []string{openSAML},
		text: samlAud("StringEquals", `['`+signIn+`','https://sso.example.com/acs']`),
	},
	{name: "if there is one", text: samlAud("StringEqualsIfExists", `'`+signIn+`'`), want: []string{openSAML}},
	{
		name: "all of none", text: samlAud("ForAllValues:StringEquals", `'`+signIn+`'`),
		want: []string{"security for-all-values-single", openSAML},
	},
	{name: "there", text: samlAud("Null", `'false'`), want: []string{openSAML}},
	{name: "not there", text: samlAud("Null", `'true'`), want: []string{openSAML}},
	{
		name: "not another's", want: []string{openSAML},
		text: samlAud("StringNotEquals", `'https://sso.example.com/acs'`),
	},
	{name: "not AWS's", text: samlAud("StringNotEquals", `'`+signIn+`'`), want: []string{openSAML}},
	{name: "itself", text: samlAud("StringLike", `'${SAML:aud}'`), want: []string{openSAML}},
	{
		name: "a subject alone", want: []string{openSAML},
		text: samlLint(`'StringEquals':{'SAML:sub':'alice','SAML:sub_type':'persistent'}`),
	},
	{
		name: "a session's name", want: []string{openSAML},
		text: samlLint(`'StringLike':{'sts:RoleSessionName':'${saml:sub}'},'StringEquals':{'aws:SourceIdentity':'alice'}`),
	},
	{
		name: "a slash too many", want: []string{slip},
		text:  samlAud("StringEquals", `'`+signIn+`/'`),
		fixed: samlAud("StringEquals", `'`+signIn+`'`),
	},
	{name: "without TLS", text: samlAud("StringEquals", `'http://signin.aws.amazon.com/saml'`), want: []string{slip}},
	{name: "AWS's name", text: samlAud("StringEquals", `'urn:amazon:webservices'`), want: []string{slip}},
	{
		name: "a region's, with a slash", text: samlAud("StringEquals", `'https://eu-west-1.signin.aws.amazon.com/saml/'`),
		want: []string{slip}, fixed: samlAud("StringEquals", `'https://eu-west-1.signin.aws.amazon.com/saml'`),
	},
	{
		name: "another partition's", want: []string{slip},
		text: samlAud("StringEquals", `'https://signin.amazonaws.cn/saml'`),
	},
	{
		name: "a literal *", text: samlAud("StringEquals", `'*'`),
		want: []string{"error wildcard-without-like"},
	},
	{
		name: "another provider's document", want: []string{"error admits-nobody"},
		text: samlLint(wantsSAML + `,'SAML:doc':'111122223333/q'}`),
	},
	{name: "no key", text: samlLint(wantsSAML + `,'SAML:groups':'admins'}`), want: []string{"error impossible-key"}},
	{
		name: "a token's key", want: []string{"error key-of-another-issuer"},
		text: samlLint(wantsSAML + `,'h.example/p:sub':'a'}`),
	},
	{
		name: "a session's tag", want: []string{"error impossible-key"},
		text: samlLint(wantsSAML + `,'aws:PrincipalTag/a':'b'}`),
	},
	{
		name: "another account's provider", want: []string{"error provider-in-another-account"},
		text: strings.ReplaceAll(samlLint(wantsSAML+"}"), "1111", "4444"), fixed: samlLint(wantsSAML + "}"),
	},
	{name: "no name", text: strings.ReplaceAll(samlLint(wantsSAML+"}"), `/p"`, `/p/*"`), want: []string{badName}},
	{
		name: "AWS principals", want: []string{"error action-of-another-principal"},
		text: allow(`'Principal':{'AWS':'*'},'Action':'sts:AssumeRoleWithSAML','Condition':{` + wantsSAML + `}}`),
	},
	{
		name: "beside AWS principals", want: []string{openSAML},
		text: allow(`'Principal':{'Federated':'` + samlProvider + `','AWS':'111122223333'},'Action':['sts:AssumeRole',` +
			`'sts:AssumeRoleWithSAML']`),
	},
	{
		name: "tags in another statement", text: doc(`{'Effect':'Allow','Principal':{'Federated':'`+samlProvider+
			`'},'Action':'sts:AssumeRoleWithSAML','Condition':{`+wantsSAML+`}}}`, `{'Effect':'Allow','Principal':{'Federated':'`+
			samlProvider+`'},'Action':'sts:TagSession'}`),
	},
	{
		name: "tags alone", want: []string{"error action-of-another-principal"},
		text: allow(`'Principal':{'Federated':'` + samlProvider + `'},'Action':'sts:TagSession'`),
	},

	{name: "a pool", text: tokenLint(pool, poolIs+`,'ForAnyValue:StringLike':{'`+pool+`:amr':'authenticated'}`)},
	{
		name: "a pool's guests",
		text: tokenLint(pool, poolIs+`,'ForAnyValue:StringLike':{'`+pool+`:amr':'unauthenticated'}`),
	},
	{
		name: "a pool, and its guests", text: tokenLint(pool, poolIs), want: []string{"security cognito-guests"},
		fixed: tokenLint(pool, `'ForAnyValue:StringLike': {'`+pool+`:amr': 'authenticated'}, `+poolIs),
	},
	{
		name: "a pool, and its guests by a pattern", want: []string{"security cognito-guests"},
		text: tokenLint(pool, poolIs+`,'ForAnyValue:StringLike':{'`+pool+`:amr':'*authenticated'}`),
	},
	{
		name: "others' pools", want: []string{"security shared-issuer-stranger"},
		text: tokenLint(pool, `'StringLike':{'`+pool+`:aud':'eu-west-1:*'},'ForAnyValue:StringLike':{'`+pool+
			`:amr':'authenticated'}`),
	},
	{
		name: "Google's application",
		text: tokenLint("accounts.google.com", `'StringEquals':{'accounts.google.com:aud':'1.apps.example'}`),
	},
	{
		name: "an audience that anybody asks Google for", want: []string{"security shared-issuer-stranger"},
		text: tokenLint("accounts.google.com", `'ForAnyValue:StringEquals':{'accounts.google.com:oaud':'ours'}`),
	},
	{
		name: "and Google's number of an organization", text: tokenLint("accounts.google.com", `'ForAnyValue:StringEquals':{`+
			`'accounts.google.com:oaud':'ours'},'StringEquals':{'accounts.google.com:google/organization_number':'12'}`),
	},
	{
		name: "Facebook's application",
		text: tokenLint("graph.facebook.com", `'StringEquals':{'graph.facebook.com:app_id':'1'}`),
	},
	{
		name: "Amazon's application",
		text: tokenLint("www.amazon.com", `'StringEquals':{'www.amazon.com:app_id':'amzn1.a'}`),
	},
	{
		name: "another account's provider of a shared issuer", want: []string{"error provider-in-another-account"},
		text: tokenLint("arn:aws:iam::444455556666:oidc-provider/gitlab.com",
			`'StringEquals':{'gitlab.com:sub':'project_path:ours/app:ref_type:branch:ref:main','gitlab.com:aud':'ours'}`),
	},
	{
		name: "Google in capitals", want: []string{badName},
		text:  tokenLint("Accounts.Google.com", `'StringEquals':{'accounts.google.com:aud':'1.apps.example'}`),
		fixed: tokenLint("accounts.google.com", `'StringEquals':{'accounts.google.com:aud':'1.apps.example'}`),
	},
	{
		name: "a cluster without its ARN", want: []string{badName},
		text: tokenLint("oidc.example", `'StringEquals':{'oidc.example:sub':'system:serviceaccount:a:b',`+
			`'oidc.example:aud':'sts.amazonaws.com'}`),
		fixed: tokenLint("arn:aws:iam::111122223333:oidc-provider/oidc.example",
			`'StringEquals':{'oidc.example:sub':'system:serviceaccount:a:b','oidc.example:aud':'sts.amazonaws.com'}`),
	},
}

// TestFederatedProviders: the findings about providers that are no cluster's, and what the
// first suggestion makes of the document.
func TestFederatedProviders(t *testing.T) {
	t.Parallel()
	for _, row := range federatedRows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			text := strings.ReplaceAll(row.text, "'", `"`)
			findings := policy.Lint(policy.Trust, "p", []byte(text), policy.LintOptions{Account: "111122223333"})
			var got []string
			for _, f := range findings {
				got = append(got, string(f.Severity)+" "+f.Rule)
			}
			if slices.Sort(got); !slices.Equal(got, row.want) {
				t.Fatalf("%s: got %q, want %q: %+v", text, got, row.want, findings)
			}
			if row.fixed == "" {
				return
			}
			i := slices.IndexFunc(findings, func(f finding.Finding) bool { return f.Suggested != nil })
			if i < 0 {
				t.Fatalf("%s: nothing is suggested", text)
			}
			if fixed := findings[i].Suggested.Edit.Apply(text); !sameDocument(fixed, strings.ReplaceAll(row.fixed, "'", `"`)) {
				t.Errorf("%s became %s", text, fixed)
			}
		})
	}
}

// sameDocument compares without white space.
func sameDocument(a, b string) bool {
	clean := strings.NewReplacer(" ", "", "\n", "").Replace
	return clean(a) == clean(b)
}
