package document_test

import (
	"crypto/elliptic"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/issuer/document"
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

func documents(t testing.TB, keys ...token.PublicKey) document.Documents {
	t.Helper()
	made, err := document.New(issuer, keys, document.Options{MaxAge: 300})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func stored(d document.Documents) document.Stored {
	s := document.Stored{JWKS: d.JWKS, Discovery: d.Discovery}
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
		wanted   document.Documents
		stored   document.Stored
		signing  []string
		want     []string // NAME<VERSION
		refusing string
	}{
		{
			"first time, keys first", one,
			document.Stored{},
			nil,
			[]string{"openid/v1/jwks<", ".well-known/openid-configuration<"},
			"",
		},
		{"nothing new", one, stored(one), []string{k1.ID}, nil, ""},
		{"a new key", both, stored(one), []string{k1.ID}, []string{"openid/v1/jwks<v1"}, ""},
		{"other headers", one, headers, nil, []string{"openid/v1/jwks<v1"}, ""},
		{"a store without headers", one, silent, nil, nil, ""},
		{
			"a signing key is missing", one, stored(both),
			[]string{k1.ID, k2.ID},
			nil,
			"refuse to publish a key set without " + k2.ID,
		},
		{"another issuer's place", one, other, nil, nil, `the documents of issuer "https://other.example"`},
	} {
		writes, err := document.Plan(row.wanted, row.stored, row.signing)
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
		options      document.Options
		want         string
	}{
		{"no keys", issuer, nil, document.Options{}, "without keys"},
		{"http", "http://h.example", []token.PublicKey{key}, document.Options{}, "https://"},
		{
			"absolute path", issuer,
			[]token.PublicKey{key},
			document.Options{JWKSPath: "/keys.json"},
			"below the issuer URL",
		},
		{
			"discovery's path", issuer,
			[]token.PublicKey{key},
			document.Options{JWKSPath: document.DiscoveryPath},
			"below the issuer URL",
		},
		{"a hundred and one", issuer, hundredAndOne(key), document.Options{}, "AWS accepts at most 100"},
		{"fifty-one twice", issuer, hundredAndOne(key)[:51], document.Options{EmptyIDs: true}, "AWS accepts at most 100"},
	} {
		if _, err := document.New(row.issuer, row.keys, row.options); err == nil ||
			!strings.Contains(err.Error(), row.want) {
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

func TestUnionAndPick(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	_, k2 := newKey(t)
	union, err := document.Union([]token.PublicKey{k2}, []token.PublicKey{k1, k2})
	if diff := cmp.Diff([]string{k2.ID, k1.ID}, document.IDs(union)); diff != "" || err != nil {
		t.Errorf("union (-want +got): %s, %v", diff, err)
	}
	if _, err := document.Union([]token.PublicKey{k1}, []token.PublicKey{{ID: k1.ID, Public: k2.Public}}); err == nil {
		t.Error("two keys of one kid are joined")
	}
	picked, err := document.Pick(union, []string{k1.ID})
	if err != nil || len(picked) != 1 {
		t.Errorf("picked %v, %v", picked, err)
	}
	if _, err := document.Pick(union, []string{"none"}); err == nil {
		t.Error("an unknown kid is picked")
	}
}

// TestKeys: of a PEM file each key counts once, private ones by their public halves.
func TestKeys(t *testing.T) {
	t.Parallel()
	key, k1 := newKey(t)
	_, k2 := newKey(t)
	private, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	both, err := token.PublicPEM([]token.PublicKey{k2, k1})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := document.Keys(append(private, both...))
	if diff := cmp.Diff([]string{k1.ID, k2.ID}, document.IDs(keys)); diff != "" || err != nil {
		t.Errorf("keys (-want +got):\n%s%v", diff, err)
	}
	for _, text := range []string{"", "no PEM"} {
		if keys, err := document.Keys([]byte(text)); err == nil {
			t.Errorf("%q holds %v", text, document.IDs(keys))
		}
	}
}
