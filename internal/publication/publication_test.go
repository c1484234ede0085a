package publication_test

import (
	"crypto/elliptic"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/publication"
	"github.com/rolecall/rolecall/internal/token"
)

const issuer = "https://keys.s3.eu-west-1.amazonaws.com/c1"

func newKey(t testing.TB) (*token.Key, token.PublicKey) {
	t.Helper()
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

func documents(t testing.TB, keys ...token.PublicKey) publication.Documents {
	t.Helper()
	made, err := publication.NewDocuments(issuer, keys, publication.Options{MaxAge: 300})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func stored(d publication.Documents) publication.Stored {
	s := publication.Stored{JWKS: d.JWKS, Discovery: d.Discovery}
	s.JWKS.Version, s.Discovery.Version = "v1", "v2"
	return s
}

func TestPlan(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	_, k2 := newKey(t)
	one, both := documents(t, k1), documents(t, k2, k1)
	other := stored(one)
	other.Discovery.Text = []byte(`{"issuer":"https://other.example"}`)
	headers := stored(one)
	headers.JWKS.CacheControl = "no-store"
	silent := stored(one)
	silent.JWKS.CacheControl, silent.JWKS.ContentType = "", ""
	for _, row := range []struct {
		name     string
		wanted   publication.Documents
		stored   publication.Stored
		signing  []string
		want     []string // NAME<VERSION
		refusing string
	}{
		{"first time, keys first", one, publication.Stored{}, nil, []string{"openid/v1/jwks<", ".well-known/openid-configuration<"}, ""},
		{"nothing new", one, stored(one), []string{k1.ID}, nil, ""},
		{"a new key", both, stored(one), []string{k1.ID}, []string{"openid/v1/jwks<v1"}, ""},
		{"other headers", one, headers, nil, []string{"openid/v1/jwks<v1"}, ""},
		{"a store without headers", one, silent, nil, nil, ""},
		{"a signing key is missing", one, stored(both), []string{k1.ID, k2.ID}, nil, "refuse to publish a key set without " + k2.ID},
		{"another issuer's place", one, other, nil, nil, `the documents of issuer "https://other.example"`},
	} {
		writes, err := publication.Plan(row.wanted, row.stored, row.signing)
		if (err != nil) != (row.refusing != "") || (err != nil && !strings.Contains(err.Error(), row.refusing)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.refusing)
		}
		var got []string
		for _, write := range writes {
			got = append(got, write.Object.Name+"<"+write.Replaces)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
}

func TestNewDocumentsRefuses(t *testing.T) {
	t.Parallel()
	_, key := newKey(t)
	for _, row := range []struct {
		name, issuer string
		keys         []token.PublicKey
		options      publication.Options
		want         string
	}{
		{"no keys", issuer, nil, publication.Options{}, "without keys"},
		{"http", "http://h.example", []token.PublicKey{key}, publication.Options{}, "https://"},
		{"absolute path", issuer, []token.PublicKey{key}, publication.Options{JWKSPath: "/keys.json"}, "below the issuer URL"},
		{"discovery's path", issuer, []token.PublicKey{key}, publication.Options{JWKSPath: publication.DiscoveryPath}, "below the issuer URL"},
		{"a hundred and one", issuer, hundredAndOne(key), publication.Options{}, "AWS takes at most 100"},
		{"fifty-one twice", issuer, hundredAndOne(key)[:51], publication.Options{EmptyIDs: true}, "AWS takes at most 100"},
	} {
		if _, err := publication.NewDocuments(row.issuer, row.keys, row.options); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}

func hundredAndOne(key token.PublicKey) []token.PublicKey {
	var keys []token.PublicKey
	for i := range 101 {
		keys = append(keys, token.PublicKey{ID: string(rune('a'+i%26)) + strings.Repeat("x", i), Public: key.Public})
	}
	return keys
}

func TestS3URL(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		style                  publication.Style
		bucket, region, prefix string
		want                   string
	}{
		{"", "keys", "eu-west-1", "", "https://keys.s3.eu-west-1.amazonaws.com"},
		{"", "keys", "eu-west-1", "/c1/", "https://keys.s3.eu-west-1.amazonaws.com/c1"},
		{"", "my.keys", "eu-west-1", "c1", "https://s3.eu-west-1.amazonaws.com/my.keys/c1"},
		{"path", "keys", "us-gov-west-1", "", "https://s3.us-gov-west-1.amazonaws.com/keys"},
		{"dualstack", "keys", "eu-west-1", "c1", "https://s3.dualstack.eu-west-1.amazonaws.com/keys/c1"},
		{"", "keys", "cn-north-1", "", "https://s3.cn-north-1.amazonaws.com.cn/keys"},
		{"", "keys", "eusc-de-east-1", "", "https://keys.s3.eusc-de-east-1.amazonaws.eu"},
		{"", "keys", "us-isob-east-1", "", "https://keys.s3.us-isob-east-1.sc2s.sgov.gov"},
		{"virtual", "my.keys", "eu-west-1", "", ""},
		{"legacy", "keys", "eu-west-1", "", ""},
	} {
		got, err := publication.S3URL(row.style, row.bucket, row.region, row.prefix)
		if got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s %s: %q, %v, want %q", row.style, row.bucket, got, err, row.want)
		}
	}
	policy, err := publication.BucketPolicy("cn-north-1", "keys", []string{"c1/a", "c1/b"})
	want := `{"Version":"2012-10-17","Statement":[{"Sid":"PublicIssuerDocuments","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":["arn:aws-cn:s3:::keys/c1/a","arn:aws-cn:s3:::keys/c1/b"]}]}`
	if string(policy) != want || err != nil {
		t.Errorf("policy %s, %v", policy, err)
	}
	if got := publication.ProviderARN("aws", "111122223333", "https://h.example:443/Path/"); got != "arn:aws:iam::111122223333:oidc-provider/h.example/Path/" {
		t.Errorf("provider %s", got)
	}
}

func TestUnionAndPick(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	_, k2 := newKey(t)
	union, err := publication.Union([]token.PublicKey{k2}, []token.PublicKey{k1, k2})
	if diff := cmp.Diff([]string{k2.ID, k1.ID}, publication.IDs(union)); diff != "" || err != nil {
		t.Errorf("union %s, %v", diff, err)
	}
	if _, err := publication.Union([]token.PublicKey{k1}, []token.PublicKey{{ID: k1.ID, Public: k2.Public}}); err == nil {
		t.Error("two keys of one kid are joined")
	}
	picked, err := publication.Pick(union, []string{k1.ID})
	if err != nil || len(picked) != 1 {
		t.Errorf("picked %v, %v", picked, err)
	}
	if _, err := publication.Pick(union, []string{"none"}); err == nil {
		t.Error("an unknown kid is picked")
	}
}

func TestMaxAge(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{"public, max-age=300": 300, "MAX-AGE=\"60\"": 60, "no-store": -1, "max-age=-1": -1, "max-age=x": -1, "": -1} {
		age, found := publication.MaxAge(header)
		if found != (want >= 0) || (found && int(age.Seconds()) != want) {
			t.Errorf("%q: %s, %t", header, age, found)
		}
	}
}

// entryOf returns the one entry of a document, to be spoilt.
func entryOf(t testing.TB, d publication.Documents) map[string]any {
	t.Helper()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(d.JWKS.Text, &set); err != nil {
		t.Fatal(err)
	}
	return set.Keys[0]
}

func jwksOf(t testing.TB, entries ...map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": entries})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func rules(findings []publication.Finding, least ...publication.Severity) []string {
	var names []string
	for _, finding := range findings {
		if slices.Contains(least, finding.Severity) {
			names = append(names, finding.Rule)
		}
	}
	return names
}

func TestS3Bucket(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://keys.s3.eu-west-1.amazonaws.com":              "keys",
		"https://a.b.s3.eu-west-1.amazonaws.com/c1":            "a.b",
		"https://keys.s3.dualstack.eu-west-1.amazonaws.com/c1": "keys",
		"https://s3.eu-west-1.amazonaws.com/keys/c1":           "keys",
		"https://s3.dualstack.eu-west-1.amazonaws.com/keys":    "keys",
		"https://s3-eu-west-1.amazonaws.com/keys":              "keys",
		"https://s3.cn-north-1.amazonaws.com.cn/keys":          "keys",
		"https://keys.s3.eusc-de-east-1.amazonaws.eu":          "keys",
		"https://keys.s3.us-isob-east-1.sc2s.sgov.gov":         "keys",
		"https://keys.s3.amazonaws.com":                        "keys",
		"https://s3.eu-west-1.amazonaws.com":                   "",
		"https://d111111abcdef8.cloudfront.net":                "",
		"https://oidc.example.com/s3.amazonaws.com":            "",
		"https://s3.eu-west-1.amazonaws.com.example/keys":      "",
	} {
		if got, found := publication.S3Bucket(url); got != want || found != (want != "") {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

func TestDenyOlderSessions(t *testing.T) {
	t.Parallel()
	got := publication.DenyOlderSessions("reader", noon.Add(1)) // its second is not over
	if !strings.Contains(got, "--role-name reader ") || !strings.Contains(got, `{"DateLessThan":{"aws:TokenIssueTime":"2026-11-21T12:00:01Z"}}`) {
		t.Error(got)
	}
}
