package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
)

// Names of the generated documents: what is ours is never a stranger's.
const (
	ourAccount = "111122223333"
	foreign    = "999988887777"
	ourCluster = "arn:aws:eks:eu-central-1:111122223333:cluster/prod"
	ourIssuer  = "oidc.eks.eu-central-1.amazonaws.com/id/D539D539D539"
	ourSubject = "system:serviceaccount:shop:cart"
	ourOrg     = "o-abcde12345"
	github     = "token.actions.githubusercontent.com"
)

// source takes its choices from a text, so that a fuzzer can steer them.
type source struct{ data []byte }

func (s *source) n(n int) int {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b) % n
}

func pick[T any](s *source, of []T) T { return of[s.n(len(of))] }

// generatedOperators are all operators, in all forms.
var generatedOperators = func() []string {
	var all []string
	for _, set := range []string{"", "", "", "ForAllValues:", "ForAnyValue:"} {
		for _, base := range []string{
			"StringEquals", "StringEquals", "StringLike", "StringNotEquals", "StringNotLike", "StringEqualsIgnoreCase",
			"StringNotEqualsIgnoreCase", "ArnLike", "ArnEquals", "ArnNotLike", "ArnNotEquals",
		} {
			all = append(all, set+base, set+base, set+base+"IfExists")
		}
	}
	return append(all, "Null", "Null", "Null", "Bool", "BoolIfExists", "IpAddress", "NotIpAddress", "IpAddressIfExists",
		"DateLessThan", "NumericLessThan")
}()

// generatedKey is a condition key with values that people give it.
type generatedKey struct {
	key    string
	values []string
}

var awsKeys = []generatedKey{
	{"aws:PrincipalArn", []string{
		"*", "arn:aws:iam::*:role/*", "arn:aws:iam::111122223333:role/app", "arn:aws:iam::111122223333:*",
		"arn:aws:iam::*:role/app", "arn:aws:iam::${aws:PrincipalAccount}:role/*", "arn:aws:sts::*:federated-user/*",
		"arn:aws:iam::1*:user/*", "arn:aws:iam::????????????:user/a*",
	}},
	{"aws:PrincipalOrgID", []string{ourOrg, "o-*", "*", "${aws:ResourceOrgID}", "${aws:PrincipalOrgID}", "${aws:PrincipalTag/org}"}},
	{"aws:PrincipalOrgPaths", []string{ourOrg + "/*", "o-*/r-*/*", "*", ourOrg + "/r-ab12/ou-ab12-11111111/"}},
	{"aws:PrincipalAccount", []string{ourAccount, "*", "1*", "${aws:ResourceAccount}", "${aws:PrincipalAccount}"}},
	{"aws:PrincipalTag/team", []string{"red", "*", "${aws:PrincipalTag/team}", "${aws:ResourceTag/team}"}},
	{"aws:PrincipalType", []string{"User", "AssumedRole", "*", "Anonymous"}},
	{"aws:PrincipalIsAWSService", []string{"true", "false"}},
	{"aws:userid", []string{"AROAEXAMPLEEXAMPLE1:*", "AROAE*", "AIDAJ*", "*:alice", "*"}},
	{"aws:username", []string{"alice", "${aws:username}", "*"}},
	{"sts:ExternalId", []string{"s3cret", "*", "${aws:PrincipalAccount}", "ext-*"}},
	{"sts:RoleSessionName", []string{"app", "*", "${aws:username}", "${sts:RoleSessionName}"}},
	{"aws:SourceIp", []string{"203.0.113.0/24", "0.0.0.0/0", "10.0.0.0/8"}},
	{"aws:SourceVpce", []string{"vpce-1", "*"}},
	{"aws:RequestTag/team", []string{"red", "*", "${aws:PrincipalTag/team}"}},
	{"aws:MultiFactorAuthPresent", []string{"true", "false"}},
	{"aws:CurrentTime", []string{"2030-01-01T00:00:00Z"}},
}

var serviceKeys = []generatedKey{
	{"aws:SourceArn", []string{
		ourCluster, "*", "arn:aws:eks:*:*:cluster/*", "arn:aws:eks:*:111122223333:cluster/*", "arn:aws:s3:::ours",
		"arn:aws:s3:::our*", "arn:aws:eks:eu-central-1:${aws:SourceAccount}:cluster/*",
	}},
	{"aws:SourceAccount", []string{ourAccount, "*", "1*", "${aws:SourceAccount}", "${aws:ResourceAccount}", "${aws:RequestTag/kubernetes-namespace}"}},
	{"aws:SourceOrgID", []string{ourOrg, "o-*", "${aws:ResourceOrgID}"}},
	{"aws:SourceOrgPaths", []string{ourOrg + "/*", "*"}},
	{"aws:RequestTag/eks-cluster-arn", []string{ourCluster, "*", "${aws:SourceArn}"}},
	{"aws:RequestTag/kubernetes-namespace", []string{"shop", "*"}},
	{"aws:PrincipalServiceName", []string{"pods.eks.amazonaws.com", "*"}},
	{"aws:PrincipalIsAWSService", []string{"true", "false"}},
}

var clusterKeys = []generatedKey{
	{ourIssuer + ":sub", []string{
		ourSubject, ourSubject, "*", "system:serviceaccount:shop:*", "system:serviceaccount:*:cart",
		"system:serviceaccount:shop*", "system:serviceaccount:sho?:cart", "${" + ourIssuer + ":sub}",
		"${" + ourIssuer + ":aud}", "system:serviceaccount:default:*", "*:cart", "system:*", "?*",
	}},
	{ourIssuer + ":sub", []string{ourSubject, "system:serviceaccount:*:cart", "*"}},
	{ourIssuer + ":aud", []string{"sts.amazonaws.com", "*", ourSubject, "${" + ourIssuer + ":aud}"}},
	{ourIssuer + ":kubernetes.io/namespace", []string{"shop"}},
	{"oidc.example/other:sub", []string{ourSubject}},
	{"aws:RequestTag/kubernetes-namespace", []string{"shop", "*"}},
	{"sts:RoleSessionName", []string{"app", "${" + ourIssuer + ":sub}"}},
	{"aws:SourceIp", []string{"203.0.113.0/24"}},
	{"aws:PrincipalArn", []string{"arn:aws:iam::111122223333:role/app"}},
	{"sts:ExternalId", []string{"s3cret"}},
}

var githubKeys = []generatedKey{
	{github + ":sub", []string{
		"repo:ours/app:*", "repo:*", "repo:ours/*", "repo:our*", "repo:ours*/app:*", "*", "?*", "repo:*/app:ref:refs/heads/main",
		"repo:ours/app:ref:refs/heads/main", "${" + github + ":sub}",
	}},
	{github + ":aud", []string{"sts.amazonaws.com", "*"}},
	{github + ":repository", []string{"ours/app", "ours/*", "*/app", "*"}},
	{github + ":repository_id", []string{"123456", "*"}},
	{github + ":environment", []string{"prod", "*"}},
	{github + ":job_workflow_ref", []string{"ours/app/.github/workflows/x.yml@*", "*/.github/*", "*"}},
	{github + ":actor", []string{"alice"}},
	{github + ":ref", []string{"refs/heads/main"}},
	{github + ":colour", []string{"red"}},
}

const (
	signIn   = "https://signin.aws.amazon.com/saml"
	ourSAML  = "arn:aws:iam::111122223333:saml-provider/ours"
	dublinIn = "https://eu-west-1.signin.aws.amazon.com/saml"
)

var generatedSAML = []generatedKey{
	{"SAML:aud", []string{
		signIn, signIn, dublinIn, "*", "https://*", "https://signin.aws.amazon.com/*", "https://*.signin.aws.amazon.com/saml",
		"https://signin.aws.amazon.com*", "https://sso.example.com/acs", "urn:amazon:webservices", signIn + "/",
		"https://signin.amazonaws.cn/saml", "${saml:aud}", "${SAML:iss}", "https://eu-*.signin.aws.amazon.com/saml", "",
		"https://SIGNIN.aws.amazon.com/saml", "?*",
	}},
	{"saml:aud", []string{signIn, "*", "https://sso.example.com/acs"}},
	{"SAML:sub", []string{"alice", "*", "${sts:RoleSessionName}", "${saml:aud}"}},
	{"SAML:sub_type", []string{"persistent", "transient", "*"}},
	{"SAML:iss", []string{"https://idp.example.com/saml", "*"}},
	{"SAML:doc", []string{"111122223333/ours", "*", "111122223333/other"}},
	{"saml:namequalifier", []string{"aGFzaA==", "*"}},
	{"saml:edupersonaffiliation", []string{"staff", "*"}},
	{"saml:groups", []string{"admins"}},
	{"sts:RoleSessionName", []string{"alice", "${saml:sub}", "*"}},
	{"sts:SourceIdentity", []string{"alice", "*"}},
	{"aws:SourceIdentity", []string{"alice", "*"}},
	{"aws:RequestTag/team", []string{"red", "*"}},
	{"aws:PrincipalTag/team", []string{"red"}},
	{"aws:SourceIp", []string{"203.0.113.0/24"}},
}

// cognitoKeys, googleKeys and amazonKeys are of providers that need no ARN.
var (
	cognitoKeys = []generatedKey{
		{cognito + ":aud", []string{ourPool, ourPool, "eu-west-1:*", "*"}},
		{cognito + ":amr", []string{"authenticated", "unauthenticated", "*", "auth*"}},
		{cognito + ":sub", []string{"eu-west-1:11111111-2222-3333-4444-555555555555", "*"}},
		{"sts:RoleSessionName", []string{"web", "*"}},
	}
	googleKeys = []generatedKey{
		{google + ":aud", []string{"ours.apps.example", "*"}},
		{google + ":oaud", []string{"ours.apps.example", "*"}},
		{google + ":sub", []string{"117611761176", "*"}},
		{google + ":email", []string{"alice@ours.example", "*@ours.example"}},
		{google + ":" + googleOrganization, []string{"123456", "*"}},
	}
	amazonKeys = []generatedKey{
		{"www.amazon.com:app_id", []string{"amzn1.application.ours", "*"}},
		{"www.amazon.com:user_id", []string{"amzn1.account.alice", "*"}},
	}
)

const ourPool = "eu-west-1:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

// generatedTrust is a trust policy of one to three statements.
func generatedTrust(s *source) string {
	var statements []string
	for range 1 + s.n(4)/2 {
		statements = append(statements, generatedStatement(s, s.n(6) == 5))
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func generatedStatement(s *source, deny bool) string {
	type kind struct {
		principal, action string
		keys              []generatedKey
	}
	federated := func(text string) string { return `{"Federated":"arn:aws:iam::111122223333:` + text + `"}` }
	one := pick(s, []kind{
		{`{"AWS":"*"}`, "sts:AssumeRole", awsKeys},
		{`{"AWS":"*"}`, "sts:AssumeRole", awsKeys},
		{`{"AWS":["*","111122223333"]}`, "sts:*", awsKeys},
		{`{"AWS":"arn:aws:iam::111122223333:root"}`, "sts:AssumeRole", awsKeys},
		{`{"AWS":"arn:aws:iam::111122223333:role/app"}`, "sts:AssumeRole", awsKeys},
		{`{"Service":"pods.eks.amazonaws.com"}`, "sts:AssumeRole", serviceKeys},
		{`{"Service":["pods.eks.amazonaws.com","lambda.amazonaws.com"]}`, "sts:AssumeRole", serviceKeys},
		{federated("oidc-provider/" + ourIssuer), "sts:AssumeRoleWithWebIdentity", clusterKeys},
		{federated("oidc-provider/" + ourIssuer), "sts:AssumeRoleWithWebIdentity", clusterKeys},
		{federated("oidc-provider/" + github), "sts:AssumeRoleWithWebIdentity", githubKeys},
		{
			`{"AWS":"*","Federated":"arn:aws:iam::111122223333:oidc-provider/` + ourIssuer + `"}`, "sts:*",
			slices.Concat(awsKeys, clusterKeys),
		},
		{`{"AWS":"*","Service":"pods.eks.amazonaws.com"}`, "sts:AssumeRole", slices.Concat(awsKeys, serviceKeys)},
		{federated("saml-provider/ours"), "sts:AssumeRoleWithSAML", generatedSAML},
		{federated("saml-provider/ours"), "sts:AssumeRoleWithSAML", generatedSAML},
		{
			`{"Federated":["` + ourSAML + `","arn:aws:iam::111122223333:oidc-provider/` + ourIssuer + `"]}`, "sts:*",
			slices.Concat(generatedSAML, clusterKeys),
		},
		{`{"Federated":"` + cognito + `"}`, "sts:AssumeRoleWithWebIdentity", cognitoKeys},
		{`{"Federated":"` + google + `"}`, "sts:AssumeRoleWithWebIdentity", googleKeys},
		{`{"Federated":"www.amazon.com"}`, "sts:AssumeRoleWithWebIdentity", amazonKeys},
	})
	action := `"Action":"` + one.action + `"`
	switch s.n(8) {
	case 1:
		action = `"Action":["` + one.action + `","sts:TagSession"]`
	case 2:
		action = `"NotAction":"sts:TagSession"`
	case 3:
		action = `"Action":"sts:*"`
	}
	effect := "Allow"
	if deny {
		effect = "Deny"
	}
	operators := map[string]map[string]any{}
	for range s.n(4) {
		operator, key := pick(s, generatedOperators), pick(s, one.keys)
		values := []string{pick(s, key.values)}
		if s.n(5) == 4 {
			values = append(values, pick(s, key.values))
		}
		if operator == "Null" || strings.HasPrefix(operator, "Bool") {
			values = []string{pick(s, []string{"true", "false"})}
		}
		if operators[operator] == nil {
			operators[operator] = map[string]any{}
		}
		operators[operator][key.key] = values
	}
	condition := ""
	if len(operators) > 0 {
		text, _ := json.Marshal(operators)
		condition = `,"Condition":` + string(text)
	}
	return fmt.Sprintf(`{"Effect":%q,"Principal":%s,%s%s}`, effect, one.principal, action, condition)
}

// strangerRequests are calls by those whom the generated documents never name, with all
// that they can choose chosen from what a document says and from what it does not. They
// are made apart from what lint looks for.
func strangerRequests(s *source, text string) []*Request {
	mine := func(key string, also ...string) string {
		values := append([]string{"stranger", "app", "red", "alice", "s3cret", "ext-1", foreign, "shop", "*"}, also...)
		_ = key
		return pick(s, values)
	}
	var all []*Request
	add := func(p Principal, action string, set map[string]string, multi map[string][]string) {
		c := NewContext().Set("sts:RoleSessionName", pick(s, []string{"app", "stranger", "alice"})).
			Set("aws:SecureTransport", "true").Set("aws:CurrentTime", "2026-11-30T00:00:00Z")
		for _, key := range []string{"aws:RequestTag/team", "aws:RequestTag/kubernetes-namespace"} {
			if strings.Contains(text, key) && s.n(3) > 0 {
				c.Set(key, mine(key))
			}
		}
		for key, one := range set {
			if one != "" {
				c.Set(key, one)
			}
		}
		for key, many := range multi {
			c.SetMulti(key, many)
		}
		all = append(all, &Request{
			Principal: p, Action: action, Context: c, ResourceAccount: ourAccount,
			Resource: "arn:aws:iam::111122223333:role/r",
		})
	}
	maybe := func(values ...string) string {
		if s.n(3) == 0 {
			return ""
		}
		return pick(s, values)
	}
	orgs := func() (string, map[string][]string) {
		org := maybe("o-zzzzz99999", "o-x")
		if org == "" {
			return "", nil
		}
		return org, map[string][]string{"aws:PrincipalOrgPaths": {org + "/r-ab12/ou-ab12-11111111/"}}
	}
	account := pick(s, []string{foreign, "199988887777"})
	for _, kind := range []PrincipalKind{RoleSession, User, FederatedUser, Anonymous, Service} {
		org, paths := orgs()
		set := map[string]string{
			"sts:ExternalId": maybe("s3cret", "ext-1", account, "x"),
			"aws:SourceIp":   pick(s, []string{"203.0.113.9", "198.51.100.9", "10.1.1.1"}),
		}
		p := Principal{Kind: kind, Account: account, Tags: map[string]string{}}
		name := pick(s, []string{"app", "alice", "stranger"})
		switch kind {
		case RoleSession:
			p.RoleARN = "arn:aws:iam::" + account + ":role/" + name
			p.ARN, p.UserID = "arn:aws:sts::"+account+":assumed-role/"+name+"/alice", "AROASTRANGERSTRANGER:alice"
		case User:
			p.ARN, p.UserID, p.UserName = "arn:aws:iam::"+account+":user/"+name, "AIDASTRANGERSTRANGER", name
		case FederatedUser:
			p.ARN, p.UserID = "arn:aws:sts::"+account+":federated-user/"+name, account+":"+name
		case Anonymous:
			p, org, paths = Principal{Kind: kind}, "", nil
		case Service:
			p = Principal{Kind: kind, ARN: "stranger.amazonaws.com"}
			set, org, paths = map[string]string{}, "", nil
		case Root, WebIdentity:
		}
		if tag := maybe("red", "blue"); tag != "" && p.Tags != nil {
			p.Tags["team"] = tag
		}
		if p.Tags != nil {
			p.Tags["org"] = org
		}
		set["aws:PrincipalOrgID"] = org
		if kind != Anonymous && kind != Service {
			set["aws:MultiFactorAuthPresent"] = maybe("true", "false")
		}
		add(p, "sts:AssumeRole", set, paths)
	}
	for _, service := range []string{"pods.eks.amazonaws.com", "lambda.amazonaws.com"} {
		set := map[string]string{
			"aws:SourceAccount": maybe(account),
			"aws:SourceArn": maybe("arn:aws:eks:eu-central-1:"+account+":cluster/prod", "arn:aws:s3:::our-evil",
				"arn:aws:eks:eu-central-1:"+account+":cluster/x"),
			"aws:SourceOrgID":                     maybe("o-zzzzz99999"),
			"aws:RequestTag/kubernetes-namespace": maybe(account, "shop"),
			"aws:RequestTag/eks-cluster-arn":      maybe("arn:aws:eks:eu-central-1:" + account + ":cluster/prod"),
		}
		add(Principal{Kind: Service, ARN: service}, "sts:AssumeRole", set, nil)
	}
	provider := "arn:aws:iam::111122223333:oidc-provider/" + ourIssuer
	for _, subject := range []string{
		"system:serviceaccount:evil:cart", "system:serviceaccount:shopx:cart", "system:serviceaccount:evil:evil",
		"system:serviceaccount:shox:cart", "system:serviceaccount:default:evil",
	} {
		add(Principal{Kind: WebIdentity, ARN: provider, UserID: provider, Account: ourAccount},
			"sts:AssumeRoleWithWebIdentity", map[string]string{
				ourIssuer + ":sub": subject, ourIssuer + ":aud": "sts.amazonaws.com",
				"aws:SourceIp": pick(s, []string{"203.0.113.9", "198.51.100.9"}),
			}, nil)
	}
	provider = "arn:aws:iam::111122223333:oidc-provider/" + github
	for _, repository := range []string{"evil/app", "oursx/app", "our/app", "evil/evil"} {
		add(Principal{Kind: WebIdentity, ARN: provider, UserID: provider, Account: ourAccount},
			"sts:AssumeRoleWithWebIdentity", map[string]string{
				github + ":sub": "repo:" + repository + ":ref:refs/heads/main", github + ":aud": "sts.amazonaws.com",
				github + ":repository": repository, github + ":repository_id": "777", github + ":environment": maybe("prod"),
				github + ":job_workflow_ref": repository + "/.github/workflows/x.yml@refs/heads/main",
				github + ":actor":            pick(s, []string{"alice", "mallory"}), github + ":ref": "refs/heads/main",
			}, nil)
	}
	for _, audience := range []string{
		"https://sso.example.com/acs", "https://evil.example/signin", "https://signin.aws.amazon.com.evil.example/saml", "",
	} {
		who, action, set := assertionOf(s, audience)
		add(who, action, set, nil)
	}
	// Tokens of other pools and applications, and for Google of anybody for our audience.
	builtin := func(provider string, set map[string]string, multi map[string][]string) {
		add(Principal{Kind: WebIdentity, ARN: provider, UserID: provider}, "sts:AssumeRoleWithWebIdentity", set, multi)
	}
	for _, amr := range []string{"authenticated", "unauthenticated"} {
		builtin(cognito, map[string]string{
			cognito + ":aud": "eu-west-1:99999999-bbbb-cccc-dddd-eeeeeeeeeeee", cognito + ":sub": "eu-west-1:9999",
		}, map[string][]string{cognito + ":amr": {amr}})
	}
	if !strings.Contains(text, unauthenticated) { // else guests are meant somewhere
		builtin(cognito, map[string]string{cognito + ":aud": ourPool, cognito + ":sub": "eu-west-1:9999"},
			map[string][]string{cognito + ":amr": {unauthenticated}})
	}
	builtin(google, map[string]string{
		google + ":" + googleOrganization: maybe("777"), google + ":aud": "evil.apps.example", google + ":sub": "9999",
		google + ":email": "mallory@evil.example",
	}, map[string][]string{google + ":oaud": {pick(s, []string{"ours.apps.example", "evil"})}})
	builtin("www.amazon.com", map[string]string{
		"www.amazon.com:app_id": "amzn1.application.evil", "www.amazon.com:user_id": "amzn1.account.mallory",
	}, nil)
	return all
}

// assertionOf is a call with an assertion of our provider's, made for an audience.
func assertionOf(s *source, audience string) (Principal, string, map[string]string) {
	user := pick(s, []string{"alice", "mallory"})
	return Principal{Kind: WebIdentity, ARN: ourSAML, UserID: ourSAML, Account: ourAccount}, "sts:AssumeRoleWithSAML",
		map[string]string{
			"saml:aud": audience, "saml:sub": user, "saml:sub_type": pick(s, []string{"persistent", "transient"}),
			"saml:iss": "https://idp.example.com/saml", "saml:doc": "111122223333/ours", "saml:namequalifier": "aGFzaA==",
			"saml:edupersonaffiliation": pick(s, []string{"staff", ""}),
			"sts:SourceIdentity":        pick(s, []string{"", "", user}),
			"aws:SourceIp":              pick(s, []string{"203.0.113.9", "198.51.100.9"}),
		}
}

// asked is the engine's answer to a caller whose own policies allow everything.
func asked(p *Policy, r *Request) bool {
	policies := &Policies{Trust: p}
	switch r.Principal.Kind {
	case User, RoleSession, FederatedUser:
		policies.Identity, policies.Session = []*Policy{Everything()}, []*Policy{Everything()}
	case Anonymous, Service, WebIdentity, Root:
	}
	actions := []string{r.Action}
	for key := range r.Context.entries {
		switch {
		case strings.HasPrefix(key, "aws:requesttag/"):
			actions = appendNew(actions, "sts:TagSession")
		case key == "sts:sourceidentity":
			actions = appendNew(actions, "sts:SetSourceIdentity")
		}
	}
	d, _ := DecideAll(r, actions, policies)
	return d.Effect == Allowed
}

// lintAgrees holds what lint says of a generated document to what the engine does.
func lintAgrees(t *testing.T, data []byte) {
	t.Helper()
	s := &source{data: data}
	text := generatedTrust(s)
	p, err := Parse(Trust, "p", []byte(text))
	if err != nil {
		return // IAM refuses it, and so does lint
	}
	options := LintOptions{Account: ourAccount}
	findings := Lint(Trust, "p", []byte(text), options)
	if GuessKind([]byte(text)) != Trust {
		t.Fatalf("%s is not taken for a trust policy", text)
	}
	byTrustLint := Lint(Trust, "p", []byte(text), LintOptions{Account: ourAccount, Role: &RoleFacts{Quota: 2048}})
	if !reflect.DeepEqual(findings, byTrustLint) {
		t.Fatalf("%s\npolicy lint: %+v\ntrust lint: %+v", text, findings, byTrustLint)
	}
	saysOpen := slices.ContainsFunc(findings, func(f finding.Finding) bool { return LetsStrangersIn(f.Rule) })
	requests := strangerRequests(s, text)
	for _, r := range requests {
		if asked(p, r) && !saysOpen {
			t.Fatalf("%s\nlint: %+v\nlets in %+v %+v", text, findings, r.Principal, r.Context.entries)
		}
	}
	l := &linter{
		options: LintOptions{Account: ourAccount, Role: &RoleFacts{}}, policy: p, decoder: &decoder{kind: Trust, name: "p", text: []byte(text)},
		place: newCursor([]byte(text)), effort: maxEffort,
	}
	if saysOpen && !anyStranger(l) {
		t.Fatalf("%s\nlint says that strangers get in: %+v", text, findings)
	}
	// Who is said to be nobody is let in neither as a stranger nor as one of ours.
	if !slices.ContainsFunc(findings, func(f finding.Finding) bool { return f.Rule == "admits-nobody" }) ||
		len(p.statements) != 1 || len(p.statements[0].principal.entries) != 1 {
		return
	}
	for _, r := range append(requests, insiderRequests(s)...) {
		if asked(p, r) {
			t.Fatalf("%s\nlint says nobody: %+v\nlets in %+v %+v", text, findings, r.Principal, r.Context.entries)
		}
	}
}

// anyStranger asks the engine again about those whom lint found.
func anyStranger(l *linter) bool {
	for i := range l.policy.statements {
		s := &l.policy.statements[i]
		for j := range s.principal.entries {
			if !s.allow {
				continue
			}
			entry := &s.principal.entries[j]
			guest := casting{l: l, statement: s, kind: WebIdentity, entry: entry, guest: true}
			for _, got := range []*found{l.stranger(s, entry), guest.search()} {
				if got != nil && asked(l.policy, got.request) {
					return true
				}
			}
		}
	}
	return false
}

// insiderRequests are calls by those whom the documents mean.
func insiderRequests(s *source) []*Request {
	var all []*Request
	add := func(p Principal, action string, keys ...string) {
		c := NewContext().Set("sts:RoleSessionName", pick(s, []string{"app", "x1"})).Set("aws:SecureTransport", "true")
		for i := 0; i < len(keys); i += 2 {
			if s.n(4) > 0 || isTokenKey(fold(keys[i])) || strings.HasPrefix(keys[i], "saml:") {
				c.Set(keys[i], keys[i+1])
			}
		}
		all = append(all, &Request{
			Principal: p, Action: action, Context: c, ResourceAccount: ourAccount,
			Resource: "arn:aws:iam::111122223333:role/r",
		})
	}
	add(Principal{
		Kind: RoleSession, RoleARN: "arn:aws:iam::111122223333:role/app", Account: ourAccount,
		ARN: "arn:aws:sts::111122223333:assumed-role/app/x", UserID: "AROAEXAMPLEEXAMPLE1:x", Tags: map[string]string{"team": "red"},
	}, "sts:AssumeRole", "sts:ExternalId", "s3cret", "aws:PrincipalOrgID", ourOrg, "aws:SourceIp", "203.0.113.9",
		"aws:MultiFactorAuthPresent", "true")
	add(Principal{Kind: Service, ARN: "pods.eks.amazonaws.com"}, "sts:AssumeRole", "aws:SourceArn", ourCluster,
		"aws:SourceAccount", ourAccount, "aws:RequestTag/eks-cluster-arn", ourCluster, "aws:SourceOrgID", ourOrg)
	provider := "arn:aws:iam::111122223333:oidc-provider/" + ourIssuer
	add(Principal{Kind: WebIdentity, ARN: provider, UserID: provider, Account: ourAccount}, "sts:AssumeRoleWithWebIdentity",
		ourIssuer+":sub", ourSubject, ourIssuer+":aud", "sts.amazonaws.com", "aws:SourceIp", "203.0.113.9")
	for _, audience := range []string{signIn, dublinIn} {
		who, action, set := assertionOf(s, audience)
		var keys []string
		for _, key := range slices.Sorted(maps.Keys(set)) {
			if set[key] != "" {
				keys = append(keys, key, set[key])
			}
		}
		add(who, action, keys...)
	}
	add(Principal{Kind: WebIdentity, ARN: cognito, UserID: cognito}, "sts:AssumeRoleWithWebIdentity",
		cognito+":aud", ourPool, cognito+":sub", "eu-west-1:11111111-2222-3333-4444-555555555555",
		cognito+":amr", pick(s, []string{"authenticated", "unauthenticated"}))
	add(Principal{Kind: WebIdentity, ARN: google, UserID: google}, "sts:AssumeRoleWithWebIdentity",
		google+":aud", "ours.apps.example", google+":sub", "117611761176", google+":email", "alice@ours.example")
	add(Principal{Kind: WebIdentity, ARN: "www.amazon.com", UserID: "www.amazon.com"}, "sts:AssumeRoleWithWebIdentity",
		"www.amazon.com:app_id", "amzn1.application.ours", "www.amazon.com:user_id", "amzn1.account.alice")
	return all
}

// TestStrangers: lint and engine agree about generated trust policies of every kind.
func TestStrangers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test's own sequence
	for range 3000 {
		data := make([]byte, 160)
		for i := range data {
			data[i] = byte(random.IntN(256))
		}
		lintAgrees(t, data)
	}
}

// FuzzStrangers is the same for as long as it may take.
func FuzzStrangers(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x01\x02\x00"))
	f.Add([]byte("strangers are those whom the document does not name, whatever they choose"))
	f.Fuzz(func(t *testing.T, data []byte) { lintAgrees(t, data) })
}
