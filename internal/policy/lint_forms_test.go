package policy_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

const (
	eksCluster = "arn:aws:eks:eu-central-1:111122223333:cluster/prod"
	shopCart   = "system:serviceaccount:shop:cart"
)

// forCluster are the facts about pods of a cluster by EKS Pod Identity.
var forCluster = policy.LintOptions{Account: roleAccount, Role: &policy.RoleFacts{Clusters: []string{eksCluster}}}

// forCart are the facts about one service account.
func forCart() policy.LintOptions {
	return everyFact(func(o *policy.LintOptions) { o.Role.Subjects = []string{shopCart} })
}

func podTrust(condition string) string {
	return allow(`'Principal':{'Service':'pods.eks.amazonaws.com'},'Action':['sts:AssumeRole','sts:TagSession'],` +
		`'Condition':{` + condition + `}`)
}

const forCartToo = `'StringEquals':{'h.example/p:aud':'sts.amazonaws.com','h.example/p:sub':'` + shopCart + `'}`

// formRows are documents in which people took one form for another: the role's pods
// are refused, and one edit lets them in.
var formRows = []roleRow{
	{
		name: "an association for the cluster", facts: forCluster,
		text: podTrust(`'ArnLike':{'aws:SourceArn':'arn:aws:eks:eu-central-1:111122223333:podidentityassociation/prod/*'}`),
		want: []string{"error cluster-refused"}, fixed: podTrust(`'ArnLike':{'aws:SourceArn':'` + eksCluster + `'}`),
	},
	{
		name: "another cluster", facts: forCluster,
		text: podTrust(`'ArnEquals':{'aws:SourceArn':'arn:aws:eks:eu-central-1:111122223333:cluster/dev'}`),
		want: []string{"error cluster-refused"},
		fixed: podTrust(`'ArnEquals':{'aws:SourceArn':['arn:aws:eks:eu-central-1:111122223333:cluster/dev', '` + eksCluster +
			`']}`),
	},
	{
		name: "another account", facts: forCluster, text: podTrust(`'StringEquals':{'aws:SourceAccount':'444455556666'}`),
		want: []string{"error cluster-refused"}, fixed: podTrust(`'StringEquals':{'aws:SourceAccount':'111122223333'}`),
	},
	{
		name: "another account and another cluster", facts: forCluster,
		text: podTrust(`'StringEquals':{'aws:SourceAccount':'444455556666'},` +
			`'ArnEquals':{'aws:SourceArn':'arn:aws:eks:eu-central-1:444455556666:cluster/prod'}`),
		want: []string{"error cluster-refused"},
		fixed: strings.TrimSuffix(podTrust(`'StringEquals':{'aws:SourceAccount':'444455556666'},`+
			`'ArnEquals':{'aws:SourceArn':'arn:aws:eks:eu-central-1:444455556666:cluster/prod'}`), `]}`) + podStatement,
	},
	{
		name: "tokens only", facts: forCluster, text: webLint(goodConds), want: []string{"error cluster-refused"},
		fixed: strings.TrimSuffix(webLint(goodConds), `]}`) + podStatement,
	},
	{
		name: "the cluster", facts: forCluster, text: podTrust(`'ArnEquals':{'aws:SourceArn':'` + eksCluster + `'}`),
	},
	{
		name: "a broker names the cluster", facts: forCluster,
		text: allow(`'Principal':{'AWS':'arn:aws:iam::111122223333:role/broker'},` +
			`'Action':['sts:AssumeRole','sts:TagSession'],'Condition':{` +
			`'StringEquals':{'aws:RequestTag/eks-cluster-arn':'` + eksCluster + `'}}`),
	},
	{
		name: "an association's ARN", text: podTrust(`'ArnLike':{'aws:SourceArn':` +
			`'arn:aws:eks:eu-west-1:111122223333:podidentityassociation/prod/*'}`), want: []string{"error admits-nobody"},
	},
	{
		name: "a node group's ARN", text: podTrust(`'StringLike':{'aws:SourceArn':` +
			`'arn:aws:eks:eu-west-1:111122223333:nodegroup/*'}`), want: []string{"error admits-nobody"},
	},
	{
		name: "a pattern of clusters, literally", text: podTrust(`'StringEquals':{'aws:SourceArn':` +
			`'arn:aws:eks:eu-west-1:111122223333:cluster/*'}`), want: []string{"error admits-nobody"},
	},
	{name: "a pattern of clusters", text: podTrust(`'ArnLike':{'aws:SourceArn':'arn:aws:eks:*:111122223333:cluster/prod-?'}`)},
	{name: "an account's clusters", text: podTrust(`'ArnLike':{'aws:SourceArn':'arn:*:eks:*:111122223333:*'}`)},
	{
		name: "a service for what it likes", text: strings.Replace(podTrust(`'ArnLike':{'aws:SourceArn':`+
			`'arn:aws:eks:eu-west-1:111122223333:nodegroup/*'}`), "pods.eks", "eks", 1),
	},
	{
		name: "a caller's tag", text: podTrust(`'StringEquals':{'aws:PrincipalTag/kubernetes-namespace':'shop',` +
			`'aws:SourceAccount':'111122223333'}`), want: []string{"error impossible-key"},
		fixed: podTrust(`'StringEquals':{'aws:RequestTag/kubernetes-namespace':'shop','aws:SourceAccount':'111122223333'}`),
	},
	{
		name: "a caller's organization", text: podTrust(`'StringEquals':{'aws:PrincipalOrgID':'o-abcde12345'}`),
		want: []string{"error impossible-key"}, fixed: podTrust(`'StringEquals':{'aws:SourceOrgID':'o-abcde12345'}`),
	},
	{
		name: "the subject as audience", facts: forCart(),
		text: webLint(`'StringEquals':{'h.example/p:aud':'` + shopCart + `'}`),
		want: []string{"error subject-as-audience"}, fixed: webLint(`'StringEquals':{'h.example/p:sub':'` + shopCart + `'}`),
	},
	{
		name: "the audience as subject", facts: forCart(),
		text:  webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com','h.example/p:sub':'sts.amazonaws.com'}`),
		want:  []string{"error subject-slip"},
		fixed: webLint(forCartToo),
	},
	{
		name: "a regional audience", text: webLint(strings.Replace(goodConds, "sts.amazonaws", "sts.eu-west-1.amazonaws", 1)),
		want: []string{"error aud-slip"}, fixed: webLint(goodConds),
	},
	{
		name: "capitals in a namespace", text: webLint(strings.Replace(goodConds, "account:a:b", "account:A:b", 1)),
		want: []string{"error subject-slip"}, fixed: webLint(goodConds),
	},
	{
		name: "capitals in a namespace, in any case",
		text: webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'},` +
			`'StringEqualsIgnoreCase':{'h.example/p:sub':'system:serviceaccount:Shop:Cart'}`),
	},
	{
		name: "an account without the beginning", text: strings.Replace(broken(eksID, eksID), "system:serviceaccount:a:b", "a/b", 1),
		want: []string{"error subject-slip"}, fixed: broken(eksID, eksID),
	},
	{
		name: "no service account", want: []string{"error admits-nobody"},
		text: strings.Replace(broken(eksID, eksID), "system:serviceaccount:a:b", "system:serviceaccounts:a", 1),
	},
	{
		name: "a token's tag", text: webLint(goodConds + `,'StringLike':{'aws:PrincipalTag/Team':'red'}`),
		want: []string{"error impossible-key"}, fixed: webLint(goodConds + `,'StringLike':{'aws:RequestTag/Team':'red'}`),
	},
}

const podStatement = `, {'Effect': 'Allow', 'Principal': {'Service': 'pods.eks.amazonaws.com'}, ` +
	`'Action': ['sts:AssumeRole', 'sts:TagSession'], 'Condition': {'StringEquals': ` +
	`{'aws:SourceAccount': '111122223333'}, 'ArnEquals': {'aws:SourceArn': '` + eksCluster + `'}}}]}`

// TestLintForms: what is taken for something else is said, and set right.
func TestLintForms(t *testing.T) {
	t.Parallel()
	rows := formRows
	for _, key := range []string{
		"arn:aws:iam::111122223333:oidc-provider/h.example/p:sub", "h.example/p.sub", "h.example/p/sub", "h.example/p::sub",
		"h.example/p:subject", "oidc-provider/h.example/p:sub", "https://h.example/p/sub", "sub", ":sub", "H.example/p-sub",
		" h.example/p:sub",
	} {
		rows = append(rows, roleRow{
			name: "the key " + key, facts: forCart(), want: []string{"error key-slip"}, fixed: webLint(forCartToo),
			text: webLint(strings.Replace(forCartToo, "'h.example/p:sub'", "'"+key+"'", 1)),
		})
	}
	for _, subject := range []string{
		"shop_eu:cart", "shop:cart_eu", "shop: cart", " shop:cart", "shop.eu:cart", ":cart", "shop:", "-shop:cart", "shop-:cart",
		"shop:cart.", "shop:.cart", "shop:ca rt", "shop:cart/eu", "shop:{{cart}}",
	} {
		rows = append(rows, roleRow{
			name: "the subject " + subject, want: []string{"error subject-slip"}, says: "no token has the subject",
			text: webLint(strings.Replace(forCartToo, "shop:cart", subject, 1)),
		})
	}
	for _, pattern := range []string{"shop:*", "shop:cart-*", "shop:*-eu", "shop:c?rt", "shop-*:cart", "shop:cart.v1"} {
		rows = append(rows, roleRow{
			name: "the pattern " + pattern, text: webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'},` +
				`'StringLike':{'h.example/p:sub':'system:serviceaccount:` + pattern + `'}`),
			want: map[string][]string{"shop-*:cart": {"security sub-several-namespaces"}}[pattern],
		})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.check(t)
		})
	}
}

// trustFor is a trust policy of one statement.
func trustFor(principal, action, condition string) string {
	text := `'Principal':` + principal + `,'Action':'` + action + `'`
	if condition != "" {
		text += `,'Condition':{` + condition + `}`
	}
	return allow(text)
}

func anyAccount(condition string) string { return trustFor(`{'AWS':'*'}`, "sts:AssumeRole", condition) }

func fromGitHub(condition string) string {
	return trustFor(`{'Federated':'arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com'}`,
		"sts:AssumeRoleWithWebIdentity", strings.ReplaceAll(condition, "GH:", "token.actions.githubusercontent.com:"))
}

const githubAud = `'StringEquals':{'GH:aud':'sts.amazonaws.com'},`

// TestLintMeaning: a key that occurs in a trust policy narrows nothing by that.
func TestLintMeaning(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ text, want string }{
		{anyAccount(`'StringLike':{'aws:PrincipalArn':'*'}`), "security trust-anybody"},
		{anyAccount(`'ArnLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/app'}`), "security trust-anybody"},
		{anyAccount(`'StringEqualsIfExists':{'aws:PrincipalOrgID':'o-abcde12345'}`), "security trust-anybody"},
		{anyAccount(`'StringNotEquals':{'aws:PrincipalOrgID':'o-abcde12345'}`), "security trust-anybody"},
		{anyAccount(`'StringEquals':{'aws:PrincipalOrgID':'${aws:PrincipalOrgID}'}`), "security trust-anybody"},
		{anyAccount(`'StringEquals':{'aws:PrincipalTag/team':'red'}`), "security trust-anybody"},
		{anyAccount(`'StringEquals':{'sts:RoleSessionName':'app'}`), "security trust-anybody"},
		{anyAccount(`'StringLike':{'sts:ExternalId':'*'}`), "security trust-anybody"},
		{anyAccount(`'Null':{'aws:PrincipalArn':'true'}`), "security trust-anybody"},
		{anyAccount(`'Bool':{'aws:PrincipalIsAWSService':'true'}`), "security trust-anybody"},
		{anyAccount(`'IpAddress':{'aws:SourceIp':'0.0.0.0/0'}`), "security trust-anybody"},
		{anyAccount(`'StringLike':{'aws:PrincipalAccount':'1*'}`), "security trust-anybody"},
		{anyAccount(`'StringEquals':{'sts:ExternalId':'s3cret'}`), "warning trust-anybody-who-knows"},
		{anyAccount(`'IpAddress':{'aws:SourceIp':'203.0.113.0/24'}`), "warning trust-anybody-who-knows"},
		{anyAccount(`'StringEquals':{'aws:PrincipalOrgID':'o-abcde12345'}`), ""},
		{anyAccount(`'StringEquals':{'aws:PrincipalAccount':'111122223333'}`), ""},
		{anyAccount(`'ArnLike':{'aws:PrincipalArn':'arn:aws:iam::111122223333:role/*'}`), ""},
		{anyAccount(`'StringEquals':{'aws:PrincipalOrgID':'${aws:ResourceOrgID}'}`), ""},
		{doc(`{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:AssumeRole'}`,
			`{'Effect':'Deny','Principal':{'AWS':'*'},'Action':'sts:*','Condition':{`+
				`'StringNotEquals':{'aws:PrincipalOrgID':'o-abcde12345'}}}`), ""},
		{podTrust(`'Null':{'aws:SourceArn':'true'}`), "security service-without-source"},
		{podTrust(`'StringEqualsIfExists':{'aws:SourceAccount':'111122223333'}`), "security service-without-source"},
		{podTrust(`'ArnLike':{'aws:SourceArn':'arn:aws:eks:*:*:cluster/*'}`), "security service-without-source"},
		{podTrust(`'StringNotEquals':{'aws:SourceAccount':'111122223333'}`), "security service-without-source"},
		{podTrust(`'ArnLike':{'aws:SourceArn':'arn:aws:eks:*:111122223333:cluster/*'}`), ""},
		{podTrust(`'StringEquals':{'aws:SourceOrgID':'o-abcde12345'}`), ""},
		{
			webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com','h.example/p:sub':'${h.example/p:sub}'}`),
			"security web-identity-without-sub",
		},
		{
			webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'},'Null':{'h.example/p:sub':'false'}`),
			"security web-identity-without-sub",
		},
		{
			webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'},'StringNotLike':{'h.example/p:sub':'x'}`),
			"security web-identity-without-sub",
		},
		{webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com'},` +
			`'StringLike':{'h.example/p:sub':'system:serviceaccount:*'}`), "security sub-any-namespace"},
		{
			webLint(`'StringEquals':{'h.example/p:aud':'sts.amazonaws.com','h.example/q:sub':'` + shopCart + `'}`),
			"error key-of-another-issuer",
		},
		{fromGitHub(githubAud + `'StringLike':{'GH:sub':'repo:*'}`), "security shared-issuer-stranger"},
		{fromGitHub(githubAud + `'StringLike':{'GH:sub':'repo:octo*/app:*'}`), "security shared-issuer-stranger"},
		{fromGitHub(githubAud + `'StringLike':{'GH:sub':'?*'}`), "security shared-issuer-stranger"},
		{fromGitHub(githubAud + `'StringLike':{'GH:sub':'repo:octo/app:*'}`), ""},
		{fromGitHub(`'StringLike':{'GH:sub':'repo:octo/app:*'}`), "warning web-identity-without-aud"},
		{fromGitHub(`'StringEquals':{'GH:aud':'sts.amazonaws.com','GH:repository':'octo/app','GH:environment':'prod'}`), ""},
		{fromGitHub(`'StringEquals':{'GH:aud':'sts.amazonaws.com','GH:repository_id':'123','GH:ref':'refs/heads/main'}`), ""},
		{ // anybody may call a public workflow of ours
			fromGitHub(`'StringEquals':{'GH:aud':'sts.amazonaws.com',` +
				`'GH:job_workflow_ref':'ours/ci/.github/workflows/x.yml@refs/heads/main'}`),
			"security shared-issuer-stranger",
		},
		{fromGitHub(`'StringEquals':{'GH:aud':'sts.amazonaws.com','GH:environment':'prod'}`), "error shared-issuer"},
		{fromGitHub(`'StringLike':{'GH:aud':'*','GH:sub':'repo:octo/app:*'}`), "security aud-wildcard"},
		{fromGitHub(githubAud + `'StringLike':{'GH:repository':'?cto/app'}`), "security shared-issuer-stranger"},
		{
			fromGitHub(`'StringEquals':{'GH:aud':'sts.amazonaws.com','GH:sub':'repo:octo/app:ref:refs/heads/main','GH:sha':'1'}`),
			"error impossible-key",
		},
	} {
		var got []string
		text := strings.ReplaceAll(row.text, "'", `"`)
		for _, f := range policy.Lint(policy.Trust, "p", []byte(text), policy.LintOptions{}) {
			got = append(got, string(f.Severity)+" "+f.Rule)
		}
		if row.want == "" && len(got) > 0 || row.want != "" && !strings.Contains(strings.Join(got, ", "), row.want) {
			t.Errorf("%s: %v, want %q", text, got, row.want)
		}
	}
}
