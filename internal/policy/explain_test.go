package policy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/policy"
)

func mustParse(t testing.TB, kind policy.Kind, name, text string) *policy.Policy {
	t.Helper()
	parsed, err := policy.Parse(kind, name, []byte(strings.ReplaceAll(text, "'", `"`)))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestExplainForm holds the machine form of spec iam-policy §6.
func TestExplainForm(t *testing.T) {
	t.Parallel()
	trust := mustParse(t, policy.Trust, "app", doc(
		`{'Sid':'other','Effect':'Allow','Principal':{'Service':'ec2.amazonaws.com'},'Action':'sts:AssumeRole'}`,
		`{'Effect':'Allow','Principal':{'Federated':'`+provider+
			`'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'StringEquals':{'`+keys+
			`:sub':'system:serviceaccount:default:*'}}}`,
	))
	request := &policy.Request{
		Principal: oidc,
		Action:    "sts:AssumeRoleWithWebIdentity",
		Resource:  roleR,
		Context:   token("sts.amazonaws.com").Set("https://secret", "x"),
	}
	got := policy.Explain(request, &policy.Policies{Trust: trust})
	text, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "decision": "ImplicitDeny",
 "reason": "trust-condition-failed",
 "action": "sts:AssumeRoleWithWebIdentity",
 "resource": "arn:aws:iam::111122223333:role/app",
 "principal": {
  "kind": "federated",
  "arn": "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A1",
  "account": "111122223333"
 },
 "sameAccount": true,
 "needed": [
  {
   "source": "trust",
   "need": "allow",
   "got": "silent",
   "strength": "none"
  }
 ],
 "documents": [
  {
   "source": "trust",
   "kind": "role trust policy",
   "name": "app",
   "statements": [
    {
     "index": 0,
     "sid": "other",
     "line": 1,
     "effect": "Allow",
     "applies": false,
     "role": "not relevant",
     "principal": {
      "match": "none",
      "entries": [
       {
        "value": "Service ec2.amazonaws.com",
        "matched": false
       }
      ],
      "got": "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A1"
     },
     "action": {
      "matched": false,
      "entries": [
       {
        "pattern": "sts:AssumeRole",
        "matched": false
       }
      ],
      "note": "sts:AssumeRole does not cover sts:AssumeRoleWithWebIdentity"
     },
     "resource": {
      "matched": true
     }
    },
    {
     "index": 1,
     "line": 1,
     "effect": "Allow",
     "applies": false,
     "role": "would allow but its Condition does not hold",
     "principal": {
      "match": "direct",
      "entries": [
       {
        "value": "Federated arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A1",
        "matched": true
       }
      ],
      "got": "arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A1"
     },
     "action": {
      "matched": true,
      "entries": [
       {
        "pattern": "sts:AssumeRoleWithWebIdentity",
        "matched": true
       }
      ]
     },
     "resource": {
      "matched": true
     },
     "conditions": [
      {
       "operator": "StringEquals",
       "key": "oidc.example/id/A1:sub",
       "keyPresent": true,
       "multivalued": false,
       "wanted": [
        "system:serviceaccount:default:*"
       ],
       "got": [
        "system:serviceaccount:default:s3-reader"
       ],
       "matched": false,
       "why": "wildcard-without-like",
       "note": "StringEquals takes * and ? literally; use StringLike"
      }
     ]
    }
   ]
  }
 ],
 "nearMisses": [
  {
   "source": "trust",
   "document": "app",
   "index": 1,
   "effect": "Allow",
   "element": "Condition",
   "because": "StringEquals oidc.example/id/A1:sub wants \"system:serviceaccount:default:*\", got \"system:serviceaccount:default:s3-reader\" (StringEquals takes * and ? literally; use StringLike)",
   "suggested": {
    "description": "compare with StringLike, which takes wildcards",
    "line": 1,
    "column": 300,
    "old": "\"StringEquals\"",
    "new": "\"StringLike\"",
    "edit": {
     "start": 299,
     "end": 313,
     "text": "\"StringLike\""
    }
   }
  }
 ],
 "context": [
  {
   "key": "oidc.example/id/A1:sub",
   "values": [
    "system:serviceaccount:default:s3-reader"
   ],
   "origin": "token"
  }
 ],
 "assumptions": []
}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWhy has a row for each code of spec iam-policy §6.
func TestWhy(t *testing.T) {
	t.Parallel()
	context := func() *policy.Context {
		return policy.NewContext().Set("x", "value").Set("n", "ten").Set("ip", "no-ip").Set("arn",
			"arn:aws:iam::111122223333:role/other").SetMulti("aws:TagKeys", []string{
			"a",
		})
	}
	for _, row := range []struct{ condition, why, note string }{
		{`'StringEquals':{'x':'value'}`, "equal", ""},
		{`'StringEquals':{'x':'another'}`, "differs", ""},
		{`'StringEquals':{'x':'Value'}`, "case-only", "letter case"},
		{`'StringEquals':{'x':'val*'}`, "wildcard-without-like", "StringLike"},
		{`'StringEquals':{'missing':'a'}`, "absent", ""},
		{`'StringEquals':{'aws:tagkey':'a'}`, "absent", "the request has the key aws:TagKeys"},
		{`'StringNotEquals':{'missing':'a'}`, "absent-ok", ""},
		{`'StringEquals':{'x':'${aws:PrincipalTag/t}'}`, "unresolved-variable", "has no value"},
		{`'NumericEquals':{'n':'10'}`, "unparsable-request", `"ten" is not a value`},
		{`'IpAddress':{'ip':'10.0.0.0/8'}`, "unparsable-request", `"no-ip"`},
		{`'StringEquals':{'aws:TagKeys':'a'}`, "needs-set-operator", "ForAnyValue"},
		{`'StringEquals':{'x':[]}`, "empty-list", "no value is listed"},
		{`'Null':{'x':'true'}`, "differs", "absent"},
		{`'Null':{'missing':'false'}`, "absent", "to be present"},
		{`'Null':{'missing':'true'}`, "absent-ok", ""},
		{
			condition: `'ArnLike':{'arn':'arn:aws:iam::444455556666:role/*'}`,
			why:       "differs",
			note:      `account: wanted "444455556666", got "111122223333"`,
		},
	} {
		identity := mustParse(t, policy.Identity, "p", condition(row.condition))
		request := &policy.Request{
			Principal:       alice,
			Action:          "s3:GetObject",
			Resource:        "arn:aws:s3:::b/k",
			ResourceAccount: alice.Account,
			Context:         context(),
		}
		got := policy.Explain(request, &policy.Policies{Identity: []*policy.Policy{
			identity,
		}}).Documents[0].Statements[0].Conditions[0]
		if got.Why != row.why || !strings.Contains(got.Note, row.note) {
			t.Errorf("%s: %s (%s), want %s (%s)", row.condition, got.Why, got.Note, row.why, row.note)
		}
	}
	session := mustParse(t, policy.Session, "p", condition(`'NumericEquals':{'x':'ten'}`))
	request := &policy.Request{Principal: alice, Action: "s3:GetObject", Resource: "*", Context: context()}
	if got := policy.Explain(request, &policy.Policies{Session: []*policy.Policy{
		session,
	}}).Documents[0].Statements[0].Conditions[0]; got.Why != "unparsable-policy" {
		t.Errorf("a session policy's value: %+v", got)
	}
}

// TestReasons has a row for each reason that a decision over documents can have.
func TestReasons(t *testing.T) {
	t.Parallel()
	all := allow(`'Action':'*','Resource':'*'`)
	nothing := allow(`'Action':'sqs:*','Resource':'*'`)
	deny := doc(`{'Effect':'Deny','Action':'*','Resource':'*'}`)
	denyAny := doc(`{'Effect':'Deny','Principal':'*','Action':'s3:*','Resource':'*'}`)
	list := func(kind policy.Kind, text string) []*policy.Policy {
		return []*policy.Policy{mustParse(t, kind, "p", text)}
	}
	one := func(kind policy.Kind, text string) *policy.Policy { return mustParse(t, kind, "p", text) }
	trust := func(text string) policy.Policies { return policy.Policies{Trust: one(policy.Trust, text)} }
	s3 := policy.Request{
		Principal:       session,
		Action:          "s3:GetObject",
		Resource:        "arn:aws:s3:::b/k",
		ResourceAccount: session.Account,
	}
	take := policy.Request{
		Principal: oidc,
		Action:    "sts:AssumeRoleWithWebIdentity",
		Resource:  roleR,
		Context:   token("a"),
	}
	for _, row := range []struct {
		want     string
		request  policy.Request
		policies policy.Policies
	}{
		{"allowed-identity", s3, policy.Policies{Identity: list(policy.Identity, all)}},
		{
			want:    "allowed-direct",
			request: s3,
			policies: policy.Policies{
				Resource: one(policy.Resource, allow(`'Principal':'*','Action':'*','Resource':'*'`)),
			},
		},
		{
			want:    "allowed-both",
			request: s3,
			policies: policy.Policies{
				Identity: list(policy.Identity, all),
				Resource: one(policy.Resource, allow(`'Principal':{'AWS':'111122223333'},'Action':'*','Resource':'*'`)),
			},
		},
		{"identity-silent", s3, policy.Policies{Identity: list(policy.Identity, nothing)}},
		{
			want:     "boundary-silent",
			request:  s3,
			policies: policy.Policies{Identity: list(policy.Identity, all), Boundary: one(policy.Boundary, nothing)},
		},
		{
			want:     "session-silent",
			request:  s3,
			policies: policy.Policies{Identity: list(policy.Identity, all), Session: list(policy.Session, nothing)},
		},
		{
			want:    "scp-silent",
			request: s3,
			policies: policy.Policies{
				Identity: list(policy.Identity, all),
				SCP:      [][]*policy.Policy{list(policy.SCP, nothing)},
			},
		},
		{
			want:    "endpoint-silent",
			request: s3,
			policies: policy.Policies{
				Identity: list(policy.Identity, all),
				Endpoint: list(policy.Endpoint, allow(`'Principal':'*','Action':'sqs:*','Resource':'*'`)),
			},
		},
		{"resource-silent", policy.Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}, policy.Policies{}},
		{"explicit-deny:identity", s3, policy.Policies{Identity: list(policy.Identity, deny)}},
		{
			want:     "explicit-deny:session",
			request:  s3,
			policies: policy.Policies{Session: list(policy.Session, deny), Identity: list(policy.Identity, deny)},
		},
		{
			want:     "explicit-deny:boundary",
			request:  s3,
			policies: policy.Policies{Boundary: one(policy.Boundary, deny), Session: list(policy.Session, deny)},
		},
		{
			want:     "explicit-deny:resource",
			request:  s3,
			policies: policy.Policies{Resource: one(policy.Resource, denyAny), Boundary: one(policy.Boundary, deny)},
		},
		{
			want:    "explicit-deny:endpoint",
			request: s3,
			policies: policy.Policies{
				Endpoint: list(policy.Endpoint, denyAny),
				Resource: one(policy.Resource, denyAny),
			},
		},
		{
			want:    "explicit-deny:rcp",
			request: s3,
			policies: policy.Policies{
				RCP:      [][]*policy.Policy{list(policy.RCP, denyAny)},
				Endpoint: list(policy.Endpoint, denyAny),
			},
		},
		{
			want:    "explicit-deny:scp",
			request: s3,
			policies: policy.Policies{
				SCP: [][]*policy.Policy{list(policy.SCP, deny)},
				RCP: [][]*policy.Policy{list(policy.RCP, denyAny)},
			},
		},
		{
			want:     "explicit-deny:trust",
			request:  take,
			policies: trust(doc(`{'Effect':'Deny','Principal':{'Federated':'` + provider + `'},'Action':'sts:*'}`)),
		},
		{"no-trust-match", take, trust(roleTrust(`{'AWS':'111122223333'}`))},
		{"trust-wrong-action", take, trust(roleTrust(`{'Federated':'` + provider + `'}`))},
		{"trust-condition-failed", take, trust(webTrust(`'StringEquals':{'` + keys + `:sub':'x'}`))},
		{"provider-other-account", take, trust(strings.ReplaceAll(webTrust(``), "111122223333", "444455556666"))},
		{
			want:     "trust-principal-deleted",
			request:  policy.Request{Principal: session, Action: "sts:AssumeRole", Resource: roleT},
			policies: trust(roleTrust(`{'AWS':'AROADELETEDDELETED123'}`)),
		},
		{
			want: "root-cannot-assume",
			request: policy.Request{
				Principal: policy.Principal{Kind: policy.Root, Account: "111122223333"},
				Action:    "sts:AssumeRole",
				Resource:  roleT,
			},
			policies: trust(roleTrust(`{'AWS':'111122223333'}`)),
		},
	} {
		got := policy.Explain(&row.request, &row.policies)
		if got.Reason != row.want {
			t.Errorf("reason %s, want %s: %s", got.Reason, row.want, got.Summary())
		}
		if got.Summary() == "" || got.Decision != policy.Decide(&row.request, &row.policies).Effect.String() {
			t.Errorf("%s: %s, %q", row.want, got.Decision, got.Summary())
		}
	}
}

// TestNearMisses: each suggestion, done, makes the decision another one.
func TestNearMisses(t *testing.T) {
	t.Parallel()
	s3 := policy.Request{
		Principal:       session,
		Action:          "s3:GetObject",
		Resource:        "arn:aws:s3:::b/k",
		ResourceAccount: session.Account,
		Context: policy.NewContext().Set("aws:RequestTag/team", "Red").SetMulti("aws:TagKeys", []string{
			"team",
		}),
	}
	take := policy.Request{
		Principal: oidc,
		Action:    "sts:AssumeRoleWithWebIdentity",
		Resource:  roleR,
		Context:   token("a"),
	}
	assume := policy.Request{Principal: session, Action: "sts:AssumeRole", Resource: roleT}
	for _, row := range []struct {
		name    string
		request policy.Request
		kind    policy.Kind
		text    string
	}{
		{"action", s3, policy.Identity, allow(`'Action':'s3:PutObject','Resource':'*'`)},
		{"action misspelt", s3, policy.Identity, allow(`'Action':'s3:GetObjct','Resource':'*'`)},
		{"actions", s3, policy.Identity, allow(`'Action':['s3:PutObject','s3:List*'],'Resource':'*'`)},
		{"bucket without its keys", s3, policy.Identity, allow(`'Action':'s3:*','Resource':'arn:aws:s3:::b'`)},
		{"resource", s3, policy.Identity, allow(`'Action':'s3:*','Resource':['arn:aws:s3:::other/*']`)},
		{
			name:    "value's case",
			request: s3,
			kind:    policy.Identity,
			text:    allow(`'Action':'s3:*','Resource':'*','Condition':{'StringEquals':{'aws:RequestTag/team':'red'}}`),
		},
		{
			name:    "set operator",
			request: s3,
			kind:    policy.Identity,
			text:    allow(`'Action':'s3:*','Resource':'*','Condition':{'StringEquals':{'aws:TagKeys':'team'}}`),
		},
		{
			name:    "key",
			request: s3,
			kind:    policy.Identity,
			text:    allow(`'Action':'s3:*','Resource':'*','Condition':{'StringEquals':{'aws:RequestTag/tean':'Red'}}`),
		},
		{"no principal", s3, policy.Resource, allow(`'Action':'s3:*','Resource':'*'`)},
		{
			name:    "like",
			request: take,
			kind:    policy.Trust,
			text:    webTrust(`'StringEquals':{'` + keys + `:sub':'system:serviceaccount:*:s3-reader'}`),
		},
		{"web identity's action", take, policy.Trust, roleTrust(`{'Federated':'` + provider + `'}`)},
		{"issuer's key", take, policy.Trust, webTrust(`'StringEquals':{'oidc.example/A1:sub':'` + reader + `'}`)},
		{"provider", take, policy.Trust, strings.Replace(webTrust(``), "/id/A1", "/id/A2", 1)},
		{"role", assume, policy.Trust, roleTrust(`{'AWS':'arn:aws:iam::111122223333:role/ap'}`)},
		{
			name:    "role beside another",
			request: assume,
			kind:    policy.Trust,
			text:    roleTrust(`{'AWS':'arn:aws:iam::111122223333:role/entirely-different'}`),
		},
		{
			name:    "role beside others",
			request: assume,
			kind:    policy.Trust,
			text: roleTrust(`{'AWS':[ 'arn:aws:iam::111122223333:role/entirely-different',` +
				`'arn:aws:iam::111122223333:role/one-more-of-them']}`),
		},
		{
			name:    "provider beside everybody",
			request: take,
			kind:    policy.Trust,
			text:    doc(`{'Effect':'Allow','Principal':{'AWS':'*'},'Action':'sts:*'}`),
		},
		{"role beside a service", assume, policy.Trust, roleTrust(`{'Service':'ec2.amazonaws.com'}`)},
	} {
		decide := func(text string) *policy.Explanation {
			parsed := mustParse(t, row.kind, "p", text)
			policies := &policy.Policies{Identity: []*policy.Policy{parsed}}
			switch row.kind { //nolint:exhaustive // of the rows
			case policy.Trust:
				policies = &policy.Policies{Trust: parsed}
			case policy.Resource:
				policies = &policy.Policies{Resource: parsed}
			}
			return policy.Explain(&row.request, policies)
		}
		got := decide(row.text)
		if got.Decision != "ImplicitDeny" || len(got.NearMisses) != 1 || got.NearMisses[0].Suggested == nil {
			t.Errorf("%s: %s, near misses %+v", row.name, got.Decision, got.NearMisses)
			continue
		}
		edited := got.NearMisses[0].Suggested.Edit.Apply(strings.ReplaceAll(row.text, "'", `"`))
		if after := decide(edited); after.Decision != "Allowed" {
			t.Errorf("%s: with %s still %s", row.name, edited, after.Summary())
		}
		if strings.Contains(row.name, "beside") && len(edited) < len(row.text)+20 {
			t.Errorf("%s: %s has lost a principal", row.name, edited)
		}
	}
}

// TestNearMissesWithoutEdit: an edit that would not be read, or not help, is not
// suggested.
func TestNearMissesWithoutEdit(t *testing.T) {
	t.Parallel()
	request := policy.Request{
		Principal: session,
		Action:    "s3:GetObject",
		Resource:  "arn:aws:s3:::b/${aws:username}",
		Context:   policy.NewContext().Set("number1", "10").Set("long", "\u017f"),
	}
	for _, text := range []string{
		condition(`'NumericLessThan':{'number1':'10'}`),
		condition(`'StringEquals':{'number1':'10','number2':'10'}`), condition(`'StringEquals':{'long':'s'}`),
		condition(`'StringLike':{'number1':'1*'},'StringEquals':{'number1':'1?'}`),
		allow(`'Action':'s3:*','Resource':'arn:aws:s3:::c'`),
	} {
		identity := mustParse(t, policy.Identity, "p", text)
		got := policy.Explain(&request, &policy.Policies{Identity: []*policy.Policy{identity}})
		if len(got.NearMisses) != 1 || got.NearMisses[0].Suggested != nil {
			t.Errorf("%s: near misses %+v", text, got.NearMisses)
		}
	}
}

// TestSummaryNamesTheGrant: a limit allows nothing, what grants does.
func TestSummaryNamesTheGrant(t *testing.T) {
	t.Parallel()
	all := allow(`'Action':'*','Resource':'*'`)
	root := policy.Principal{Kind: policy.Root, ARN: "arn:aws:iam::111122223333:root", Account: "111122223333"}
	limits := policy.Policies{
		SCP:      [][]*policy.Policy{{mustParse(t, policy.SCP, "FullAWSAccess", all)}},
		Boundary: mustParse(t, policy.Boundary, "b", all),
	}
	granted := limits
	granted.Identity = []*policy.Policy{mustParse(t, policy.Identity, "mine", all)}
	for _, row := range []struct {
		who      policy.Principal
		action   string
		policies *policy.Policies
		want     string
	}{
		{alice, "s3:GetObject", &granted, `identity-based policy "mine"`},
		{root, "s3:GetObject", &limits, "root user"},
		{alice, "sts:GetCallerIdentity", &granted, "sts:GetCallerIdentity needs no permission"},
	} {
		got := policy.Explain(&policy.Request{Principal: row.who, Action: row.action, Resource: "*"}, row.policies)
		if got.Decision != "Allowed" || !strings.Contains(got.Summary(), row.want) {
			t.Errorf("%s, want %s", got.Summary(), row.want)
		}
	}
}

// TestPartlyDenied: of a resource with wildcards all is allowed, or the rest is
// named.
func TestPartlyDenied(t *testing.T) {
	t.Parallel()
	request := policy.Request{Principal: alice, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*"}
	deny := func(rest string) string {
		return doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`, `{'Effect':'Deny','Action':'s3:*',`+rest+`}`)
	}
	for text, want := range map[string]int{
		deny(`'Resource':['arn:aws:s3:::b/secret/*','arn:aws:s3:::?/x','arn:aws:s3:::c/*','arn:aws:s3:::b',` +
			`'arn:aws:s3:::${aws:username}/*']`): 2,
		deny(`'Resource':'arn:aws:s3:::b/secret/*','Condition':{'Bool':{'a':'true'}}`): 0,
		deny(`'NotResource':'arn:aws:s3:::b/*'`):                                       0,
		allow(`'Action':'*','NotResource':['arn:aws:s3:::b/x','arn:aws:s3:::c/x']`):    1,
		doc(`{'Effect':'Allow','Action':'*','NotResource':'arn:aws:s3:::b/x'}`,
			`{'Effect':'Allow','Action':'*','Resource':'*'}`): 0,
		allow(`'Action':'*','Resource':['arn:aws:s3:::b/*','arn:aws:s3:::b/other/*']`): 0,
	} {
		got := policy.Explain(&request, &policy.Policies{Identity: []*policy.Policy{
			mustParse(t, policy.Identity, "p", text),
		}})
		if got.Decision != "Allowed" || len(got.PartlyDenied) != want {
			t.Errorf("%s: %s, denied %+v, want %d", text, got.Decision, got.PartlyDenied, want)
		}
	}
}

// TestDenyThatAMissingKeyEscapes is the inversion of spec iam-policy §3.3.
func TestDenyThatAMissingKeyEscapes(t *testing.T) {
	t.Parallel()
	identity := mustParse(t, policy.Identity, "p", doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`,
		`{'Effect':'Deny','Action':'*','Resource':'*','Condition':{'Bool':{'aws:MultiFactorAuthPresent':'false'}}}`))
	request := &policy.Request{Principal: alice, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}
	got := policy.Explain(request, &policy.Policies{Identity: []*policy.Policy{identity}})
	if got.Decision != "Allowed" || len(got.NearMisses) != 1 || got.NearMisses[0].Effect != "Deny" ||
		got.NearMisses[0].Suggested.New != `"BoolIfExists"` {
		t.Errorf("%s, near misses %+v", got.Decision, got.NearMisses)
	}
}

func TestAssumptions(t *testing.T) {
	t.Parallel()
	identity := mustParse(t, policy.Identity, "p",
		allow(`'Action':'s3:*','Resource':'*','Condition':{'StringEquals':{'aws:ResourceTag/team':'red'}}`))
	policies := &policy.Policies{Identity: []*policy.Policy{identity}, Unread: []policy.Kind{policy.SCP}}
	request := &policy.Request{
		Principal:       alice,
		Action:          "s3:GetObject",
		Resource:        "arn:aws:s3:::b/k",
		ResourceAccount: alice.Account,
		Context:         policy.NewContext().Incomplete(),
	}
	got := policy.Explain(request, policies)
	want := []policy.Assumption{
		{Fact: "the service control policy was not read", Taken: "there is none"},
		{
			Fact:    "the condition key aws:ResourceTag/team is not given",
			Taken:   "the request does not have it",
			Matters: true,
		},
	}
	if diff := cmp.Diff(want, got.Assumptions); diff != "" || !got.Unknown() {
		t.Errorf("(-want +got):\n%s", diff)
	}
	request.Context.Set("aws:ResourceTag/team", "red")
	got = policy.Explain(request, policies)
	want[0].Matters = true // it is allowed now, and a policy could deny it
	if diff := cmp.Diff(want[:1], got.Assumptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	policies.Unread = nil
	if got = policy.Explain(request, policies); got.Unknown() || got.Context[0].Origin != "given" {
		t.Errorf("%+v, %+v", got.Assumptions, got.Context)
	}
	tagged := mustParse(t, policy.Identity, "p",
		allow(`'Action':'s3:*','Resource':'arn:aws:s3:::b/${aws:PrincipalTag/key}'`))
	got = policy.Explain(request, &policy.Policies{Identity: []*policy.Policy{tagged}})
	if len(got.Assumptions) != 1 || !got.Assumptions[0].Matters {
		t.Errorf("a variable: %+v", got.Assumptions)
	}
	request.ResourceAccount = ""
	owner := []policy.Assumption{{
		Fact:    "the account of the resource is not given",
		Taken:   "it is the caller's",
		Matters: true,
	}}
	if diff := cmp.Diff(owner, policy.Explain(request, policies).Assumptions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPathAssumption: a session's ARN does not show the path of its role.
func TestPathAssumption(t *testing.T) {
	t.Parallel()
	trust := mustParse(t, policy.Trust, "p", roleTrust(`{'AWS':'arn:aws:iam::111122223333:role/team/app'}`))
	who := session
	who.RolePathUnknown = true
	request := &policy.Request{Principal: who, Action: "sts:AssumeRole", Resource: roleT}
	got := policy.Explain(request, &policy.Policies{Trust: trust})
	if got.Decision != "Allowed" || len(got.Assumptions) != 1 || !got.Assumptions[0].Matters ||
		!strings.Contains(got.Assumptions[0].Fact, "path") {
		t.Errorf("%s, %+v", got.Decision, got.Assumptions)
	}
	request.Principal.RolePathUnknown = false
	if got := policy.Explain(request, &policy.Policies{
		Trust: trust,
	}); got.Decision != "ImplicitDeny" || len(got.Assumptions) != 0 {
		t.Errorf("known path: %s, %+v", got.Decision, got.Assumptions)
	}
}

// TestUnreadDocuments: each kind that was not read may change a permission or a
// refusal, or neither.
func TestUnreadDocuments(t *testing.T) {
	t.Parallel()
	s3 := policy.Request{
		Principal:       session,
		Action:          "s3:GetObject",
		Resource:        "arn:aws:s3:::b/k",
		ResourceAccount: session.Account,
	}
	allowed := policy.Policies{Identity: []*policy.Policy{
		mustParse(t, policy.Identity, "p", allow(`'Action':'*','Resource':'*'`)),
	}}
	for kind := policy.Identity; kind <= policy.Endpoint; kind++ {
		for _, row := range []struct {
			policies policy.Policies
			want     bool
		}{
			{allowed, true}, // it could deny
			{
				policy.Policies{},
				kind == policy.Identity || kind == policy.Resource || kind == policy.Trust,
			}, // it could allow
		} {
			row.policies.Unread = []policy.Kind{kind}
			if got := policy.Explain(&s3, &row.policies); got.Unknown() != row.want {
				t.Errorf("%s with %d identity policies: %+v, want %t", kind, len(row.policies.Identity),
					got.Assumptions, row.want)
			}
		}
	}
}

func TestParseKind(t *testing.T) {
	t.Parallel()
	for kind := policy.Identity; kind <= policy.Endpoint; kind++ {
		if got, found := policy.ParseKind(kind.Source()); !found || got != kind {
			t.Errorf("%s: %s, %t", kind.Source(), got, found)
		}
	}
	if _, found := policy.ParseKind("Identity"); found {
		t.Error("a kind is found in another letter case")
	}
}
