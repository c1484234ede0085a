package policy_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/policy"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden: read the difference")

// golden compares with a file of testdata, or with -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got), to be written with -update if it is meant:\n%s", file, diff)
	}
}

// knowledge is how much may be known of a role whose trust policy is looked at.
var knowledge = []struct {
	name    string
	options policy.LintOptions
}{
	{"nothing known", policy.LintOptions{}},
	{"all known", everyFact()},
	{"the account known", policy.LintOptions{Account: roleAccount, Role: &policy.RoleFacts{}}},
	{"two of everything known", policy.LintOptions{Role: &policy.RoleFacts{
		Partition:  "aws-cn",
		Issuers:    []string{"h.example/p", "h.example/q"},
		Registered: []string{"a", "b"},
		Clusters:   []string{"arn:aws:eks:eu-west-1:111122223333:cluster/a"},
		Subjects:   []string{"system:serviceaccount:a:b", "system:serviceaccount:c:d"},
		Tagged:     true,
		Quota:      300,
	}}},
	{"an audience registered", policy.LintOptions{Account: roleAccount, Role: &policy.RoleFacts{
		Issuers:    []string{"h.example/p"},
		Registered: []string{"sts.amazonaws.com"},
		Subjects:   []string{"system:serviceaccount:x:y"},
		Quota:      8192,
	}}},
}

// pairRows are statements beside each other.
func pairRows() []lintRow {
	const (
		read = `{'Effect':'Allow','Action':'s3:Get*','Resource':'arn:aws:s3:::b/*'`
		all  = `{'Effect':'Allow','Action':'s3:*','Resource':'*'`
	)
	to := func(principal, rest string) string {
		return `{'Effect':'Allow','Principal':` + principal + `,'Action':'s3:*'` + rest + `}`
	}
	const one, other = `{'AWS':'111122223333'}`, `{'AWS':'444455556666'}`
	when := func(operator, key, value string) string {
		return `,'Condition':{'` + operator + `':{'` + key + `':'` + value + `'}}}`
	}
	var rows []lintRow
	for _, row := range []struct {
		name string
		kind policy.Kind
		a, b string
	}{
		{"a wider one first", policy.Identity, all + `}`, read + `}`},
		{"a wider one behind", policy.Identity, read + `}`, all + `}`},
		{"the same twice", policy.Identity, read + `}`, read + `}`},
		{"one on a condition", policy.Identity, all + `}`, read + when("StringEquals", "a", "b")},
		{"the wider one on a condition", policy.Identity, all + when("StringEquals", "a", "b"), read + `}`},
		{
			name: "both on a condition",
			kind: policy.Identity,
			a:    all + when("StringEquals", "a", "b"),
			b:    read + when("StringEquals", "A", "b"),
		},
		{
			name: "on other values",
			kind: policy.Identity,
			a:    all + when("StringEquals", "a", "b"),
			b:    read + when("StringEquals", "a", "c"),
		},
		{"on other keys", policy.Identity, all + when("StringEquals", "a", "b"), read + when("StringEquals", "c", "b")},
		{
			name: "by other operators",
			kind: policy.Identity,
			a:    all + when("StringEquals", "a", "b"),
			b:    read + when("StringLike", "a", "b"),
		},
		{"for others", policy.Resource, to(one, `,'Resource':'*'`), to(other, `,'Resource':'*'`)},
		{"for the same", policy.Resource, to(one, `,'Resource':'*'`), to(one, `,'Resource':'*'`)},
		{
			name: "for the same text of another kind",
			kind: policy.Resource,
			a:    to(`{'AWS':'*'}`, `,'Resource':'*'`),
			b:    to(`{'Federated':'*'}`, `,'Resource':'*'`),
		},
		{"one without a resource", policy.Resource, to(one, ``), to(one, `,'Resource':'*'`)},
		{"both without a resource", policy.Resource, to(one, ``), to(one, ``)},
		{
			name: "resources left out",
			kind: policy.Identity,
			a:    all + `}`,
			b:    `{'Effect':'Allow','Action':'s3:Get*','NotResource':'arn:aws:s3:::b/*'}`,
		},
		{
			name: "resources left out by the wider one",
			kind: policy.Identity,
			a:    `{'Effect':'Allow','Action':'s3:*','NotResource':'*'}`,
			b:    read + `}`,
		},
		{"a Deny of the same", policy.Identity, all + `}`, strings.Replace(read, "Allow", "Deny", 1) + `}`},
		{
			"buckets of one name's beginning", policy.Identity,
			`{'Effect':'Allow','Action':'s3:Get*','Resource':'arn:aws:s3:*'}`, `{'Effect':'Allow',` +
				`'Action':'s3:Get*','Resource':'arn:aws:s3:::b/*'}`,
		},
	} {
		rows = append(rows, lintRow{name: "pair: " + row.name, kind: row.kind, text: doc(row.a, row.b)})
	}
	for _, rest := range []string{"", `'Id':'x',`} {
		for _, kind := range []policy.Kind{policy.Identity, policy.Resource, policy.Endpoint, policy.Trust} {
			rows = append(rows, lintRow{
				name: "old version, " + rest + " in a " + kind.String(),
				kind: kind,
				text: `{` + rest + `'Statement':[` + to(one, `,'Resource':'${aws:username}'`) + `]}`,
			})
		}
	}
	for _, size := range []int{1842, 1843, 1844, 2047, 2048, 2049, 4096, 4097, 8192, 8193} {
		text := allow(web + `,'Sid':'` + strings.Repeat("x",
			100) + `','Condition':{'StringEquals':{'h.example/p:sub':'SUB'}}`)
		text = strings.Replace(text, "SUB", strings.Repeat("y", size-policy.Size(text)+len("SUB")), 1)
		rows = append(rows, lintRow{
			name: fmt.Sprint("a trust policy of ", size, " characters"),
			kind: policy.Trust,
			text: text,
		})
	}
	return rows
}

// laterRows are documents in which what is wrong comes behind what is not, or beside
// another fault.
func laterRows() []lintRow {
	var rows []lintRow
	for _, text := range []string{
		`'StringEquals':{'aws:RequestedRegion':'x','h.example/p:sub':'system:serviceaccount:a/b'}`,
		`'StringEqualsIfExists':{'h.example/p:amr':'x','h.example/p:aud':'y','h.example/p:sub':'z'}`,
		`'StringEquals':{'h.example/p:sub':['<X>','system:serviceaccounts:a:b','a/b','system:serviceaccount:b:a']}`,
		`'StringEquals':{'h.example/p:sub':['a:b','c:d']}`,
		`'StringNotEquals':{'h.example/p:sub':'a:b','h.example/p:aud':'sts.amazonaws.co'}`,
		`'StringEqualsIgnoreCase':{'h.example/p:sub':'a:b','h.example/p:aud':'sts.amazonaws.co'}`,
		`'StringLike':{'h.example/p:sub':'system:serviceaccount:a:b','h.example/p:aud':['sts*','sts.amazonaws.com',` +
			`'https://sts.amazonaws.co','sts.amazonaw.c','sts.amazona.c']}`,
		`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b','h.example/p:aud':[]}`,
		`'StringEquals':{'h.example/p:sub':['system:serviceaccount:a:b','x']},'StringLike':{` +
			`'h.example/p:sub':'system:serviceaccount:a:*','h.example/p:aud':'*'}`,
		`'StringEquals':{'h.example/p:sub':'x'},'StringLike':{'h.example/p:sub':'system:serviceaccount:a:*'}`,
		`'StringLike':{'h.example/p:sub':'system:serviceaccount:a:b'},'StringEquals':{'h.example/p:aud':'x',` +
			`'h.example/p:sub':'system:serviceaccount:a:b'}`,
		`'StringEquals':{'h.example/p:sub':'system:serviceaccount:a:b*'},'StringNotEquals':{'h.example/p:sub':'x*'}`,
		`'StringEquals':{'h.example/p:sub':'<SUB>','aws:SourceArn':'<ARN>','aws:SourceAccount':'<ID>'}`,
		`'StringEquals':{'h.example/p:sub':['<SUB>','<OTHER>'],'h.example/p:aud':'<AUD>'}`,
		`'ForAllValues:StringEquals':{'aws:x':'a','sts:x':'b','x:y':'c'},'Null':{'b:c':'true','x:y':'false'}`,
		`'ForAllValues:StringLike':{'x:y':'c'},'ForAllValues:StringEquals':{'x:z':'c'},'Null':{'x:z':'true'}`,
		`'StringEquals':{},'Nope':{},'StringLike':{}`,
		`'Null':{'aws:TagKeys':'*'},'NumericEquals':{'h.example/p:exp':'1'}`,
	} {
		rows = append(rows, lintRow{name: "later: " + text, kind: policy.Trust, text: webLint(text)})
	}
	const placeholders = `'Principal':{'Federated':['arn:aws:iam::<ACCOUNT>:oidc-provider/<ISSUER>',` +
		`'arn:aws:iam::<ACCOUNT>:oidc-provider/h.example/p']},` +
		`'Action':'sts:AssumeRoleWithWebIdentity'`
	services := `'Principal':{'Service':'ec2.amazonaws.com'},'Action':'sts:AssumeRole','Condition':{'IpAddress':{` +
		`'aws:SourceIp':'10.0.0.0/8'}}`
	for _, text := range []string{
		doc(`{'Effect':'Allow',` + placeholders + `}`),
		doc(`{'Effect':'Allow',` + strings.Replace(placeholders, "<ISSUER>", "h.example/q",
			1) + `,'Condition':{'StringEquals':{'h.example/p:sub':'<SUB>'}}}`),
		doc(`{'Effect':'Allow',` + services + `}`),
		doc(`{'Effect':'Allow',` + strings.Replace(services, `'ec2.amazonaws.com'`,
			`'ec2.amazonaws.com','AWS':'111122223333'`, 1) + `}`),
		doc(`{'Effect':'Deny',`+web+`,'Condition':{'StringLike':{'h.example/p:sub':'system:serviceaccount:a:*'}}}`,
			`{'Effect':'Allow',`+web+`,'Condition':{`+goodConds+`}}`),
		doc(`{'Effect':'Allow','Principal':{'Service':'ec2.amazonaws.com'},'Action':'sts:AssumeRole'}`,
			`{'Effect':'Deny','Principal':{'AWS':'*'},'Action':'sts:*'}`,
			`{'Effect':'Allow',`+web+`}`),
		doc(`{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/h.example/p',` +
			`'Service':'ec2.amazonaws.com'},'Action':['sts:AssumeRole','sts:TagSession']}`),
		doc(`{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/h.example/p'},` +
			`'Action':'sts:AssumeRole'}`),
		doc(`{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::444455556666:oidc-provider/h.example/p'},`+
			`'Action':'sts:AssumeRoleWithWebIdentity','Condition':{`+goodConds+`}}`,
			`{'Effect':'Allow',`+web+`,'Condition':{`+strings.ReplaceAll(goodConds, "a:b", "c:d")+`}}`),
	} {
		rows = append(rows, lintRow{name: "later: " + text, kind: policy.Trust, text: text})
	}
	for _, text := range []string{
		allow(`'Action':['sts:*'],'Resource':'*','Condition':{'NumericEquals':{'sts:DurationSeconds':'1'}}`),
		allow(`'Action':['sts:AssumeRole'],'Resource':'*','Condition':{'NumericEquals':{'sts:DurationSeconds':'1'}}`),
		allow(`'Action':['sts:AssumeRole','s3:*'],'Resource':'*','Condition':{'NumericEquals':{` +
			`'sts:DurationSeconds':'1'}}`),
		allow(`'NotAction':['sts:AssumeRole'],'Resource':'*','Condition':{'NumericEquals':{` +
			`'sts:DurationSeconds':'1'}}`),
		allow(`'Action':'*','Resource':'*','Condition':{'NumericEquals':{'sts:DurationSeconds':'1'}}`),
		allow(`'Action':'s3:*','Resource':[null,'arn:aws:s3:::b/${aws:username}/${aws:PrincipalTag/t,\'x*\'}']`),
		allow(`'Action':'s3:*','Resource':['arn:aws:s3:::b','*',null]`),
		allow(`'Action':'s3:*','Resource':'arn:aws:s3:::b/${aws:username}-${ x}-${y'`),
		allow(`'Action':'s3:*','Resource':'arn:aws:s3:::b/${*}${?}${$}${aws:username}'`),
		allow(`'NotAction':'s3:*','Resource':'*'`),
		allow(`'Action':['iam:PassRole','*'],'Resource':['arn:aws:iam::111122223333:role/*','*']`),
		doc(`{'Effect':'Deny','Action':'iam:PassRole','Resource':'*'}`),
		allow(`'Action':['s3:<A>','ec3:X','s3x:Y','xs3:Z','s:Get'],'Resource':['<A>','arn:aws:s3:::<BUCKET>']`),
		condition(`'StringEquals':{'a:b':'<V>','c:d':['<W>','x','${aws:username, \'*\'}']}`),
		condition(`'StringEquals':{'a:b':'x*${aws:username}'},'BoolIfExists':{'aws:MultiFactorAuthPresent':'true'}`),
	} {
		rows = append(rows, lintRow{name: "later: " + text, text: strings.ReplaceAll(text, `\"`, `\u0027`)})
	}
	return rows
}

// TestWhatLintSays holds each finding of each document of the tests here, with its
// place, its words and the edit or command it suggests, by what is known.
func TestWhatLintSays(t *testing.T) {
	t.Parallel()
	rows := append([]lintRow{}, lintRows...)
	for i := range roleRows {
		rows = append(rows, lintRow{name: "role: " + roleRows[i].name, kind: policy.Trust, text: roleRows[i].text})
	}
	rows = append(rows, pairRows()...)
	rows = append(rows, laterRows()...)
	var out strings.Builder
	for _, row := range rows {
		text := strings.ReplaceAll(row.text, "'", `"`)
		last := ""
		for i, known := range knowledge {
			if i > 0 && row.kind != policy.Trust {
				break
			}
			var said strings.Builder
			for _, f := range policy.Lint(row.kind, "p", []byte(text), known.options) {
				fmt.Fprintf(&said, "  %s %s at %d: %s\n", f.Severity, f.Rule, f.Column, short(f.Message))
				if fix := f.Suggested; fix != nil {
					fmt.Fprintf(&said, "    %s: %s → %s", fix.Description, short(fix.Old), short(fix.New))
					fmt.Fprintf(&said, "%s\n", map[bool]string{true: " (by a person)"}[fix.Manual])
				}
				if f.Command != "" {
					fmt.Fprintf(&said, "    $ %s\n", f.Command)
				}
			}
			if i == 0 {
				fmt.Fprintf(&out, "%s (%s)\n", row.name, row.kind)
			}
			if said.String() != last || i == 0 {
				fmt.Fprintf(&out, " %s:\n%s", known.name, said.String())
			}
			last = said.String()
		}
	}
	golden(t, "lint.golden", out.String())
}

// short shows the ends of what is long.
func short(text string) string {
	if len(text) > 200 {
		text = text[:100] + "…" + text[len(text)-100:]
	}
	return strings.ReplaceAll(text, "\n", `\n`)
}

// scene is a request and the documents it meets.
type scene struct {
	name     string
	request  policy.Request
	policies policy.Policies
}

func scenes(t *testing.T) []scene {
	t.Helper()
	of := func(kind policy.Kind, statements ...string) *policy.Policy {
		return mustParse(t, kind, kind.Source(), doc(statements...))
	}
	list := func(p ...*policy.Policy) []*policy.Policy { return p }
	const (
		object = "arn:aws:s3:::bkt/k"
		key    = "arn:aws:kms:eu-west-1:111122223333:key/k"
		yes    = `{'Effect':'Allow','Action':'*','Resource':'*'}`
		never  = `{'Effect':'Deny','Action':'*','Resource':'*'}`
		silent = `{'Effect':'Allow','Action':'ec2:*','Resource':'*'}`
		far    = `{'Effect':'Deny','Action':'ec2:*','Resource':'*'}`
	)
	by := func(effect, principal string) string {
		return `{'Effect':'` + effect + `','Principal':` + principal + `,'Action':'*','Resource':'*'}`
	}
	taking := func(principal string) string {
		return `{'Effect':'Allow','Principal':` + principal + `,'Action':['sts:AssumeRole','sts:TagSession']}`
	}
	get := func(who policy.Principal) policy.Request {
		return policy.Request{
			Principal:       who,
			Action:          "s3:GetObject",
			Resource:        object,
			ResourceAccount: "111122223333",
			Context:         policy.NewContext(),
		}
	}
	other := func(who policy.Principal) policy.Request {
		request := get(who)
		request.ResourceAccount = "444455556666"
		return request
	}
	root := policy.Principal{
		Kind:    policy.Root,
		ARN:     "arn:aws:iam::111122223333:root",
		Account: "111122223333",
		UserID:  "111122223333",
	}
	federated := policy.Principal{
		Kind:    policy.FederatedUser,
		ARN:     "arn:aws:sts::111122223333:federated-user/bob",
		Account: "111122223333",
		UserID:  "111122223333:bob",
		UserARN: "arn:aws:iam::111122223333:user/bob",
	}
	linked := session
	linked.RoleARN = "arn:aws:iam::111122223333:role/aws-service-role/x.amazonaws.com/app"
	anybody := policy.Principal{Kind: policy.Anonymous}
	take := func(who policy.Principal, action string) policy.Request {
		return policy.Request{Principal: who, Action: action, Resource: roleT, Context: policy.NewContext()}
	}
	const ours = `{'AWS':'arn:aws:iam::111122223333:root'}`
	var all []scene
	add := func(name string, request policy.Request, policies policy.Policies) {
		all = append(all, scene{name, request, policies})
	}
	for _, who := range []struct {
		name string
		policy.Principal
	}{
		{"a user", alice},
		{"a session", session},
		{"a root user", root},
		{"a federated user", federated},
		{"a service", pods},

		{"nobody", anybody},
		{"a service's own role", linked},
	} {
		me := `{'AWS':'` + who.ARN + `'}`
		switch who.Kind {
		case policy.Service:
			me = `{'Service':'` + who.ARN + `'}`
		case policy.Anonymous:
			me = `'*'`
		default: // the others are named by their ARN
		}
		add(who.name+", with nothing", get(who.Principal), policy.Policies{})
		add(who.name+", allowed by itself", get(who.Principal), policy.Policies{
			Identity: list(of(policy.Identity, yes, far, silent)),
		})
		add(who.name+", allowed by the resource", get(who.Principal), policy.Policies{
			Resource: of(policy.Resource, by("Allow", me)),
		})
		add(who.name+", its account allowed by the resource", get(who.Principal),
			policy.Policies{
				Identity: list(of(policy.Identity, silent)),
				Resource: of(policy.Resource, by("Allow", ours)),
			})
		add(who.name+", denied by the resource", get(who.Principal), policy.Policies{
			Identity: list(of(policy.Identity, yes)), Resource: of(policy.Resource, by("Deny", me)),
		})
		add(who.name+", of another account", other(who.Principal), policy.Policies{
			Identity: list(of(policy.Identity, yes)), Resource: of(policy.Resource, by("Allow", me)),
		})
		add(who.name+", of another account that says nothing", other(who.Principal), policy.Policies{
			Identity: list(of(policy.Identity, yes)),
		})
		add(who.name+", within bounds", get(who.Principal), policy.Policies{
			Identity: list(of(policy.Identity, yes)),
			Boundary: of(policy.Boundary, silent),
			Session:  list(of(policy.Session, yes)),
		})
		add(who.name+", in a session that grants nothing", get(who.Principal), policy.Policies{
			Identity:   list(of(policy.Identity, yes)),
			HasSession: true,
		})
		add(who.name+", in an organisation", get(who.Principal), policy.Policies{
			Identity: list(of(policy.Identity, yes)),
			SCP:      [][]*policy.Policy{{of(policy.SCP, yes)}, {of(policy.SCP, silent)}},
			RCP:      [][]*policy.Policy{{of(policy.RCP, by("Deny", `'*'`))}},
			Endpoint: list(of(policy.Endpoint, by("Allow", `'*'`))),
		})
		add(who.name+", with much that was not read", get(who.Principal), policy.Policies{
			Identity: list(of(policy.Identity, yes)),
			Unread: []policy.Kind{
				policy.Identity, policy.Boundary, policy.Session, policy.Trust,
				policy.Resource, policy.SCP, policy.RCP, policy.Endpoint,
			},
		})
		add(who.name+", at a key", policy.Request{
			Principal: who.Principal,
			Action:    "kms:Decrypt",
			Resource:  key,
		}, policy.Policies{
			Identity: list(of(policy.Identity, yes)), Resource: of(policy.Resource, by("Allow", ours)),
		})
		add(who.name+", assuming a role", take(who.Principal, "sts:AssumeRole"), policy.Policies{
			Identity: list(of(policy.Identity,
				yes)), Trust: of(policy.Trust, taking(strings.Replace(me, "'*'", `{'AWS':'*'}`, 1))),
		})
		add(who.name+", tagging a session", take(who.Principal, "sts:TagSession"), policy.Policies{
			Trust: of(policy.Trust,
				`{'Effect':'Allow','Principal':`+ours+`,'Action':['sts:AssumeRole','sts:SetSourceIdentity']}`),
		})
		add(who.name+", asking who it is", take(who.Principal, "sts:GetCallerIdentity"), policy.Policies{
			Identity: list(of(policy.Identity, never)),
		})
	}
	web := policy.Request{
		Principal: oidc,
		Action:    "sts:AssumeRoleWithWebIdentity",
		Resource:  roleT,
		Context:   token("sts.amazonaws.com"),
	}
	federation := `'Principal':{'Federated':'` + provider + `'}`
	deny := `{'Effect':'Deny',` + federation + `,'Action':'sts:*','Condition':{'StringEquals':{'` + keys +
		`:sub':'x'}}}`
	add("a token, behind a Deny that does not apply", web, policy.Policies{
		SCP: [][]*policy.Policy{{of(policy.SCP, silent)}},
		Trust: of(policy.Trust, deny, `{'Effect':'Allow',`+federation+`,'Action':'sts:AssumeRoleWithWebIdentity',`+
			`'Condition':{'StringEquals':{'`+keys+`:sub':'x'}}}`),
	})
	add("a token, and actions that do not cover it", web, policy.Policies{
		Trust: of(policy.Trust,
			`{'Effect':'Allow',`+federation+`,'Action':['sts:TagSession','sts:AssumeRole','sts:SetSourceIdentity']}`),
	})
	add("a token, and one of three actions that covers it", web, policy.Policies{
		Trust: of(policy.Trust,
			`{'Effect':'Allow',`+federation+
				`,'Action':['sts:AssumeRole','sts:AssumeRoleWithWebIdentity','sts:AssumeRole']}`),
	})
	condition := func(text string) *policy.Policy {
		return of(policy.Identity,
			`{'Effect':'Allow','Action':'s3:*','Resource':['arn:aws:s3:::x/${aws:PrincipalTag/t}',`+
				`'arn:aws:s3:::bkt/*'],'Condition':{`+text+`}}`)
	}
	rich := get(alice)
	rich.Context = policy.NewContext().Set("aws:SourceIp", "10.0.0.1").Set("aws:PrincipalTag/team", "Red").
		SetMulti("aws:TagKeys", []string{"a", "b"}).Set("x:when", "soon").Set("aws:PrincipalTag/arn", "arn:aws:s3:::B")
	unsure := rich
	unsure.Context = rich.Context.Clone().Incomplete()
	unsure.ResourceAccount = ""
	for _, text := range []string{
		`'StringEquals':{'aws:PrincipalTag/team':'red'}`, `'StringEquals':{'aws:PrincipalTag/team':'R*'}`,
		`'StringEqualsIgnoreCase':{'aws:PrincipalTag/team':'r?d'}`,
		`'StringEqualsIgnoreCase':{'aws:PrincipalTag/team':'rad'}`,
		`'StringNotEquals':{'aws:PrincipalTag/team':['Red','x']}`,
		`'StringLike':{'aws:PrincipalTag/team':'${aws:PrincipalTag/none}'}`,
		`'StringLike':{'aws:PrincipalTag/taem':'Red'}`, `'StringEquals':{'aws:TagKeys':'a'}`,
		`'ForAllValues:StringEquals':{'aws:TagKeys':['a','c']}`,
		`'ForAnyValue:StringEquals':{'aws:TagKeys':[]}`, `'IpAddress':{'aws:SourceIp':'10.1.0.0/16'}`,
		`'NotIpAddress':{'aws:SourceIp':'10.0.0.0/8'}`, `'IpAddress':{'x:when':'10.0.0.0/8'}`,
		`'DateLessThan':{'x:when':'2026-01-01T00:00:00Z'}`,
		`'ArnEquals':{'aws:PrincipalTag/arn':'arn:aws:s3:::b'}`,
		`'ArnLike':{'aws:PrincipalTag/arn':'arn:aws:sqs:::B'}`,
		`'ArnNotEquals':{'aws:PrincipalTag/arn':'arn:aws:s3:::B'}`, `'ArnLike':{'x:when':'arn:aws:s3:::b'}`,
		`'Null':{'aws:SourceIp':'true'}`, `'Null':{'aws:SourceIp':'false'}`, `'Null':{'aws:username':'false'}`,
		`'Null':{'x:none':'false'}`, `'StringEqualsIfExists':{'x:none':'a'}`,
		`'StringEquals':{'x:none':'a','aws:SourceIp':'10.0.0.1'}`,
		`'Bool':{'aws:MultiFactorAuthPresent':'true'}`,
	} {
		add("on the condition "+text, rich, policy.Policies{Identity: list(condition(text))})
		add("not knowing all, on the condition "+text, unsure, policy.Policies{Identity: list(condition(text))})
	}
	return all
}

// TestWhatIsExplained holds what is said of decisions: what was needed, the part of
// each statement, why an element did not match, and what was assumed.
func TestWhatIsExplained(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, s := range scenes(t) {
		e := policy.Explain(&s.request, &s.policies)
		fmt.Fprintf(&out, "%s: %s (%s)\n  %s\n", s.name, e.Decision, e.Reason, e.Summary())
		for _, n := range e.Needed {
			fmt.Fprintf(&out, "  needed: %s %s %s\n", n.Source, n.Got, n.Strength)
		}
		for _, d := range e.Documents {
			for i := range d.Statements {
				st := &d.Statements[i]
				fmt.Fprintf(&out, "  %s %d: %s, applies %t: %s", d.Source, st.Index, st.Effect, st.Applies, st.Role)
				fmt.Fprintf(&out, "; principal %s", st.Principal.Match)
				for _, one := range st.Principal.Entries {
					fmt.Fprintf(&out, " [%s %t %s]", one.Value, one.Matched, one.Note)
				}
				fmt.Fprintf(&out, "; action %t %s; resource %t", st.Action.Matched, st.Action.Note, st.Resource.Matched)
				for _, one := range st.Resource.Entries {
					fmt.Fprintf(&out, " [%s %q %t %s %q %q]", one.Pattern, one.Resolved, one.Matched,
						one.FirstDifferentPart, one.Wanted, one.Got)
				}
				for _, c := range st.Conditions {
					fmt.Fprintf(&out, "; %s %s: %t, %s %s", c.Operator, c.Key, c.Matched, c.Why, c.Note)
				}
				out.WriteByte('\n')
			}
		}
		for i := range e.NearMisses {
			fmt.Fprintf(&out, "  near: %s %d: %s %s\n", e.NearMisses[i].Source, e.NearMisses[i].Index,
				e.NearMisses[i].Element, e.NearMisses[i].Because)
		}
		for _, c := range e.Context {
			fmt.Fprintf(&out, "  context: %s %q %s\n", c.Key, c.Values, c.Origin)
		}
		for _, a := range e.Assumptions {
			fmt.Fprintf(&out, "  assumed: %s: %s, matters %t\n", a.Fact, a.Taken, a.Matters)
		}
	}
	golden(t, "explain.golden", out.String())
}

// TestTheOneForm is what formatting makes of a document: elements in the order of
// the grammar, unknown ones last, one value on one line.
func TestTheOneForm(t *testing.T) {
	t.Parallel()
	const text = `{"Zzz":{"Statement":{"Resource":1,"Effect":2},"b":{},"a":[]},"Statement":[
{"Resource":["*"],"X":{"d":[{"c":1}],"e":[[1]],"f":[1,[2],{"g":null}]},"Effect":"Allow","Action":["s3:A","s3:B"]},
{"Sid":"s","NotAction":"*","Effect":"Deny"}],"Id":"i","Version":"2012-10-17"}`
	got, err := policy.Format("p", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "format.golden", string(got))
	if got, err := policy.Format("p", []byte(`{"Version"`)); err == nil || got != nil {
		t.Errorf("half a document becomes %q, %v", got, err)
	}
}
