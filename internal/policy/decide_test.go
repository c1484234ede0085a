package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

// The cast of spec iam-policy §10.
const (
	provider = "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A1"
	keys     = "oidc.example/id/A1"
	reader   = "system:serviceaccount:default:s3-reader"
	roleR    = "arn:aws:iam::111122223333:role/app"
	roleT    = "arn:aws:iam::111122223333:role/target"
	roleTB   = "arn:aws:iam::444455556666:role/target"
)

var (
	alice   = policy.Principal{Kind: policy.User, ARN: "arn:aws:iam::111122223333:user/alice", UserName: "alice", Account: "111122223333", EntityID: "AIDAALICEALICEALICE1"}
	session = policy.Principal{Kind: policy.RoleSession, ARN: "arn:aws:sts::111122223333:assumed-role/app/sess", RoleARN: roleR, EntityID: "AROAAPPAPPAPPAPPAPP12", Account: "111122223333"}
	other   = policy.Principal{Kind: policy.RoleSession, ARN: "arn:aws:sts::111122223333:assumed-role/app/other", RoleARN: roleR, EntityID: "AROAAPPAPPAPPAPPAPP12", Account: "111122223333"}
	pods    = policy.Principal{Kind: policy.Service, ARN: "pods.eks.amazonaws.com"}
	oidc    = policy.Principal{Kind: policy.WebIdentity, ARN: provider, UserID: provider, Account: "111122223333"}
)

func token(subject, audience string) *policy.Context {
	return policy.NewContext().Set(keys+":sub", subject).Set(keys+":aud", audience)
}

// doc builds a document from statements written with ' for ".
func doc(statements ...string) string {
	return strings.ReplaceAll(`{'Version':'2012-10-17','Statement':[`+strings.Join(statements, ",")+`]}`, "'", `"`)
}

func webTrust(condition string) string {
	return doc(`{'Effect':'Allow','Principal':{'Federated':'` + provider + `'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{` + condition + `}}`)
}

func roleTrust(principal string) string {
	return doc(`{'Effect':'Allow','Principal':` + principal + `,'Action':'sts:AssumeRole'}`)
}

func TestWebIdentityTrust(t *testing.T) {
	t.Parallel()
	sub := func(op, value string) string { return `'` + op + `':{'` + keys + `:sub':` + value + `}` }
	for _, row := range []struct {
		name    string
		trust   string
		context *policy.Context
		want    policy.Effect
	}{
		{"1 sub equal", webTrust(sub("StringEquals", "'"+reader+"'")), token(reader, "a"), policy.Allowed},
		{"2 another account", webTrust(sub("StringEquals", "'"+reader+"'")), token("system:serviceaccount:default:other", "a"), policy.ImplicitDeny},
		{"3 key in other case", webTrust(`'StringEquals':{'OIDC.Example/ID/a1:SUB':'` + reader + `'}`), token(reader, "a"), policy.Allowed},
		{"4 value in other case", webTrust(sub("StringEquals", "'System:ServiceAccount:default:s3-reader'")), token(reader, "a"), policy.ImplicitDeny},
		{"5 literal star", webTrust(sub("StringEquals", "'system:serviceaccount:default:*'")), token(reader, "a"), policy.ImplicitDeny},
		{"6 like", webTrust(sub("StringLike", "'system:serviceaccount:default:*'")), token(reader, "a"), policy.Allowed},
		{"7 and a misspelt key", webTrust(sub("StringEquals", "'"+reader+"'") + `,'StringLike':{'oidc.example/CLUSTER_ID:sub':'*'}`), token(reader, "a"), policy.ImplicitDeny},
		{"8 wrong audience", webTrust(`'StringEquals':{'` + keys + `:sub':'` + reader + `','` + keys + `:aud':'sts.amazonaws.com'}`), token(reader, "test"), policy.ImplicitDeny},
		{"9 audience only", webTrust(`'StringEquals':{'` + keys + `:aud':'test'}`), token("x", "test"), policy.Allowed},
		{"10 no condition", webTrust(""), token("x", "y"), policy.Allowed},
		{"11 another provider", strings.ReplaceAll(webTrust(""), "A1\"", "B1\""), token(reader, "a"), policy.ImplicitDeny},
		{"12 AssumeRole", strings.ReplaceAll(webTrust(""), "sts:AssumeRoleWithWebIdentity", "sts:AssumeRole"), token(reader, "a"), policy.ImplicitDeny},
		{"13 second of a list", webTrust(sub("StringEquals", "['x','"+reader+"']")), token(reader, "a"), policy.Allowed},
		{
			"15 denied namespace", doc(`{'Effect':'Allow','Principal':{'Federated':'`+provider+`'},'Action':'sts:*'}`,
				`{'Effect':'Deny','Principal':{'Federated':'`+provider+`'},'Action':'sts:*','Condition':{`+sub("StringLike", "'system:serviceaccount:kube-system:*'")+`}}`),
			token("system:serviceaccount:kube-system:x", "a"), policy.ExplicitDeny,
		},
		{"16 ForAllValues without the key", webTrust(sub("ForAllValues:StringEquals", "'"+reader+"'")), policy.NewContext(), policy.Allowed},
		{"17 IfExists without the key", webTrust(`'StringEqualsIfExists':{'` + keys + `:azp':'app'}`), token(reader, "a"), policy.Allowed},
		{"18 AWS star", doc(`{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:AssumeRoleWithWebIdentity'}`), token(reader, "a"), policy.ImplicitDeny},
		{"62 ForAllValues on absent amr", webTrust(`'ForAllValues:StringEquals':{'` + keys + `:amr':'x'}`), token(reader, "a"), policy.Allowed},
		{"63 ForAnyValue on absent amr", webTrust(`'ForAnyValue:StringEquals':{'` + keys + `:amr':'x'}`), token(reader, "a"), policy.ImplicitDeny},
		{"179 what the login knows", webTrust(`'StringEquals':{'aws:PrincipalType':'User','aws:PrincipalAccount':'111122223333','aws:userid':'` + provider + `'}`), token(reader, "a"), policy.Allowed},
		{"180 no PrincipalArn", webTrust(`'ArnLike':{'aws:PrincipalArn':'*'}`), token(reader, "a"), policy.ImplicitDeny},
		{"181 no roles claim", webTrust(`'Bool':{'sts:RoleAuthorizedByIdp':'true'}`), token(reader, "a").Set("sts:RoleAuthorizedByIdp", "false"), policy.ImplicitDeny},
		{"182 other claims are no keys", webTrust(`'StringLike':{'` + keys + `:kubernetes.io/namespace':'*'}`), token(reader, "a"), policy.ImplicitDeny},
	} {
		decide(t, row.name, policy.Request{Principal: oidc, Action: "sts:AssumeRoleWithWebIdentity", Resource: roleT, Context: row.context},
			&policy.Policies{Trust: parse(t, policy.Trust, row.trust)}, row.want)
	}
}

func TestTakingRoles(t *testing.T) {
	t.Parallel()
	allowT := doc(`{'Effect':'Allow','Action':'sts:AssumeRole','Resource':['` + roleT + `','` + roleTB + `']}`)
	onlyS3 := doc(`{'Effect':'Allow','Action':'s3:*','Resource':'*'}`)
	root := `{'AWS':'arn:aws:iam::111122223333:root'}`
	conditioned := func(principal, condition string) string {
		return doc(`{'Effect':'Allow','Principal':` + principal + `,'Action':'sts:AssumeRole','Condition':{` + condition + `}}`)
	}
	for _, row := range []struct {
		name                               string
		who                                policy.Principal
		trust, identity, boundary, session string
		resource                           string
		context                            *policy.Context
		want                               policy.Effect
	}{
		{name: "30 root trust, no identity", who: alice, trust: roleTrust(root), want: policy.ImplicitDeny},
		{name: "31 root trust and identity", who: alice, trust: roleTrust(root), identity: allowT, want: policy.Allowed},
		{name: "32 bare account number", who: alice, trust: roleTrust(`{'AWS':'111122223333'}`), identity: allowT, want: policy.Allowed},
		{name: "33 the user himself", who: alice, trust: roleTrust(`{'AWS':'` + alice.ARN + `'}`), want: policy.Allowed},
		{name: "34 another user", who: alice, trust: roleTrust(`{'AWS':'arn:aws:iam::111122223333:user/bob'}`), identity: doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`), want: policy.ImplicitDeny},
		{name: "35 the session's role", who: session, trust: roleTrust(`{'AWS':'` + roleR + `'}`), want: policy.Allowed},
		{name: "37 another session", who: other, trust: roleTrust(`{'AWS':'` + session.ARN + `'}`), want: policy.ImplicitDeny},
		{name: "38 everybody", who: alice, trust: roleTrust(`{'AWS':'*'}`), want: policy.Allowed},
		{name: "39 identity denies", who: alice, trust: roleTrust(`{'AWS':'` + alice.ARN + `'}`), identity: doc(`{'Effect':'Deny','Action':'sts:*','Resource':'*'}`), want: policy.ExplicitDeny},
		{name: "43 external id missing", who: alice, trust: conditioned(`{'AWS':'`+alice.ARN+`'}`, `'StringEquals':{'sts:ExternalId':'x1'}`), want: policy.ImplicitDeny},
		{name: "44 session name is the user's", who: alice, trust: conditioned(`{'AWS':'`+alice.ARN+`'}`, `'StringLike':{'sts:RoleSessionName':'${aws:username}'}`), context: policy.NewContext().Set("sts:RoleSessionName", "alice"), want: policy.Allowed},
		{name: "45 a session has no username", who: session, identity: allowT, trust: conditioned(root, `'StringLike':{'sts:RoleSessionName':'${aws:username}'}`), context: policy.NewContext().Set("sts:RoleSessionName", "alice"), want: policy.ImplicitDeny},
		{name: "48 id of a deleted role", who: session, trust: roleTrust(`{'AWS':'AROAGONEGONEGONEGONE1'}`), want: policy.ImplicitDeny},
		{name: "49 boundary silent, by role", who: session, trust: roleTrust(`{'AWS':'` + roleR + `'}`), boundary: onlyS3, want: policy.ImplicitDeny},
		{name: "50 boundary silent, direct", who: session, trust: roleTrust(`{'AWS':'` + session.ARN + `'}`), boundary: onlyS3, want: policy.Allowed},
		{name: "52 PrincipalArn is the role", who: session, trust: conditioned(`{'AWS':'*'}`, `'ArnLike':{'aws:PrincipalArn':'`+roleR+`*'}`), want: policy.Allowed},
		{name: "53 PrincipalArn is not the session", who: session, trust: conditioned(`{'AWS':'*'}`, `'ArnLike':{'aws:PrincipalArn':'`+session.ARN+`'}`), want: policy.ImplicitDeny},
		{name: "55 other account, both sides", who: alice, trust: roleTrust(root), identity: allowT, resource: roleTB, want: policy.Allowed},
		{name: "56 other account, no identity", who: alice, trust: roleTrust(`{'AWS':'` + alice.ARN + `'}`), resource: roleTB, want: policy.ImplicitDeny},
		{name: "57 other account trusts itself only", who: alice, trust: roleTrust(`{'AWS':'arn:aws:iam::444455556666:root'}`), identity: allowT, resource: roleTB, want: policy.ImplicitDeny},
		{name: "58 other account trusts everybody", who: alice, trust: roleTrust(`{'AWS':'*'}`), resource: roleTB, want: policy.ImplicitDeny},
		{name: "59 session policy silent", who: session, trust: roleTrust(`{'AWS':'` + roleR + `'}`), identity: allowT, session: onlyS3, resource: roleTB, want: policy.ImplicitDeny},
		{name: "26 another service", who: pods, trust: roleTrust(`{'Service':'ec2.amazonaws.com'}`), want: policy.ImplicitDeny},
		{name: "19 the service", who: pods, trust: roleTrust(`{'Service':'pods.eks.amazonaws.com'}`), want: policy.Allowed},
		{name: "root user", who: policy.Principal{Kind: policy.Root, ARN: "arn:aws:iam::111122223333:root", Account: "111122223333"}, trust: roleTrust(root), identity: allowT, want: policy.ImplicitDeny},
		{name: "another partition's root", who: alice, trust: roleTrust(`{'AWS':'arn:aws-cn:iam::111122223333:root'}`), identity: allowT, want: policy.ImplicitDeny},
	} {
		request := policy.Request{Principal: row.who, Action: "sts:AssumeRole", Resource: roleT, Context: row.context}
		if row.resource != "" {
			request.Resource = row.resource
		}
		policies := &policy.Policies{Trust: parse(t, policy.Trust, row.trust)}
		if row.identity != "" {
			policies.Identity = []*policy.Policy{parse(t, policy.Identity, row.identity)}
		}
		if row.boundary != "" {
			policies.Boundary = parse(t, policy.Boundary, row.boundary)
		}
		if row.session != "" {
			policies.Session, policies.HasSession = []*policy.Policy{parse(t, policy.Session, row.session)}, true
		}
		decide(t, row.name, request, policies, row.want)
	}
}

func TestIdentityPolicies(t *testing.T) {
	t.Parallel()
	const object = "arn:aws:s3:::bkt/docs/a.txt"
	star := func(condition string) string {
		return `{'Effect':'Allow','Action':'s3:*','Resource':'*','Condition':{` + condition + `}}`
	}
	x := func(v string) *policy.Context { return policy.NewContext().Set("aws:RequestTag/x", v) }
	tagKeys := func(v ...string) *policy.Context { return policy.NewContext().SetMulti("aws:TagKeys", v) }
	for _, row := range []struct {
		name, statement, resource string
		context                   *policy.Context
		want                      policy.Effect
	}{
		{"63", `{'Effect':'Allow','Action':'s3:Get*','Resource':'arn:aws:s3:::bkt/*'}`, object, nil, policy.Allowed},
		{"64 action case", `{'Effect':'Allow','Action':'S3:GETOBJECT','Resource':'*'}`, object, nil, policy.Allowed},
		{"65 question mark", `{'Effect':'Allow','Action':'s3:Get?bject','Resource':'*'}`, object, nil, policy.Allowed},
		{"66 resource case", `{'Effect':'Allow','Action':'s3:GetObject','Resource':'arn:aws:s3:::BKT/*'}`, object, nil, policy.ImplicitDeny},
		{"67 bucket is not its keys", `{'Effect':'Allow','Action':'s3:GetObject','Resource':'arn:aws:s3:::bkt'}`, object, nil, policy.ImplicitDeny},
		{"68", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::*/docs/*'}`, object, nil, policy.Allowed},
		{"69 NotAction", `{'Effect':'Allow','NotAction':'iam:*','Resource':'*'}`, object, nil, policy.Allowed},
		{"70 NotResource", `{'Effect':'Allow','Action':'s3:*','NotResource':'arn:aws:s3:::bkt/docs/*'}`, object, nil, policy.ImplicitDeny},
		{"a star in a part stops at its colon", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:*:bkt/docs/a.txt'}`, object, nil, policy.ImplicitDeny},
		{"75 variable", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::bkt/${aws:username}/*'}`, "arn:aws:s3:::bkt/alice/k", nil, policy.Allowed},
		{"79 a value is no pattern", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::bkt/${aws:RequestTag/x}/*'}`, "arn:aws:s3:::bkt/other/k", x("*"), policy.ImplicitDeny},
		{"80 default", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::bkt-${aws:RequestTag/x, \u0027all\u0027}/*'}`, "arn:aws:s3:::bkt-all/k", nil, policy.Allowed},
		{"81 default not used", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::bkt-${aws:RequestTag/x, \u0027all\u0027}/*'}`, "arn:aws:s3:::bkt-all/k", x("red"), policy.ImplicitDeny},
		{"82 unresolved", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::bkt/${aws:RequestTag/x}/*'}`, object, nil, policy.ImplicitDeny},
		{"84 escape", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::bkt/a${*}b'}`, "arn:aws:s3:::bkt/a*b", nil, policy.Allowed},
		{"85 escape is literal", `{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::bkt/a${*}b'}`, "arn:aws:s3:::bkt/axxb", nil, policy.ImplicitDeny},
		{"176 whole value", `{'Effect':'Allow','Action':'s3:*','Resource':'${aws:RequestTag/x}'}`, object, x(object), policy.Allowed},
		{"87 absent", star(`'StringEquals':{'aws:RequestTag/x':'a'}`), object, nil, policy.ImplicitDeny},
		{"88 negated, absent", star(`'StringNotEquals':{'aws:RequestTag/x':'a'}`), object, nil, policy.Allowed},
		{"89 none of them", star(`'StringNotEquals':{'aws:RequestTag/x':['a','b']}`), object, x("b"), policy.ImplicitDeny},
		{"90", star(`'StringNotLike':{'aws:RequestTag/x':['a*','b*']}`), object, x("ca"), policy.Allowed},
		{"91", star(`'StringEqualsIgnoreCase':{'aws:RequestTag/x':'ABC'}`), object, x("aBc"), policy.Allowed},
		{"93", star(`'StringEqualsIfExists':{'aws:RequestTag/x':'a'}`), object, x("b"), policy.ImplicitDeny},
		{"94", star(`'Null':{'aws:RequestTag/x':'true'}`), object, nil, policy.Allowed},
		{"95", star(`'Null':{'aws:RequestTag/x':'false'}`), object, nil, policy.ImplicitDeny},
		{"96 JSON boolean", star(`'Bool':{'aws:SecureTransport':true}`), object, policy.NewContext().Set("aws:SecureTransport", "true"), policy.Allowed},
		{"163 anything else is false", star(`'Bool':{'aws:RequestTag/x':'false'}`), object, x("yes"), policy.Allowed},
		{"107 multivalued needs a set operator", star(`'StringEquals':{'aws:TagKeys':'a'}`), object, tagKeys("a"), policy.ImplicitDeny},
		{"150 negated too", star(`'StringNotEquals':{'aws:TagKeys':'team'}`), object, tagKeys("env"), policy.ImplicitDeny},
		{"108", star(`'ForAllValues:StringEquals':{'aws:TagKeys':['a','b']}`), object, tagKeys("a"), policy.Allowed},
		{"109", star(`'ForAllValues:StringEquals':{'aws:TagKeys':['a','b']}`), object, tagKeys("a", "c"), policy.ImplicitDeny},
		{"110", star(`'ForAllValues:StringEquals':{'aws:TagKeys':['a','b']}`), object, nil, policy.Allowed},
		{"112", star(`'ForAnyValue:StringEquals':{'aws:TagKeys':['a','b']}`), object, tagKeys("z", "b"), policy.Allowed},
		{"113", star(`'ForAnyValue:StringEquals':{'aws:TagKeys':['a','b']}`), object, tagKeys(), policy.ImplicitDeny},
		{"114", star(`'ForAnyValue:StringNotEquals':{'aws:TagKeys':['a','b']}`), object, tagKeys("a", "c"), policy.Allowed},
		{"115", star(`'ForAllValues:StringNotEquals':{'aws:TagKeys':['a','b']}`), object, tagKeys("a", "c"), policy.ImplicitDeny},
		{"152", star(`'ForAnyValue:StringEqualsIfExists':{'aws:TagKeys':'team'}`), object, nil, policy.ImplicitDeny},
		{"154 an empty value is a value", star(`'ForAllValues:StringEquals':{'aws:RequestTag/x':'a'}`), object, x(""), policy.ImplicitDeny},
		{"156 empty list", star(`'StringNotEquals':{'aws:RequestTag/x':[]}`), object, x("a"), policy.ImplicitDeny},
		{"157 empty list, set", star(`'ForAllValues:StringEquals':{'aws:TagKeys':[]}`), object, tagKeys("a"), policy.ImplicitDeny},
		{"170 no ARN", star(`'ArnNotLike':{'aws:RequestTag/x':'arn:aws:iam::*:user/*'}`), object, x("not-an-arn"), policy.ImplicitDeny},
		{"104 parts", star(`'ArnLike':{'aws:RequestTag/x':'arn:aws:x:*:111122223333:f/*'}`), object, x("arn:aws:x:eu:999999999999:store/abc:111122223333:f/d"), policy.ImplicitDeny},
		{"105 the same as text", star(`'StringLike':{'aws:RequestTag/x':'arn:aws:x:*:111122223333:f/*'}`), object, x("arn:aws:x:eu:999999999999:store/abc:111122223333:f/d"), policy.Allowed},
		{"173", star(`'StringEqualsIgnoreCase':{'aws:RequestTag/x':'\u00df'}`), object, x("\u1e9e"), policy.Allowed},
		{"174", star(`'StringEqualsIgnoreCase':{'aws:RequestTag/x':'s'}`), object, x("\u017f"), policy.ImplicitDeny},
		{"175 two code units", star(`'StringLike':{'aws:RequestTag/x':'a?'}`), object, x("a\U00010410"), policy.ImplicitDeny},
		{"97", star(`'NumericLessThanEquals':{'aws:RequestTag/x':'10'}`), object, x("9.5"), policy.Allowed},
		{"98 trailing text", star(`'NumericEquals':{'aws:RequestTag/x':'10'}`), object, x("10abc"), policy.ImplicitDeny},
		{"99", star(`'DateLessThan':{'aws:CurrentTime':'2030-01-01T00:00:00Z'}`), object, policy.NewContext().Set("aws:CurrentTime", "2026-05-01"), policy.Allowed},
		{"100 epoch against ISO", star(`'DateGreaterThan':{'aws:CurrentTime':'1700000000'}`), object, policy.NewContext().Set("aws:CurrentTime", "2020-01-01T00:00:00Z"), policy.ImplicitDeny},
		{"101", star(`'IpAddress':{'aws:SourceIp':['10.0.0.0/8','2001:db8::/32']}`), object, policy.NewContext().Set("aws:SourceIp", "2001:db8::5"), policy.Allowed},
		{"102", star(`'IpAddress':{'aws:SourceIp':'0.0.0.0/0'}`), object, policy.NewContext().Set("aws:SourceIp", "203.0.113.9"), policy.Allowed},
		{"102 the other family", star(`'IpAddress':{'aws:SourceIp':'0.0.0.0/0'}`), object, policy.NewContext().Set("aws:SourceIp", "2001:db8::1"), policy.ImplicitDeny},
		{"103", star(`'NotIpAddress':{'aws:SourceIp':['10.0.0.0/8','192.168.0.0/16']}`), object, policy.NewContext().Set("aws:SourceIp", "192.168.1.1"), policy.ImplicitDeny},
		{"158 no number", star(`'NumericNotEquals':{'aws:RequestTag/x':'1'}`), object, x("no-number"), policy.Allowed},
		{"159 exact", star(`'NumericEquals':{'aws:RequestTag/x':'9007199254740993'}`), object, x("9007199254740992"), policy.ImplicitDeny},
		{"number spellings", star(`'NumericEquals':{'aws:RequestTag/x':5.50}`), object, x("+05.5e0"), policy.Allowed},
		{"160 no date", star(`'DateNotEquals':{'aws:RequestTag/x':'2030-01-01T00:00:00Z'}`), object, x("not-a-date"), policy.Allowed},
		{"161 epoch with a sign", star(`'DateEquals':{'aws:RequestTag/x':'2030-01-01T00:00:00Z'}`), object, x("+1893456000"), policy.Allowed},
		{"162 same millisecond", star(`'DateEquals':{'aws:RequestTag/x':'2030-01-01T00:00:00.1231Z'}`), object, x("2030-01-01T00:00:00.1239Z"), policy.Allowed},
		{"zones", star(`'DateEquals':{'aws:RequestTag/x':'2030-01-01T00:00Z'}`), object, x("2030-01-01t01:30+01:30"), policy.Allowed},
		{"a year", star(`'DateEquals':{'aws:RequestTag/x':'2030'}`), object, x("2030-01-01"), policy.Allowed},
		{"165 no padding", star(`'BinaryEquals':{'aws:RequestTag/x':'YQ=='}`), object, x("YQ"), policy.ImplicitDeny},
		{"binary", star(`'BinaryEquals':{'aws:RequestTag/x':'YQ=='}`), object, x("YQ=="), policy.Allowed},
		{"166 no address", star(`'NotIpAddress':{'aws:RequestTag/x':'192.0.2.0/24'}`), object, x("not-an-ip"), policy.ImplicitDeny},
		{"a range is no address", star(`'IpAddress':{'aws:RequestTag/x':'192.0.2.0/24'}`), object, x("192.0.2.0/25"), policy.ImplicitDeny},
		{"167 leading zeros", star(`'IpAddress':{'aws:RequestTag/x':'192.000.002.0/024'}`), object, x("192.0.2.1"), policy.Allowed},
		{"168 mapped", star(`'IpAddress':{'aws:RequestTag/x':'192.0.2.0/24'}`), object, x("::ffff:192.0.2.1"), policy.Allowed},
		{"host bits of IPv4", star(`'IpAddress':{'aws:RequestTag/x':'192.0.2.77/24'}`), object, x("192.0.2.1"), policy.Allowed},
		{"175b", star(`'StringLike':{'aws:RequestTag/x':'a??'}`), object, x("a\U00010410"), policy.Allowed},
	} {
		decide(t, row.name, policy.Request{Principal: alice, Action: "s3:GetObject", Resource: row.resource, ResourceAccount: "111122223333", Context: row.context},
			&policy.Policies{Identity: []*policy.Policy{parse(t, policy.Identity, doc(row.statement))}}, row.want)
	}
}

// TestSessionValues: session policies are not checked for the form of values.
func TestSessionValues(t *testing.T) {
	t.Parallel()
	all := doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`)
	for _, row := range []struct {
		name, session string
		x             string
		want          policy.Effect
	}{
		{"171 a Deny with a bad ARN applies", doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`, `{'Effect':'Deny','Action':'*','Resource':'*','Condition':{'ArnLike':{'aws:RequestTag/x':'not-an-arn'}}}`), roleR, policy.ExplicitDeny},
		{"172 an Allow with a bad ARN does not", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'ArnNotLike':{'aws:RequestTag/x':'not-an-arn'}}}`), roleR, policy.ImplicitDeny},
		{"169 IPv6 with host bits", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'IpAddress':{'aws:RequestTag/x':'2001:db8::5/64'}}}`), "2001:db8::5", policy.ImplicitDeny},
		{"a number that is none", doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'NumericNotEquals':{'aws:RequestTag/x':'one'}}}`), "1", policy.Allowed},
	} {
		decide(t, row.name, policy.Request{Principal: session, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: "111122223333", Context: policy.NewContext().Set("aws:RequestTag/x", row.x)},
			&policy.Policies{Identity: []*policy.Policy{parse(t, policy.Identity, all)}, Session: []*policy.Policy{parse(t, policy.Session, row.session)}, HasSession: true}, row.want)
	}
}

func TestOldVersionHasNoVariables(t *testing.T) {
	t.Parallel()
	for _, version := range []string{`"Version":"2008-10-17",`, ""} {
		text := strings.Replace(doc(`{'Effect':'Allow','Action':'s3:*','Resource':'arn:aws:s3:::bkt/${aws:username}/*'}`), `"Version":"2012-10-17",`, version, 1)
		decide(t, version, policy.Request{Principal: alice, Action: "s3:GetObject", Resource: "arn:aws:s3:::bkt/alice/k", ResourceAccount: "111122223333"},
			&policy.Policies{Identity: []*policy.Policy{parse(t, policy.Identity, text)}}, policy.ImplicitDeny)
	}
}

func TestSummaryNamesTheCause(t *testing.T) {
	t.Parallel()
	eks := "oidc.eks.us-east-1.amazonaws.com/id/D539"
	who := policy.Principal{Kind: policy.WebIdentity, ARN: "arn:aws:iam::111122223333:oidc-provider/" + eks, Account: "111122223333"}
	context := policy.NewContext().Set(eks+":sub", reader).Set(eks+":aud", "test")
	trust := func(issuer, subject string) string {
		return doc(`{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/` + issuer + `'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'StringEquals':{'` + issuer + `:sub':'` + subject + `'}}}`)
	}
	for _, row := range []struct {
		name, trust, reason string
		want                []string
	}{
		{"other subject", trust(eks, "system:serviceaccount:default:x"), "trust-condition-failed", []string{"StringEquals " + eks + ":sub", `wants "system:serviceaccount:default:x"`, `got "` + reader + `"`}},
		{"region order and id", trust("oidc.us-east-1.eks.amazonaws.com/D539", reader), "no-trust-match", []string{"the region stands before eks", "/id/ is missing"}},
		{"wildcard under StringEquals", trust(eks, "system:serviceaccount:default:*"), "trust-condition-failed", []string{"use StringLike"}},
		{"case", trust(eks, "System:serviceaccount:default:s3-reader"), "trust-condition-failed", []string{"letter case"}},
		{"AssumeRole", strings.Replace(trust(eks, reader), "WithWebIdentity", "", 1), "trust-wrong-action", []string{"does not cover"}},
		{"slash", trust(eks+"/", reader), "no-trust-match", []string{"trailing slash"}},
	} {
		e := policy.Explain(&policy.Request{Principal: who, Action: "sts:AssumeRoleWithWebIdentity", Resource: roleT, Context: context},
			&policy.Policies{Trust: parse(t, policy.Trust, row.trust)})
		if e.Reason != row.reason {
			t.Errorf("%s: reason %q, want %q", row.name, e.Reason, row.reason)
		}
		for _, want := range row.want {
			if !strings.Contains(e.Summary(), want) {
				t.Errorf("%s: %q lacks %q", row.name, e.Summary(), want)
			}
		}
	}
}

func decide(t *testing.T, name string, request policy.Request, policies *policy.Policies, want policy.Effect) {
	t.Helper()
	got := policy.Decide(&request, policies)
	if got.Effect != want {
		t.Errorf("%s: %s (%s), want %s\n%s", name, got.Effect, got.Reason, want, policy.Explain(&request, policies).Summary())
	}
	if explained := policy.Explain(&request, policies); explained.Decision != got.Effect.String() || explained.Summary() == "" {
		t.Errorf("%s: Explain says %s, Decide %s", name, explained.Decision, got.Effect)
	}
}

func parse(t testing.TB, kind policy.Kind, text string) *policy.Policy {
	t.Helper()
	parsed, err := policy.Parse(kind, "p", []byte(text))
	if err != nil {
		t.Fatalf("%v\nin %s", err, text)
	}
	return parsed
}

func BenchmarkWebIdentityTrust(b *testing.B) {
	policies := &policy.Policies{Trust: parse(b, policy.Trust, webTrust(`'StringEquals':{'`+keys+`:sub':'`+reader+`','`+keys+`:aud':'sts.amazonaws.com'}`))}
	request := &policy.Request{Principal: oidc, Action: "sts:AssumeRoleWithWebIdentity", Resource: roleT, Context: token(reader, "sts.amazonaws.com")}
	b.ReportAllocs()
	for b.Loop() {
		if policy.Decide(request, policies).Effect != policy.Allowed {
			b.Fatal("denied")
		}
	}
}

func BenchmarkManyActionsMiss(b *testing.B) {
	var actions []string
	for i := range 3000 {
		actions = append(actions, fmt.Sprintf("'svc%d:Describe*'", i))
	}
	policies := &policy.Policies{Identity: []*policy.Policy{parse(b, policy.Identity, doc(`{'Effect':'Allow','Resource':'*','Action':[`+strings.Join(actions, ",")+`]}`))}}
	request := &policy.Request{Principal: alice, Action: "s3:PutObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: "111122223333"}
	b.ReportAllocs()
	for b.Loop() {
		if policy.Decide(request, policies).Effect == policy.Allowed {
			b.Fatal("allowed")
		}
	}
}
