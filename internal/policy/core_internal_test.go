package policy

import (
	"slices"
	"strings"
	"testing"
)

// TestEmptyNamesMatchNobody: what is not known of a caller is no name that an entry
// could have, and kinds of callers do not share names.
func TestEmptyNamesMatchNobody(t *testing.T) {
	t.Parallel()
	const arn, id = "arn:aws:iam::111122223333:user/alice", "AIDAALICEALICEALICE1"
	const role = "arn:aws:iam::111122223333:role/app"
	for _, row := range []struct {
		name, entry string
		caller      Principal
		want        strength
	}{
		{"a user by id", id, Principal{Kind: User, ARN: arn, EntityID: id}, direct},
		{"a user without id, by nothing", "", Principal{Kind: User, ARN: arn}, unmatched},
		{"a root user by a user's id", id, Principal{Kind: Root, ARN: "x", EntityID: id}, unmatched},
		{"a federated user by the user", arn, Principal{Kind: FederatedUser, ARN: "x", UserARN: arn}, viaUser},
		{"a federated user without a user, by nothing", "", Principal{Kind: FederatedUser, ARN: "x"}, unmatched},
		{"a user by another's user", arn, Principal{Kind: User, ARN: "x", UserARN: arn}, unmatched},
		{"a session by its role", role, Principal{Kind: RoleSession, ARN: "x", RoleARN: role}, viaRole},
		{
			name:   "a session by its role's id",
			entry:  "AROA",
			caller: Principal{Kind: RoleSession, ARN: "x", RoleARN: role, EntityID: "AROA"},
			want:   viaRole,
		},
		{"a session without id, by nothing", "", Principal{Kind: RoleSession, ARN: "x", RoleARN: role}, unmatched},
		{
			"a session by its role with a path", "arn:aws:iam::111122223333:role/team/app",
			Principal{Kind: RoleSession, ARN: "x", RoleARN: role, RolePathUnknown: true},
			viaRole,
		},
		{
			"a session whose path is known", "arn:aws:iam::111122223333:role/team/app",
			Principal{Kind: RoleSession, ARN: "x", RoleARN: role},
			unmatched,
		},
		{"a session by a user of the name", "arn:aws:iam::111122223333:user/app", Principal{
			Kind: RoleSession, ARN: "x", RoleARN: role, RolePathUnknown: true,
		}, unmatched},
	} {
		entry := principalEntry{key: "AWS", text: row.entry}
		if got := entry.matchAWS(&row.caller, Trust); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	const account = "arn:aws:iam::111122223333"
	if sameRoleName(account, account+":role/") || sameRoleName(account+":role/", account) {
		t.Error("what is no role has the name of a role without one")
	}
	if sameRoleName("app", role) || sameRoleName(role, "app") || sameRoleName("app", "app") {
		t.Error("what is no role has a role's name")
	}
}

// TestNamesOfCallers: who has a name or is no service.
func TestNamesOfCallers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, key string
		caller    Principal
		want      string
		present   bool
	}{
		{"a user's name", "aws:username", Principal{Kind: User, UserName: "alice"}, "alice", true},
		{"a user without a name", "aws:username", Principal{Kind: User}, "", false},
		{"a session's name", "aws:username", Principal{Kind: RoleSession, UserName: "alice"}, "alice", false},
		{"a user is no service", "aws:principalisawsservice", Principal{Kind: User}, "false", true},
		{"nobody is not asked", "aws:principalisawsservice", Principal{Kind: Anonymous}, "false", false},
		{"a token is not asked", "aws:principalisawsservice", Principal{Kind: WebIdentity}, "false", false},
		{"a service is one", "aws:principalisawsservice", Principal{Kind: Service}, "true", true},
		{"the last of tags that differ in case", "aws:principaltag/team", Principal{
			Kind: User, Tags: map[string]string{"TEAM": "a", "Team": "b", "team": "c", "other": "d", "zzz": "e"},
		}, "c", true},
		{
			name:   "a tag that is not there",
			key:    "aws:principaltag/team",
			caller: Principal{Kind: User, Tags: map[string]string{"other": "d"}},
		},
	} {
		if got, present := row.caller.attribute(row.key); present != row.present || (present && got != row.want) {
			t.Errorf("%s: %q, %t, want %q, %t", row.name, got, present, row.want, row.present)
		}
	}
}

// TestEntitiesBehindStatementsWithoutPrincipals are found and bound; what is known
// under an id and is neither a user nor a role stays.
func TestEntitiesBehindStatementsWithoutPrincipals(t *testing.T) {
	t.Parallel()
	const user, account = "arn:aws:iam::111122223333:user/a", "111122223333"
	p := &Policy{statements: []statement{
		{allow: true},
		{allow: true, principal: &principalSet{entries: []principalEntry{
			{key: "AWS", text: user},
			{key: "AWS", text: account, account: account},
			{key: "Federated", text: user},
		}}},
	}}
	if got := p.Entities(); !slices.Equal(got, []string{user}) {
		t.Errorf("entities %q", got)
	}
	bound := p.Bind(map[string]string{user: "AIDA", account: "AIDB"})
	var got []string
	for _, entry := range bound.statements[1].principal.entries {
		got = append(got, entry.text)
	}
	if want := []string{"AIDA", account, user}; !slices.Equal(got, want) {
		t.Errorf("bound %q, want %q", got, want)
	}
}

// TestEdgesOfValues: what is just inside of a form is read.
func TestEdgesOfValues(t *testing.T) {
	t.Parallel()
	for length, read := range map[int]bool{maxDecimal: true, maxDecimal + 1: false} {
		if _, ok := parseNumber(strings.Repeat("1", length)); ok != read {
			t.Errorf("a number of %d digits: read %t", length, ok)
		}
	}
	for text, read := range map[string]bool{
		"10.0.0.0001": true, "10.0.0.00001": false, "10.0.0.256": false, "10.0.0": false,
		"2001:db8::": true, "2001:db8::1:": true, ":1:2:3:4:5:6:7": true, "::1": true,
		"1:2:3:4:5:6:7:8:": true, ":": false, "fe80::1%eth0": false,
	} {
		if got, ok := parseAddress(text); ok != read {
			t.Errorf("%q: %s, read %t, want %t", text, got, ok, read)
		}
	}
	for text, want := range map[string]string{"a::": "a::", "a:": "a", "::a": "::a", ":a": "0:a", "a": "a"} {
		if got := oddIPv6(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// TestColonsOfVariables part no ARN where there are variables.
func TestColonsOfVariables(t *testing.T) {
	t.Parallel()
	const text = "arn:aws:s3:::b/${aws:username}"
	const behind = "arn:${a:b}:s3:::b"
	for version, want := range map[string][2]string{
		currentVersion: {"b/${aws:username}", "b"},
		oldestVersion:  {"b/${aws:username}", ":b"},
	} {
		d := &decoder{version: version}
		for i, one := range []string{text, behind} {
			if parts := d.splitResource(one); len(parts) != 6 || parts[5] != want[i] {
				t.Errorf("%s in %s: %q", one, version, parts)
			}
		}
	}
}

// TestLargestTakings: fifty tags, of 128 and 256 characters.
func TestLargestTakings(t *testing.T) {
	t.Parallel()
	tags := func(n int) []Tag {
		list := make([]Tag, n)
		for i := range list {
			list[i] = Tag{Key: strings.Repeat("k", i+1)}
		}
		return list
	}
	for _, row := range []struct {
		name  string
		tags  []Tag
		taken bool
	}{
		{"no tags", nil, true},
		{"fifty", tags(50), true},
		{"fifty-one", tags(51), false},
		{"the longest key", []Tag{{Key: strings.Repeat("é", 128)}}, true},
		{"a longer key", []Tag{{Key: strings.Repeat("é", 129)}}, false},
		{"the longest value", []Tag{{Key: "a", Value: strings.Repeat("é", 256)}}, true},
		{"a longer value", []Tag{{Key: "a", Value: strings.Repeat("é", 257)}}, false},
		{"no key", []Tag{{Value: "a"}}, false},
		{"a key of AWS's", []Tag{{Key: "AWS:x"}}, false},
	} {
		taking := Taking{Tags: row.tags}
		if err := taking.Check(); (err == nil) != row.taken {
			t.Errorf("%s: %v", row.name, err)
		}
		context := NewContext()
		taking.AddContext(context)
		if _, present := context.Get("aws:TagKeys"); present && len(row.tags) == 0 {
			t.Error("no tags have keys")
		}
	}
	context := NewContext()
	(&Taking{}).AddContext(context)
	for _, key := range []string{"aws:TagKeys", "sts:TransitiveTagKeys"} {
		if _, present := context.entries[fold(key)]; present {
			t.Errorf("%s is there though nothing was tagged", key)
		}
	}
}

// TestWorstOfSeveralActions counts, the first of those that are as bad; what is
// missing beside the call's own permission is named as that.
func TestWorstOfSeveralActions(t *testing.T) {
	t.Parallel()
	p, err := Parse(Identity, "p", []byte(`{"Statement":[`+
		`{"Effect":"Allow","Action":["sts:AssumeRole","s3:Get*"],"Resource":"*"},`+
		`{"Effect":"Deny","Action":"s3:Delete*","Resource":"*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	alice := Principal{Kind: User, ARN: "arn:aws:iam::111122223333:user/alice", Account: "111122223333"}
	for _, row := range []struct {
		name    string
		actions []string
		effect  Effect
		about   string
		reason  string
	}{
		{"one", []string{"s3:GetObject"}, Allowed, "s3:GetObject", "allowed-identity"},
		{
			name:    "two that are allowed",
			actions: []string{"s3:GetObject", "s3:GetBucketAcl"},
			effect:  Allowed,
			about:   "s3:GetObject",
			reason:  "allowed-identity",
		},
		{
			name:    "tags besides",
			actions: []string{"sts:AssumeRole", "sts:TagSession"},
			effect:  ImplicitDeny,
			about:   "sts:TagSession",
			reason:  "tag-session-missing:identity",
		},
		{"tags alone", []string{"sts:TagSession"}, ImplicitDeny, "sts:TagSession", "identity-silent"},
		{
			name:    "two that are not",
			actions: []string{"s3:PutObject", "sts:TagSession"},
			effect:  ImplicitDeny,
			about:   "s3:PutObject",
			reason:  "identity-silent",
		},
		{
			"two that are denied",
			[]string{"s3:PutObject", "s3:DeleteObject", "s3:DeleteBucket"},
			ExplicitDeny, "s3:DeleteObject", "explicit-deny:identity",
		},
		{
			"one that is denied beside one that is allowed",
			[]string{"s3:GetObject", "s3:DeleteObject"},
			ExplicitDeny, "s3:DeleteObject", "explicit-deny:identity",
		},
	} {
		request := &Request{Principal: alice, Resource: "arn:aws:s3:::b/k"}
		got, about := DecideAll(request, row.actions, &Policies{Identity: []*Policy{p}})
		if got.Effect != row.effect || about != row.about || got.Reason != row.reason {
			t.Errorf("%s: %s (%s) about %s, want %s (%s) about %s", row.name, got.Effect, got.Reason, about, row.effect,
				row.reason, row.about)
		}
	}
}
