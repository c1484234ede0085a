package bucket_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/issuer/bucket"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func place(key string) bucket.Place {
	return bucket.Place{Region: "eu-west-1", Owner: "111122223333", Bucket: "keys", Key: key}
}

func document(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func statement(effect, resource, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Effect":"` + effect + `","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::keys/` +
		resource + `"` + condition + `}`
}

// TestOpen: open is what an anonymous GET would get, whatever the policy's text looks like.
func TestOpen(t *testing.T) {
	t.Parallel()
	const key = "prod/openid/v1/jwks"
	allow := func(resource, condition string) string { return statement("Allow", resource, condition) }
	deny := func(resource, condition string) string { return statement("Deny", resource, condition) }
	for _, row := range []struct {
		name, policy string
		block        bucket.Block
		want         error
	}{
		{"no policy", "", bucket.Block{}, bucket.ErrNotAllowed},
		{"the object", document(allow(key, "")), bucket.Block{}, nil},
		{"one whose name ends in it", document(allow("non"+key, "")), bucket.Block{}, bucket.ErrNotAllowed},
		{"named in a Sid", document(`{"Sid":"prod","Effect":"Allow","Principal":"*","Action":"s3:GetObject",` +
			`"Resource":"arn:aws:s3:::keys/x"}`), bucket.Block{}, bucket.ErrNotAllowed},
		{"a pattern", document(allow("prod/*", "")), bucket.Block{}, nil},
		{"a pattern of another prefix", document(allow("nonprod/*", "")), bucket.Block{}, bucket.ErrNotAllowed},
		{"everything", document(allow("*", "")), bucket.Block{}, nil},
		{"a statement without a list", `{"Version":"2012-10-17","Statement":` + allow(key, "") + `}`, bucket.Block{}, nil},
		{"AWS: *", strings.ReplaceAll(document(allow(key, "")), `"*"`, `{"AWS":"*"}`), bucket.Block{}, nil},
		{
			"an account", strings.ReplaceAll(document(allow(key, "")), `"*"`, `{"AWS":"111122223333"}`),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{
			"another action", strings.ReplaceAll(document(allow(key, "")), "GetObject", "PutObject"),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{"a Deny that names it", document(allow("*", ""), deny(key, "")), bucket.Block{}, bucket.ErrDenied},
		{
			"a Deny of http", document(allow(key, ""), deny("*", `{"Bool":{"aws:SecureTransport":"false"}}`)),
			bucket.Block{},
			nil,
		},
		{
			"an Allow of http", document(allow(key, `{"Bool":{"aws:SecureTransport":"false"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{"an Allow of https", document(allow(key, `{"Bool":{"aws:SecureTransport":"true"}}`)), bucket.Block{}, nil},
		{
			"from an office", document(allow(key, `{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{
			"from half of the world", document(allow(key, `{"IpAddress":{"aws:SourceIp":"0.0.0.0/1"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{
			"from both halves", document(allow(key, `{"IpAddress":{"aws:SourceIp":["0.0.0.0/1","128.0.0.0/1","::/0"]}}`)),
			bucket.Block{},
			nil,
		},
		{
			"by IPv4 only", document(allow(key, `{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{"a Deny of everything but an office", document(allow(key, ""),
			deny("*", `{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`)), bucket.Block{}, bucket.ErrDenied},
		{
			"a Deny of one address", document(allow(key, ""), deny("*", `{"IpAddress":{"aws:SourceIp":"52.94.77.1"}}`)),
			bucket.Block{},
			bucket.ErrDenied,
		},
		{
			"a Deny of private addresses", document(allow(key, ""), deny("*", `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`)),
			bucket.Block{},
			nil,
		},
		{
			"through an endpoint", document(allow(key, `{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{"a Deny of all but an endpoint", document(allow(key, ""),
			deny("*", `{"StringNotEquals":{"aws:SourceVpce":"vpce-1"}}`)), bucket.Block{}, bucket.ErrDenied},
		{
			"of a referer", document(allow(key, `{"StringLike":{"aws:Referer":"https://www.example.com/*"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{
			"of a program", document(allow(key, `{"StringLike":{"aws:UserAgent":"Mozilla*"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{
			"of an organization", document(allow(key, `{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{
			"until last year", document(allow(key, `{"DateLessThan":{"aws:CurrentTime":"2025-01-01T00:00:00Z"}}`)),
			bucket.Block{},
			bucket.ErrNotAllowed,
		},
		{
			"a Deny of old TLS", document(allow(key, ""), deny("*", `{"NumericLessThan":{"s3:TlsVersion":"1.2"}}`)),
			bucket.Block{},
			nil,
		},
		{
			"all but writing is denied to none", document(allow(key, ""),
				`{"Effect":"Deny","Principal":"*","NotAction":"s3:PutObject","Resource":"arn:aws:s3:::keys/*"}`),
			bucket.Block{},
			bucket.ErrDenied,
		},
		{"restricted", document(allow(key, "")), bucket.Block{RestrictPublicBuckets: true}, bucket.ErrRestricted},
		{"new public policies are blocked", document(allow(key, "")), bucket.Block{BlockPublicPolicy: true}, nil},
		{
			"access control lists are ignored", document(allow(key, "")),
			bucket.Block{BlockPublicACLs: true, IgnorePublicACLs: true},
			nil,
		},
		{"no policy at all", "{", bucket.Block{}, bucket.ErrUnread},
		{"an operator that nobody knows", document(allow(key, `{"StringNew":{"aws:x":"y"}}`)), bucket.Block{}, bucket.ErrUnread},
	} {
		err := bucket.Access{Policy: row.policy, Block: row.block}.Open(place(key), noon)
		if !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
}

// TestOpenIsOfPrefixes: over policies that open some prefixes by some patterns, an object is
// open if and only if a pattern matches its key, and never because one key is part of
// another; one statement more opens exactly what it names and changes nothing else.
func TestOpenIsOfPrefixes(t *testing.T) {
	t.Parallel()
	prefixes := []string{"prod", "nonprod", "prod2", "prod/eu", "eu/prod", "p", "pro", "PROD", "prod-", "pr*d"}
	const name = "openid/v1/jwks"
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 4)) //nolint:gosec // chance that can be repeated
		var opened, statements []string
		for range r.IntN(4) + 1 {
			one := prefixes[r.IntN(len(prefixes)-1)]
			switch r.IntN(3) {
			case 0:
				opened = append(opened, one)
				statements = append(statements, statement("Allow", one+"/"+name, ""))
			case 1:
				statements = append(statements, statement("Deny", one+"x/*", ""))
			default:
				statements = append(statements, statement("Allow", one+"/.well-known/*", ""))
			}
		}
		policy := document(statements...)
		check := func(policy string, opened []string) {
			for _, prefix := range prefixes[:len(prefixes)-1] {
				want := false
				for _, one := range opened {
					want = want || one == prefix
				}
				err := bucket.Access{Policy: policy}.Open(place(prefix+"/"+name), noon)
				if (err == nil) != want {
					t.Fatalf("seed %d: %s is open: %t, %v\n%s", seed, prefix, !want, err, policy)
				}
			}
		}
		check(policy, opened)
		more := prefixes[r.IntN(len(prefixes)-1)]
		added, err := bucket.Add(policy, "eu-west-1", "keys", []string{more + "/" + name})
		if err != nil {
			t.Fatal(err)
		}
		check(added, append(opened, more))
		var before, after struct{ Statement []json.RawMessage }
		if json.Unmarshal([]byte(policy), &before) != nil || json.Unmarshal([]byte(added), &after) != nil ||
			len(after.Statement) != len(before.Statement)+1 {
			t.Fatalf("seed %d: %s\nbecomes %s", seed, policy, added)
		}
		for i, one := range before.Statement {
			if string(after.Statement[i]) != string(one) {
				t.Fatalf("seed %d: %s becomes %s", seed, one, after.Statement[i])
			}
		}
	}
}

// TestAdd: the policy stays as it is, blanks and all, but for one statement of its own name.
func TestAdd(t *testing.T) {
	t.Parallel()
	ours := func(sid string) string {
		return `{"Sid":"` + sid + `","Effect":"Allow","Principal":"*","Action":"s3:GetObject",` +
			`"Resource":["arn:aws:s3:::keys/a"]}`
	}
	theirs := statement("Deny", "*", `{"Bool":{"aws:SecureTransport":"false"}}`)
	for _, row := range []struct{ name, policy, want string }{
		{"none", "", document(ours("PublicIssuerDocuments"))},
		{
			"a list", "{ \"Version\": \"2012-10-17\",\n \"Statement\": [\n " + theirs + "\n ] }\n",
			"{ \"Version\": \"2012-10-17\",\n \"Statement\": [\n " + theirs + "," + ours("PublicIssuerDocuments") + "\n ] }\n",
		},
		{
			"a statement", `{"Statement": ` + theirs + `, "Version":"2012-10-17"}`,
			`{"Statement": [` + theirs + `,` + ours("PublicIssuerDocuments") + `], "Version":"2012-10-17"}`,
		},
		{
			"one of ours", document(ours("PublicIssuerDocuments")),
			document(ours("PublicIssuerDocuments"), ours("PublicIssuerDocuments2")),
		},
		{
			"two of ours", document(ours("PublicIssuerDocuments"), ours("PublicIssuerDocuments2")),
			document(ours("PublicIssuerDocuments"), ours("PublicIssuerDocuments2"), ours("PublicIssuerDocuments3")),
		},
	} {
		got, err := bucket.Add(row.policy, "eu-west-1", "keys", []string{"a"})
		if err != nil || got != row.want {
			t.Errorf("%s: %v\n%s, want\n%s", row.name, err, got, row.want)
		}
	}
	if got, err := bucket.Add("{", "eu-west-1", "keys", []string{"a"}); !errors.Is(err, bucket.ErrUnread) {
		t.Errorf("to no policy: %q, %v", got, err)
	}
}

// FuzzAdd: whatever a policy says, adding to it opens the object unless something denies it,
// and keeps it a policy.
func FuzzAdd(f *testing.F) {
	f.Add(document(statement("Allow", "*", "")))
	f.Add(fmt.Sprintf(`{"Statement":%s}`, statement("Deny", "b", `{"IpAddress":{"aws:SourceIp":"1.2.3.4/5"}}`)))
	f.Fuzz(func(t *testing.T, policy string) {
		added, err := bucket.Add(policy, "eu-west-1", "keys", []string{"a"})
		if err != nil {
			return
		}
		err = bucket.Access{Policy: added}.Open(place("a"), noon)
		if errors.Is(err, bucket.ErrUnread) || errors.Is(err, bucket.ErrNotAllowed) {
			t.Errorf("%s\nbecomes %s: %v", policy, added, err)
		}
	})
}
