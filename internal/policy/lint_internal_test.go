package policy

import (
	"slices"
	"testing"
)

// federation is a statement that admits everybody whom the providers vouch for.
func federation(allow bool, providers ...string) statement {
	s := statement{allow: allow, principal: &principalSet{}, at: span{10, 20}}
	for _, one := range providers {
		s.principal.entries = append(s.principal.entries, principalEntry{key: "Federated", text: one})
	}
	return s
}

// TestTrustedIssuers: those that Allow statements trust, each once.
func TestTrustedIssuers(t *testing.T) {
	t.Parallel()
	const of, ofChina = "arn:aws:iam::111122223333:oidc-provider/", "arn:aws-cn:iam::444455556666:oidc-provider/"
	l := &linter{policy: &Policy{statements: []statement{
		{allow: true}, // its principal was not read
		federation(false, ofChina+"denied"),
		{allow: true, principal: &principalSet{entries: []principalEntry{{key: "AWS", text: ofChina + "aws"}}}},
		federation(true, of+"a", "accounts.google.com", of+"a"),
		federation(true, of+"b", ofChina+"a"),
	}}}
	if got := l.issuers(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("issuers %q", got)
	}
	for _, row := range []struct{ account, issuer, provider, caller string }{
		{"", "a", of + "a", "111122223333"},
		{"111122223333", "a", of + "a", "111122223333"},
		{"444455556666", "a", ofChina + "a", "444455556666"},
		{"777788889999", "a", "arn:aws:iam::777788889999:oidc-provider/a", "777788889999"},
		{"444455556666", "denied", "arn:aws:iam::444455556666:oidc-provider/denied", "444455556666"},
		{"444455556666", "aws", "arn:aws:iam::444455556666:oidc-provider/aws", "444455556666"},
	} {
		l.options.Account = row.account
		caller := l.webRequest(row.issuer, "x").Principal
		if caller.ARN != row.provider || caller.UserID != row.provider || caller.Account != row.caller {
			t.Errorf("a token of %s in %q: %+v, want %s", row.issuer, row.account, caller, row.provider)
		}
	}
}

func TestAudienceOfTokens(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		facts RoleFacts
		want  string
	}{
		{RoleFacts{}, stsAudience},
		{RoleFacts{Audience: "a"}, "a"},
		{RoleFacts{Registered: []string{"b"}}, "b"},
		{RoleFacts{Audience: "a", Registered: []string{"b"}}, "a"},
		{RoleFacts{Registered: []string{"b", "c"}}, stsAudience},
	} {
		l := &linter{options: LintOptions{Role: &row.facts}}
		if got := l.audience(); got != row.want {
			t.Errorf("%+v: %q, want %q", row.facts, got, row.want)
		}
	}
}

// TestWhereSubjectsStand: at the condition that lists them, else at the last
// statement that trusts the issuer.
func TestWhereSubjectsStand(t *testing.T) {
	t.Parallel()
	const of = "arn:aws:iam::111122223333:oidc-provider/"
	subject := condition{folded: "a:sub", at: span{12, 18}, values: []pattern{{source: "x"}}}
	empty := subject
	empty.values = nil
	with := func(s statement, c condition) statement {
		s.conditions = []condition{c}
		return s
	}
	for _, row := range []struct {
		name       string
		statements []statement
		want       span
		found      bool
	}{
		{"a condition", []statement{with(federation(true, of+"a"), subject)}, span{12, 18}, true},
		{"a condition without values", []statement{with(federation(true, of+"a"), empty)}, span{10, 11}, false},
		{"no condition", []statement{federation(true, of+"a")}, span{10, 11}, false},
		{"a Deny", []statement{with(federation(false, of+"a"), subject)}, span{0, 1}, false},
		{"another issuer", []statement{federation(true, of+"b")}, span{0, 1}, false},
		{"no principal", []statement{{allow: true, at: span{10, 20}}}, span{0, 1}, false},
	} {
		l := &linter{policy: &Policy{statements: row.statements}}
		if at, c := l.subjectCondition("a"); at != row.want || (c != nil) != row.found {
			t.Errorf("%s: at %v, condition %+v", row.name, at, c)
		}
	}
}

// TestWithoutMembers: the comma goes with what is left out, and so does an object
// that would be empty.
func TestWithoutMembers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		object string
		path   []string
		want   string
	}{
		{`{"a":{"b":1,"c":2},"d":3}`, []string{"a"}, `{"d":3}`},
		{`{"a":{"b":1,"c":2},"d":3}`, []string{"a", "b"}, `{"a":{"c":2},"d":3}`},
		{`{"a":{"b":1},"d":3}`, []string{"a", "b"}, `{"d":3}`},
		{`{"a":{"b":{"c":1}},"d":3}`, []string{"a", "b", "c"}, `{"d":3}`},
		{`{"a":{"b":{"c":1,"e":2}},"d":3}`, []string{"a", "b", "c"}, `{"a":{"b":{"e":2}},"d":3}`},
		{`{"a":{"b":{"c":1},"e":2},"d":3}`, []string{"a", "b", "c"}, `{"a":{"e":2},"d":3}`},
		{`{"a":{"b":{"c":1}},"d":3}`, []string{"a", "b", "x"}, `{"a":{"b":{"c":1}},"d":3}`},
		{`{"a":{"b":{"c":1}},"d":3}`, []string{"a", "x", "c"}, `{"a":{"b":{"c":1}},"d":3}`},
		{`{"a":1, "d":3}`, []string{"d"}, `{"a":1}`},
		{`{"a":1}`, []string{"a"}, `{}`},
		{`{"a":1}`, []string{"b"}, `{"a":1}`},
		{`{"a":`, []string{"a"}, `{"a":`},
	} {
		if got := withoutMember(row.object, row.path...); got != row.want {
			t.Errorf("%s without %q: %s, want %s", row.object, row.path, got, row.want)
		}
	}
	l := &linter{policy: &Policy{statements: []statement{{at: span{1, 5}}}}}
	if at, ok := l.statementSpan(0); ok {
		t.Errorf("the only statement of a document: %v", at)
	}
	l.policy.statements = append(l.policy.statements, statement{at: span{7, 9}})
	for i, want := range []span{{1, 7}, {5, 9}} {
		if at, ok := l.statementSpan(i); !ok || at != want {
			t.Errorf("statement %d: %v, want %v", i, at, want)
		}
	}
}

// TestNullsInLists: the word in a text is none.
func TestNullsInLists(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]int{
		`[null]`: 1, `["null",null]`: 8, `["a\",null"]`: -1, `["a\\",null]`: 7, `["a"]`: -1, `[]`: -1,
	} {
		if got := nullMember(list); got != want {
			t.Errorf("%s: %d, want %d", list, got, want)
		}
	}
}
