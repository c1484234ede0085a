package trust_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/trust"
)

const (
	roleAccount = "111122223333"
	prod        = "arn:aws:eks:eu-west-1:111122223333:cluster/prod"
)

// accounts reads "ns/name ns/name".
func accounts(t testing.TB, list string) []trust.ServiceAccount {
	t.Helper()
	var all []trust.ServiceAccount
	for text := range strings.FieldsSeq(list) {
		one, err := trust.ParseServiceAccount(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// generateRow is a request and the documents it gives, with ' for ".
type generateRow struct {
	name    string
	request trust.Request
	sas     string
	want    []string
	notes   string // a part of the notes
}

const (
	a1 = `'Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/oidc.example/a1'},` +
		`'Action':'sts:AssumeRoleWithWebIdentity'`
	aud = `'oidc.example/a1:aud':'sts.amazonaws.com'`
	sub = `'oidc.example/a1:sub':`
)

func document(statements ...string) string {
	return `{'Version':'2012-10-17','Statement':[` + strings.Join(statements, ",") + `]}`
}

func allowed(rest string) string { return `{'Effect':'Allow',` + rest + `}` }

var generateRows = []generateRow{
	{
		name:    "one service account",
		request: trust.Request{Account: roleAccount, Issuers: []string{"https://oidc.example/a1"}},
		sas:     "app/api",
		want: []string{
			document(
				allowed(a1 + `,'Condition':{'StringEquals':{` + aud + `,` + sub + `'system:serviceaccount:app:api'}}`),
			),
		},
	},
	{
		name:    "several, one twice",
		request: trust.Request{Account: roleAccount, Issuers: []string{"oidc.example:443/a1"}},
		sas:     "app/api jobs/batch app/api",
		want: []string{
			document(
				allowed(
					a1 + `,'Condition':{'StringEquals':{` + aud + `,` + sub + `['system:serviceaccount:app:api',` +
						`'system:serviceaccount:jobs:batch']}}`,
				),
			),
		},
	},
	{
		name:    "patterns apart from names",
		request: trust.Request{Account: roleAccount, Issuers: []string{"https://oidc.example/a1"}},
		sas:     "app/api jobs/*",
		want: []string{document(
			allowed(a1+`,'Condition':{'StringEquals':{`+aud+`,`+sub+`'system:serviceaccount:app:api'}}`),
			allowed(
				a1+`,'Condition':{'StringEquals':{`+aud+`},'StringLike':{`+sub+`'system:serviceaccount:jobs:*'}}`,
			),
		)},
	},
	{
		name: "two clusters, another partition and audience, tagged", sas: "app/api",
		request: trust.Request{
			Account:   roleAccount,
			Partition: "aws-cn",
			Issuers:   []string{"https://s3.cn-north-1.amazonaws.com.cn/B/x", "https://oidc.example/"},
			Audience:  "sts.amazonaws.com.cn",
			Tagged:    true,
		},
		want: []string{document(
			allowed(
				`'Principal':{'Federated':'arn:aws-cn:iam::111122223333:oidc-provider/s3.cn-north-1.amazonaws.com.cn/B/x'},'Action':['sts:AssumeRoleWithWebIdentity','sts:TagSession'],'Condition':{'StringEquals':{'s3.cn-north-1.amazonaws.com.cn/B/x:aud':'sts.amazonaws.com.cn','s3.cn-north-1.amazonaws.com.cn/B/x:sub':'system:serviceaccount:app:api'}}`,
			),
			allowed(
				`'Principal':{'Federated':'arn:aws-cn:iam::111122223333:oidc-provider/oidc.example/'},`+
					`'Action':['sts:AssumeRoleWithWebIdentity','sts:TagSession'],`+
					`'Condition':{'StringEquals':{'oidc.example/:aud':'sts.amazonaws.com.cn',`+
					`'oidc.example/:sub':'system:serviceaccount:app:api'}}`,
			),
		)},
		notes: "sts:TagSession",
	},
	{
		name: "EKS, as seed 002", request: trust.Request{EKSClusters: []string{prod}},
		want: []string{
			document(
				allowed(
					`'Principal':{'Service':'pods.eks.amazonaws.com'},'Action':['sts:AssumeRole','sts:TagSession'],` +
						`'Condition':{'StringEquals':{'aws:SourceAccount':'111122223333'},` +
						`'ArnEquals':{'aws:SourceArn':'` + prod + `'}}`,
				),
			),
		},
	},
	{
		name: "migration",
		request: trust.Request{
			Account:     roleAccount,
			Issuers:     []string{"https://oidc.example/a1"},
			EKSClusters: []string{prod},
		},
		sas: "app/api",
		want: []string{document(
			allowed(a1+`,'Condition':{'StringEquals':{`+aud+`,`+sub+`'system:serviceaccount:app:api'}}`),
			allowed(
				`'Principal':{'Service':'pods.eks.amazonaws.com'},'Action':['sts:AssumeRole','sts:TagSession'],`+
					`'Condition':{'StringEquals':{'aws:SourceAccount':'111122223333'},`+
					`'ArnEquals':{'aws:SourceArn':'`+prod+`'}}`,
			),
		)},
	},
	{
		name: "a broker's role",
		request: trust.Request{
			Account: roleAccount,
			Broker:  &trust.Broker{RoleARN: "arn:aws:iam::444455556666:role/broker", ClusterARN: prod},
		},
		sas: "app/api jobs/a app/web",
		want: []string{document(
			allowed(
				`'Principal':{'AWS':'arn:aws:iam::444455556666:role/broker'},'Action':['sts:AssumeRole',`+
					`'sts:TagSession'],`+
					`'Condition':{'StringEquals':{'aws:RequestTag/eks-cluster-arn':'`+prod+`','aws:RequestTag/kubernetes-namespace':'app','aws:RequestTag/kubernetes-service-account':['api','web'],'sts:ExternalId':['eu-west-1/111122223333/prod/app/api','eu-west-1/111122223333/prod/app/web']}}`,
			),
			allowed(
				`'Principal':{'AWS':'arn:aws:iam::444455556666:role/broker'},'Action':['sts:AssumeRole',`+
					`'sts:TagSession'],`+
					`'Condition':{'StringEquals':{'aws:RequestTag/eks-cluster-arn':'`+prod+`','aws:RequestTag/kubernetes-namespace':'jobs','aws:RequestTag/kubernetes-service-account':'a','sts:ExternalId':'eu-west-1/111122223333/prod/jobs/a'}}`,
			),
		)},
	},
	{
		name: "a target role",
		request: trust.Request{
			Account: "444455556666",
			Target:  &trust.Target{SourceRoleARN: "arn:aws:iam::111122223333:role/x/app", ClusterARN: prod},
		},
		sas: "app/api",
		want: []string{
			document(
				allowed(
					`'Principal':{'AWS':'arn:aws:iam::111122223333:root'},'Action':['sts:AssumeRole',` +
						`'sts:TagSession'],` +
						`'Condition':{'ArnEquals':{'aws:PrincipalArn':'arn:aws:iam::111122223333:role/x/app'},` +
						`'StringEquals':{'sts:ExternalId':'eu-west-1/111122223333/prod/app/api'}}`,
				),
			),
		},
		notes: "must allow sts:AssumeRole",
	},
	{
		name: "an audience that looks like a slip",
		request: trust.Request{
			Account:  roleAccount,
			Issuers:  []string{"https://oidc.example/a1"},
			Audience: "sts.amazon.com",
		},
		sas: "app/api",
		want: []string{
			document(
				allowed(
					a1 + `,'Condition':{'StringEquals':{` + strings.Replace(
						aud,
						"amazonaws",
						"amazon",
						1,
					) + `,` + sub + `'system:serviceaccount:app:api'}}`,
				),
			),
		},
		notes: "looks like sts.amazonaws.com",
	},
	{
		name:    "a hazard that is meant",
		request: trust.Request{Account: roleAccount, Issuers: []string{"https://oidc.example/a1"}, AllowWildcard: true},
		sas:     "*/app",
		want: []string{
			document(
				allowed(
					a1 + `,'Condition':{'StringEquals':{` + aud + `},'StringLike':{` + sub +
						`'system:serviceaccount:*:app'}}`,
				),
			),
		},
		notes: "every namespace is covered",
	},
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	for _, row := range generateRows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			request := row.request
			request.ServiceAccounts = accounts(t, row.sas)
			result, err := trust.Generate(request)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, one := range result.Documents {
				got = append(got, strings.ReplaceAll(one.Text, `"`, "'"))
				if one.Size != policy.Size(one.Text) || one.Size != len(one.Text) {
					t.Errorf("size %d of %d bytes without white space", one.Size, len(one.Text))
				}
				findings := policy.Lint(
					policy.Trust,
					"p",
					[]byte(one.Text),
					policy.LintOptions{
						Account: request.Account,
						Role:    &policy.RoleFacts{Audience: request.Audience, Tagged: request.Tagged},
					},
				)
				if len(findings) > 0 && !request.AllowWildcard {
					t.Errorf("lint: %+v", findings)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.want, "\n"))
			}
			if !strings.Contains(strings.Join(result.Notes, "\n"), row.notes) {
				t.Errorf("notes %q lack %q", result.Notes, row.notes)
			}
		})
	}
}

// TestGenerateFixedSize: the figure of spec issuer-and-sts §15.2 rule 3.
func TestGenerateFixedSize(t *testing.T) {
	t.Parallel()
	issuer := "https://" + strings.Repeat("a", 52) + ".example"
	size := func(list string) int {
		result, err := trust.Generate(
			trust.Request{Account: roleAccount, Issuers: []string{issuer}, ServiceAccounts: accounts(t, list)},
		)
		if err != nil {
			t.Fatal(err)
		}
		return result.Documents[0].Size
	}
	two, three := size("ns1/name1 ns2/name2"), size("ns1/name1 ns2/name2 space/account")
	if each := 26 + len("ns1") + len("name1"); two != 415+2*each-1 { // the last one has no comma
		t.Errorf("two accounts: %d characters, want %d", two, 415+2*each-1)
	}
	if three-two != 26+len("space")+len("account") {
		t.Errorf("a third costs %d characters", three-two)
	}
}

// TestGenerateNeeds: STS looks for the provider in the role's account, wherever
// the cluster is (seed 004).
func TestGenerateNeeds(t *testing.T) {
	t.Parallel()
	result, err := trust.Generate(trust.Request{
		Account:         "444455556666",
		Issuers:         []string{"https://s3.eu-west-1.amazonaws.com/111122223333-g8s-a1b2c-oidc-pod-identity"},
		ServiceAccounts: accounts(t, "default/s3-access"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := trust.Need{
		ProviderARN: "arn:aws:iam::444455556666:oidc-provider/s3.eu-west-1.amazonaws.com/111122223333-g8s-a1b2c-oidc-pod-identity",
		URL:         "https://s3.eu-west-1.amazonaws.com/111122223333-g8s-a1b2c-oidc-pod-identity",
		Audience:    "sts.amazonaws.com",
		Create: "aws iam create-open-id-connect-provider --url " +
			"https://s3.eu-west-1.amazonaws.com/111122223333-g8s-a1b2c-oidc-pod-identity --client-id-list " +
			"sts.amazonaws.com",
		Register: "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn " +
			"arn:aws:iam::444455556666:oidc-provider/s3.eu-west-1.amazonaws.com/111122223333-g8s-a1b2c-oidc-pod-identity --client-id sts.amazonaws.com",
	}
	if len(result.Needs) != 1 || result.Needs[0] != want {
		t.Errorf("%+v\nwant %+v", result.Needs, want)
	}
}

// TestGenerateRefuses holds every hazard of spec issuer-and-sts §15.2 rule 5, and
// what cannot work.
func TestGenerateRefuses(t *testing.T) {
	t.Parallel()
	web := trust.Request{Account: roleAccount, Issuers: []string{"https://oidc.example/a1"}}
	with := func(edit func(*trust.Request)) trust.Request {
		changed := web
		edit(&changed)
		return changed
	}
	broker := trust.Request{
		Account: roleAccount,
		Broker:  &trust.Broker{RoleARN: "arn:aws:iam::444455556666:role/broker", ClusterARN: prod},
	}
	for _, row := range []struct {
		name    string
		request trust.Request
		sas     string
		kind    fault.Kind
		text    string
	}{
		{"every account", web, "*/*", fault.Denied, "every namespace"},
		{"every namespace, one name", web, "*/app", fault.Denied, "every namespace"},
		{"every namespace, by marks", web, "??*/app", fault.Denied, "every namespace"},
		{"no delimiter", web, "team-a*/app", fault.Denied, "team-admin is covered too"},
		{"several namespaces", web, "team-*/app", fault.Denied, "several namespaces"},
		{"a namespace by marks", web, "team-?/app", fault.Denied, "several namespaces"},
		{"a shared namespace", web, "default/*", fault.Denied, "is shared"},
		{"a part of a shared namespace", web, "kube-system/s3-*", fault.Denied, "is shared"},
		{"nobody", web, "", fault.Usage, "no service account"},
		{"nothing to trust", trust.Request{Account: roleAccount}, "a/b", fault.Usage, "nobody to trust"},
		{"no account", with(func(r *trust.Request) { r.Account = "" }), "a/b", fault.Usage, "account is not known"},
		{"short account", with(func(r *trust.Request) { r.Account = "1" }), "a/b", fault.Usage, "12 digits"},
		{"audience of all", with(func(r *trust.Request) { r.Audience = "*" }), "a/b", fault.Usage, "audience"},
		{"partition", with(func(r *trust.Request) { r.Partition = "aws-cm" }), "a/b", fault.Usage, "aws-cn"},
		{"quota", with(func(r *trust.Request) { r.Quota = 8193 }), "a/b", fault.Usage, "2048 to 8192"},
		{
			name:    "http",
			request: with(func(r *trust.Request) { r.Issuers = []string{"http://oidc.example"} }),
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "https://",
		},
		{
			name:    "port",
			request: with(func(r *trust.Request) { r.Issuers = []string{"https://oidc.example:6443"} }),
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "443",
		},
		{
			name:    "placeholder",
			request: with(func(r *trust.Request) { r.Issuers = []string{"https://oidc.example/<ID>"} }),
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "placeholders",
		},
		{"the region before eks", with(func(r *trust.Request) {
			r.Issuers = []string{"https://oidc.eu-west-1.eks.amazonaws.com/id/A1"}
		}), "a/b", fault.Usage, "want oidc.eks.eu-west-1.amazonaws.com"},
		{
			name:    "no /id/",
			request: with(func(r *trust.Request) { r.Issuers = []string{"https://oidc.eks.eu-west-1.amazonaws.com/A1"} }),
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "/id/ is missing",
		},
		{
			name:    "Kubernetes' default",
			request: with(func(r *trust.Request) { r.Issuers = []string{"https://kubernetes.default.svc.cluster.local"} }),
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "AWS cannot reach",
		},
		{
			name:    "another account's cluster",
			request: trust.Request{Account: "444455556666", EKSClusters: []string{prod}},
			kind:    fault.Usage,
			text:    "cluster's own account",
		},
		{
			name:    "service accounts for EKS",
			request: trust.Request{EKSClusters: []string{prod}},
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "cannot name service accounts",
		},
		{"no cluster", trust.Request{EKSClusters: []string{"prod"}}, "", fault.Usage, "is not a cluster ARN"},
		{"all clusters", trust.Request{EKSClusters: []string{prod + "*"}}, "", fault.Usage, "is not a cluster ARN"},
		{
			name:    "a broker and a source role",
			request: trust.Request{Broker: broker.Broker, Target: &trust.Target{SourceRoleARN: broker.Broker.RoleARN, ClusterARN: prod}},
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "not by both",
		},
		{"a pattern for a broker", broker, "app/*", fault.Usage, "exactly"},
		{
			name:    "a broker that is a user",
			request: trust.Request{Account: roleAccount, Broker: &trust.Broker{RoleARN: "arn:aws:iam::444455556666:user/broker", ClusterARN: prod}},
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "is not a role ARN",
		},
		{
			name:    "a role of another partition",
			request: trust.Request{Account: roleAccount, Partition: "aws-cn", Target: &trust.Target{SourceRoleARN: "arn:aws:iam::444455556666:role/a", ClusterARN: prod}},
			sas:     "a/b",
			kind:    fault.Usage,
			text:    "partition",
		},
	} {
		request := row.request
		request.ServiceAccounts = accounts(t, row.sas)
		_, err := trust.Generate(request)
		if err == nil || fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v (kind %d), want %q (kind %d)", row.name, err, fault.KindOf(err), row.text, row.kind)
		}
	}
	for _, text := range []string{"", "app", "app/", "/api", "App/api", "app/api_1", "app/a b", "a.b/c", "system:serviceaccount:app", "<NS>/app", strings.Repeat("a", 64) + "/b", "a/" + strings.Repeat("b", 254)} {
		if one, err := trust.ParseServiceAccount(text); err == nil {
			t.Errorf("%q is read as %v", text, one)
		}
	}
}

// TestGenerateSplits: over quota there are several documents, each within it, each
// account in one, and no wildcard that nobody asked for.
func TestGenerateSplits(t *testing.T) {
	t.Parallel()
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf("team-%02d/worker-%02d", i%7, i))
	}
	request := trust.Request{
		Account:         roleAccount,
		Issuers:         []string{"https://oidc.example/a1"},
		ServiceAccounts: accounts(t, strings.Join(list, " ")),
	}
	for quota, documents := range map[int]int{0: 3, trust.MiddleQuota: 2, trust.LargestQuota: 1} {
		request.Quota = quota
		result, err := trust.Generate(request)
		if err != nil {
			t.Fatal(err)
		}
		admitted := 0
		for _, one := range result.Documents {
			admitted += len(one.Admits)
			if one.Size > result.Quota || strings.ContainsAny(one.Text, "*?") {
				t.Errorf("quota %d: %d characters: %s", result.Quota, one.Size, one.Text)
			}
		}
		if len(result.Documents) != documents || admitted != len(list) {
			t.Errorf("quota %d: %d documents admit %d", quota, len(result.Documents), admitted)
		}
		// 100 accounts need more than 4096 characters: no less helps.
		if told := strings.Contains(strings.Join(result.Notes, " "), "--quota-code L-C07B4B0D --desired-value "+
			"8192"); told != (documents > 1) {
			t.Errorf("quota %d: %q", quota, result.Notes)
		}
	}
	// Clusters stay whole: a second one goes to the next role.
	request.Quota, request.ServiceAccounts = 0, request.ServiceAccounts[:20]
	request.Issuers = append(request.Issuers, "https://oidc.example/b2")
	result, err := trust.Generate(request)
	if err != nil || len(result.Documents) != 2 || strings.Contains(result.Documents[0].Text, "b2") ||
		strings.Contains(result.Documents[1].Text, "a1") {
		t.Errorf("%+v, %v", result, err)
	}
}

const foreign = `{
  "Version": "2012-10-17",
  "Statement": [
    { "Sid": "Ours",  "Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/oidc.example/a1"}, "Action": "sts:AssumeRoleWithWebIdentity",
      "Condition": {"StringLike": {"oidc.example/a1:sub": "system:serviceaccount:*:*"}} },
    { "Effect" :"Allow",
      "Principal": {"Service": [ "ec2.amazonaws.com" ]},   "Action": "sts:AssumeRole" },
	{"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/oidc.example/a1"}, "Action": "sts:*"},
    {"Effect": "Deny", "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/oidc.example/a1"}, "Action": "sts:*",
      "Condition": {"StringEquals": {"oidc.example/a1:sub": "system:serviceaccount:bad:bad"}}}
  ]
}
`

func TestMerge(t *testing.T) {
	t.Parallel()
	ours := strings.ReplaceAll(
		allowed(a1+`,'Condition':{'StringEquals':{`+aud+`,`+sub+`'system:serviceaccount:app:api'}}`),
		"'",
		`"`,
	)
	ec2 := `{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`
	head, _, _ := strings.Cut(foreign, `{ "Sid"`)
	second := strings.Index(foreign, "},\n    { \"Effect\" :") + 1
	third := strings.Index(foreign, ",\n\t{")
	deny := strings.Index(foreign, ",\n    {\"Effect\": \"Deny\"")
	for _, row := range []struct{ name, present, want string }{
		{"ours replaced, twice, the Deny kept", foreign, head + ours + foreign[second:third] + foreign[deny:]},
		{
			name:    "one foreign statement without list",
			present: `{"Statement": ` + ec2 + ` , "Version":"2012-10-17"}`,
			want:    `{"Statement": [` + ec2 + `,` + ours + `] , "Version":"2012-10-17"}`,
		},
		{"one of ours without list", `{"Statement": ` + ours + `}`, `{"Statement": [` + ours + `]}`},
		{"foreign in a list", `{"Statement":[` + ec2 + "\n]}", `{"Statement":[` + ec2 + `,` + ours + "\n]}"},
	} {
		request := trust.Request{
			Account:         roleAccount,
			Issuers:         []string{"https://oidc.example/a1"},
			ServiceAccounts: accounts(t, "app/api"),
			Present:         []byte(row.present),
		}
		result, err := trust.Generate(request)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if got := result.Documents[0].Text; got != row.want {
			t.Errorf("%s: got\n%s\nwant\n%s", row.name, got, row.want)
			continue
		}
		// A second merge changes nothing.
		request.Present = []byte(row.want)
		if again, err := trust.Generate(request); err != nil || again.Documents[0].Text != row.want {
			t.Errorf("%s: again: %+v, %v", row.name, again, err)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, present, text string
		kind                fault.Kind
	}{
		{"not JSON", `{`, "invalid Json", fault.Invalid},
		{"en dash", `{"Version":"2012–10–17","Statement":[]}`, "EN DASH", fault.Invalid},
		{"nothing", ``, "invalid Json", fault.Invalid},
		{
			name: "our provider with others",
			present: `{"Statement":{"Effect":"Allow",` +
				`"Principal":{"Federated":["arn:aws:iam::111122223333:oidc-provider/oidc.example/a1",` +
				`"arn:aws:iam::111122223333:oidc-provider/x.example"]},"Action":"sts:AssumeRoleWithWebIdentity"}}`,
			text: "together with others",
			kind: fault.Conflict,
		},
		{
			name: "a Deny",
			present: `{"Statement":{"Effect":"Deny",` +
				`"Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/oidc.example/a1"},` +
				`"Action":"sts:*"}}`,
			text: "keeps",
			kind: fault.Conflict,
		},
		{
			name: "no room",
			present: `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/a"},` +
				`"Action":"sts:AssumeRole",` +
				`"Condition":{"StringEquals":{"sts:ExternalId":"` + strings.Repeat("x", 1800) + `"}}}}`,
			text: "does not fit",
			kind: fault.Conflict,
		},
	} {
		_, err := trust.Generate(
			trust.Request{
				Account:         roleAccount,
				Issuers:         []string{"https://oidc.example/a1"},
				ServiceAccounts: accounts(t, "app/api"),
				Present:         []byte(row.present),
			},
		)
		if err == nil || fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v (kind %d), want %q", row.name, err, fault.KindOf(err), row.text)
		}
	}
}

// TestMergeTells: what others wrote stays, and is named when it lets in more.
func TestMergeTells(t *testing.T) {
	t.Parallel()
	present := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
		`"Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	result, err := trust.Generate(trust.Request{EKSClusters: []string{prod}, Present: []byte(present)})
	if err != nil ||
		!strings.Contains(strings.Join(result.Notes, "\n"), "an existing statement also lets in EKS for no cluster") {
		t.Errorf("%+v, %v", result, err)
	}
	if !json.Valid([]byte(result.Documents[0].Text)) ||
		!strings.Contains(
			result.Documents[0].Text,
			present[len(`{"Version":"2012-10-17","Statement":[`):len(present)-2],
		) {
		t.Errorf("%s", result.Documents[0].Text)
	}
}

// TestPartitionOf: the issuer's host says where the role is, unless the request
// does; two answers are an error and no guess.
func TestPartitionOf(t *testing.T) {
	t.Parallel()
	provider := func(r trust.Request) (string, error) {
		r.Account, r.ServiceAccounts = roleAccount, accounts(t, "app/api")
		result, err := trust.Generate(r)
		if err != nil {
			return "", err
		}
		return result.Needs[0].ProviderARN, nil
	}
	for issuer, want := range map[string]string{
		"https://oidc.eks.eu-west-1.amazonaws.com/id/A1":       "aws",
		"https://oidc.eks.cn-north-1.amazonaws.com.cn/id/A1":   "aws-cn",
		"https://oidc.eks.us-gov-west-1.amazonaws.com/id/A1":   "aws-us-gov",
		"https://oidc.eks.us-iso-east-1.c2s.ic.gov/id/A1":      "aws-iso",
		"https://oidc.eks.us-isob-east-1.sc2s.sgov.gov/id/A1":  "aws-iso-b",
		"https://s3.cn-north-1.amazonaws.com.cn/bucket":        "aws-cn",
		"https://oidc.example.com/cn-north-1.amazonaws.com.cn": "aws",
	} {
		got, err := provider(trust.Request{Issuers: []string{issuer}})
		if want := "arn:" + want + ":iam::" + roleAccount + ":oidc-provider/" +
			strings.TrimPrefix(issuer, "https://"); err != nil ||
			got != want {
			t.Errorf("%s: %s, %v, want %s", issuer, got, err, want)
		}
	}
	china, world := "https://oidc.eks.cn-north-1.amazonaws.com.cn/id/A1", "https://oidc.eks.eu-west-1.amazonaws.com/id/A1"
	if got, err := provider(trust.Request{Issuers: []string{china, world}, Partition: "aws-us-gov"}); err != nil ||
		!strings.HasPrefix(got, "arn:aws-us-gov:") {
		t.Errorf("said: %s, %v", got, err)
	}
	for name, r := range map[string]trust.Request{
		"two issuers":         {Issuers: []string{china, world}},
		"a cluster elsewhere": {Issuers: []string{china}, EKSClusters: []string{prod}},
		"a broker elsewhere": {Issuers: []string{china}, Broker: &trust.Broker{RoleARN: "arn:aws:iam::" +
			roleAccount + ":role/b", ClusterARN: prod}},
		"no EKS host of a place": {Issuers: []string{"https://oidc.eks.cn-north-1.amazonaws.com/id/A1"}},
	} {
		if got, err := provider(r); err == nil || fault.KindOf(err) != fault.Usage || len(fault.HintsOf(err)) == 0 {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
