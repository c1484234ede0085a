package seed_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/eks"
	"github.com/rolecall/rolecall/internal/localaws/seed"
)

const good = `
accounts:
  - providers:
      - url: https://oidc.example.com/c1
        clientIDs: [sts.amazonaws.com]
    policies:
      - name: read-data
        path: /team/
        document:
          Version: 2012-10-17
          Statement:
            - Effect: Allow
              Action: "s3:Get*"
              Resource: "arn:aws:s3:::data/*"
              Condition: {NumericLessThan: {s3:max-keys: 10}, Bool: {aws:SecureTransport: true}}
    groups:
      - name: readers
        attached: ["arn:aws:iam::000000000000:policy/team/read-data"]
    users:
      - name: alice
        groups: [readers]
        boundary: arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess
        tags: {team: red}
        accessKeys:
          - {id: AKIAALICEALICEALICE1, secret: alicealicealicealicealicealicealicealice}
        inline:
          own: |
            {"Version": "2012-10-17",
             "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}
    roles:
      - name: app
        trust:
          Version: "2012-10-17"
          Statement:
            Effect: Allow
            Principal: {AWS: ["arn:aws:iam::000000000000:role/later", "arn:aws:iam::444455556666:role/theirs"]}
            Action: sts:AssumeRole
      - name: later
        maxSession: 7200
        trust: '{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:role/app"},"Action":"sts:AssumeRole"}]}'
      - name: pods
        trust:
          Statement:
            Effect: Allow
            Principal: {Service: pods.eks.amazonaws.com}
            Action: ["sts:AssumeRole", "sts:TagSession"]
    instanceProfiles:
      - {name: box, role: app}
    clusters:
      - name: prod
        region: eu-west-1
        issuer: https://oidc.example.com/c1
        tags: {team: red}
        accessEntries:
          - principal: arn:aws:iam::000000000000:user/alice
            groups: [viewers]
            policies:
              - {arn: "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy", namespaces: [dev-*]}
              - {arn: "arn:aws:eks::aws:cluster-access-policy/AmazonEKSSecretReaderPolicy"}
          - {principal: "arn:aws:iam::000000000000:role/app", type: EC2_LINUX}
        podIdentityAssociations:
          - {namespace: shop, serviceAccount: cart, role: "arn:aws:iam::000000000000:role/pods", tags: {a: b}}
          - namespace: shop
            serviceAccount: basket
            role: arn:aws:iam::000000000000:role/pods
            targetRole: arn:aws:iam::444455556666:role/theirs
            disableSessionTags: true
            policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}
  - id: "444455556666"
    roles:
      - name: theirs
        trust:
          Statement: {Effect: Allow, Principal: {AWS: "arn:aws:iam::000000000000:user/alice"}, Action: "sts:AssumeRole"}
`

var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func newSet(t *testing.T) *account.Set {
	t.Helper()
	set, err := account.NewSet(account.NewMemory(), []string{"000000000000"}, now)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func apply(set *account.Set, text string) error {
	file, err := seed.Parse("seed.yaml", []byte(text))
	if err != nil {
		return err
	}
	return seed.Apply(set, file, now)
}

func dump(t *testing.T, set *account.Set) string {
	t.Helper()
	text, err := seed.Dump(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRoundTrip: applying twice changes nothing, what is written back makes the
// same accounts again, and identities stay.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	set := newSet(t)
	roleID := func() (id string) {
		_ = set.View(func(state account.State) error {
			role, err := state.Role("later")
			if err != nil {
				t.Fatal(err)
			}
			id = role.ID
			app, _ := state.Role("app")
			if app.Principals["arn:aws:iam::000000000000:role/later"] != role.ID ||
				app.Principals["arn:aws:iam::444455556666:role/theirs"] == "" {
				t.Errorf("the trust is bound to %v", app.Principals)
			}
			policy, err := state.Policy("READ-DATA")
			if err != nil || len(policy.Versions) != 1 ||
				!strings.Contains(
					policy.Default().Text,
					`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": `+
						`"arn:aws:s3:::data/*", "Condition": {"NumericLessThan": {"s3:max-keys": 10}, "Bool": `+
						`{"aws:SecureTransport": true}}}]}`,
				) {
				t.Errorf("policy %+v, %v", policy, err)
			}
			return nil
		})
		return id
	}
	associationID := func() (id string) {
		_ = set.View(func(state account.State) error {
			one, err := eks.In(state, "eu-west-1", "prod").AssociationOf("shop", "cart")
			if err != nil {
				t.Fatal(err)
			}
			id = one.ID
			return nil
		})
		return id
	}
	if err := apply(set, good); err != nil {
		t.Fatal(err)
	}
	made := associationID()
	defer func() {
		if associationID() != made {
			t.Error("the association has another id")
		}
	}()
	first, id := dump(t, set), roleID()
	if err := apply(set, good); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, dump(t, set)); diff != "" || roleID() != id {
		t.Errorf("applied twice: mismatch (-want +got):\n%s", diff)
	}
	again := newSet(t)
	// The administrators' keys are random and those of the dump are added.
	if err := apply(again, first); err != nil {
		t.Fatalf("%v\n%s", err, first)
	}
	lines := func(text string) (kept []string) {
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "AKIA") && !strings.Contains(line, "secret: ") {
				kept = append(kept, line)
			}
		}
		return kept
	}
	if diff := cmp.Diff(lines(first), lines(dump(t, again))); diff != "" {
		t.Errorf("written back: mismatch (-want +got):\n%s", diff)
	}
	for _, want := range []string{
		"alicealice", "own: |\n", "role: app", "maxSession: 7200", "issuer: https://oidc.example.com/c1",
		"type: EC2_LINUX", "BEGIN CERTIFICATE",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the dump lacks %q:\n%s", want, first)
		}
	}
}

// TestReference: what the documentation shows can be loaded.
func TestReference(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/reference/seed.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("there is no example")
	}
	if err := apply(newSet(t), example); err != nil {
		t.Error(err)
	}
}

// TestJSON: a file may be JSON, whatever it is indented with.
func TestJSON(t *testing.T) {
	t.Parallel()
	if err := apply(
		newSet(t), "\n{\n\t\"accounts\": [\n\t\t{\"id\": \"000000000000\", \"users\": [{\"name\": \"bob\"}]}\n\t]\n}\n",
	); err != nil {
		t.Error(err)
	}
}

// TestRefused: errors name the place, and nothing is half done.
func TestRefused(t *testing.T) {
	t.Parallel()
	in := func(text string) string { return "accounts:\n  - " + text + "\n" }
	const role = "{Statement: {Effect: Allow, Principal: {AWS: '*'}, Action: 'sts:AssumeRole'}}"
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", "seed.yaml: the file is empty"},
		{"no YAML", "accounts: [", "line 1"},
		{"no YAML on the first line", "accounts: a: b\n", "seed.yaml: line 1: mapping values are not allowed"},
		{"an alias of nothing", "accounts:\n- id: *a\n", "seed.yaml: line 2: unknown anchor"},
		{
			name: "unknown member",
			text: "accounts:\n  - id: '000000000000'\n    user: []\n",
			want: "seed.yaml: line 3: field user not found here",
		},
		{"misspelt in a role", in("roles:\n      - name: r\n        Trust: {}"), "line 4: field Trust not found here"},
		{"twice", "accounts:\n  - users: []\n    users: []\n", `"users" already defined at line 2`},
		{"two documents", "accounts: []\n---\naccounts: []\n", "more than one document"},
		{"a list for a text", in("users: [{name: [a]}]"), "line 2: cannot unmarshal !!seq here"},
		{
			name: "a secret in a wrong place",
			text: in("users: [{name: a, accessKeys: supersecretsupersecret}]"),
			want: "line 2: cannot unmarshal !!str here",
		},
		{"account number", in("id: 12"), `account "12": want 12 digits`},
		{"account twice", "accounts:\n  - id: '000000000000'\n  - users: []\n", "declared twice"},
		{"name", in("users: [{name: a b}]"), `user "a b": name: must be`},
		{"path", in("users: [{name: a, path: x}]"), `user "a": path "x"`},
		{
			name: "policy",
			text: in("users: [{name: a, inline: {p: {Version: '2012-10-17', Statement: {effect: Allow}}}}]"),
			want: `user "a": inline policy "p": MalformedPolicyDocument`,
		},
		{
			name: "old managed policy",
			text: in("policies: [{name: p, document: {Statement: {Effect: Allow, Action: 's3:*', Resource: '*'}}}]"),
			want: "must be version 2012-10-17",
		},
		{"no trust", in("roles: [{name: r}]"), `role "r": `},
		{
			name: "trust in a role that is not there",
			text: in(
				"roles: [{name: r, trust: {Statement: {Effect: Allow, Principal: {AWS: " +
					"'arn:aws:iam::000000000000:role/none'}, Action: 'sts:AssumeRole'}}}]",
			),
			want: "Invalid principal in policy",
		},
		{
			name: "session",
			text: in("roles: [{name: r, maxSession: 60, trust: " + role + "}]"),
			want: "maxSession 60: must be 3600 to 43200",
		},
		{
			name: "attached",
			text: in("roles: [{name: r, attached: ['arn:aws:iam::aws:policy/Nope'], trust: " + role + "}]"),
			want: "managed policy arn:aws:iam::aws:policy/Nope: not found",
		},
		{"group", in("users: [{name: a, groups: [g]}]"), `group "g": not found`},
		{
			name: "key of another",
			text: in(
				"users: [{name: a, accessKeys: [&k {id: AKIAALICEALICEALICE1, secret: supersecretsupersecret}]}, " +
					"{name: b, accessKeys: [*k]}]",
			),
			want: "access key AKIAALICEALICEALICE1 belongs to user a",
		},
		{
			name: "short secret",
			text: in("users: [{name: a, accessKeys: [{id: AKIAALICEALICEALICE1, secret: supersecret}]}]"),
			want: "its secret must have 16",
		},
		{"provider", in("providers: [{url: 'http://x'}]"), "must begin with https://"},
		{"cluster name", in("clusters: [{name: a b}]"), `cluster "a b": `},
		{"cluster mode", in("clusters: [{name: a, authenticationMode: api}]"), "Value 'api' at 'authenticationMode'"},
		{"cluster issuer", in("clusters: [{name: a, issuer: x}]"), `the issuer "x" is not an https URL`},
		{
			name: "access entry",
			text: in("clusters: [{name: a, accessEntries: [{principal: 'arn:aws:iam::000000000000:user/nobody'}]}]"),
			want: "invalid principal",
		},
		{
			name: "access group",
			text: in(
				"clusters: [{name: a, accessEntries: [{principal: 'arn:aws:iam::000000000000:user/admin', groups: " +
					"['system:masters']}]}]",
			),
			want: "cannot start with system:",
		},
		{
			name: "association",
			text: in(
				"clusters: [{name: a, podIdentityAssociations: [{namespace: n, serviceAccount: s, role: " +
					"'arn:aws:iam::000000000000:role/r'}]}]",
			),
			want: "pod identity association of n/s: InvalidParameterException: Role provided in the request does " +
				"not exist",
		},
		{"alias of itself", in("roles: [{name: r, trust: &t [*t]}]"), "line 2"},
	} {
		set := newSet(t)
		before := dump(t, set)
		err := apply(set, row.text)
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "supersecret") {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
		if after := dump(t, set); after != before {
			t.Errorf("%s left something behind: mismatch (-want +got):\n%s", row.name, cmp.Diff(before, after))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"accounts":[{"roles":[{"name":"r","trust":{"a":[1,null,{"b":2012-10-17}]}}]}]}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = seed.Parse("fuzz", text) // no panic, and an end
	})
}
