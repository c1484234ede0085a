package inspect_test

import (
	"crypto/elliptic"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/token"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

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

// sound is an issuer with which nothing is wrong.
func sound(t testing.TB) (inspect.Observation, *token.Key) {
	t.Helper()
	key, public := newKey(t)
	d := documents(t, public)
	fetched := func(object document.Object) inspect.Fetched {
		return inspect.Fetched{
			URL: issuer + "/" + object.Name, Done: true, Status: 200, Date: noon,
			ContentType: object.ContentType, CacheControl: object.CacheControl, Text: object.Text,
			Certificate: inspect.Certificate{Thumbprint: strings.Repeat("ab", 20)},
		}
	}
	return inspect.Observation{
		Issuer: issuer, Now: noon, Audiences: []string{"sts.amazonaws.com"},
		Discovery: fetched(d.Discovery), JWKS: fetched(d.JWKS),
		Servers: []inspect.ServerKeys{{Name: "a", Keys: []token.PublicKey{public}, Issuer: issuer, Signs: public.ID}},
		Providers: []inspect.Provider{{
			Account:   "111122223333",
			ARN:       "arn:x",
			URL:       strings.TrimPrefix(issuer, "https://"),
			ClientIDs: []string{"sts.amazonaws.com"},
		}},
		Token: tokenOf(t, key, map[string]any{}),
	}, key
}

func tokenOf(t testing.TB, key *token.Key, change map[string]any) *token.JWT {
	t.Helper()
	claims := map[string]any{
		"iss": issuer,
		"sub": "system:serviceaccount:a:b",
		"aud": []string{"sts.amazonaws.com"},
		"iat": noon.Unix(),
		"exp": noon.Unix() + 600,
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := token.Sign(key, payload)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := token.Decode(raw.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// TestInspect breaks one thing at a time and wants it found, and nothing else.
func TestInspect(t *testing.T) {
	t.Parallel()
	_, key := sound(t)
	_, stranger := newKey(t)
	rsa, err := token.GenerateRSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaPublic, err := token.NewPublicKey(rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	rsaEntry := func(change func(map[string]any)) func(*inspect.Observation) {
		return func(o *inspect.Observation) {
			extra := entryOf(t, documents(t, rsaPublic))
			change(extra)
			var set struct{ Keys []map[string]any }
			_ = json.Unmarshal(o.JWKS.Text, &set)
			o.JWKS.Text = jwksOf(t, append(set.Keys, extra)...)
			o.Discovery.Text = []byte(strings.Replace(string(o.Discovery.Text), `["ES256"]`, `["ES256","RS256"]`, 1))
		}
	}
	for _, row := range []struct {
		name  string
		spoil func(*inspect.Observation)
		want  []string // rules of errors and warnings
	}{
		{"nothing", func(*inspect.Observation) {}, nil},
		{"another sound key", func(o *inspect.Observation) {
			rsaEntry(func(map[string]any) {})(o)
			o.Servers[0].Keys = append(o.Servers[0].Keys, rsaPublic)
		}, nil},
		{"default issuer", func(o *inspect.Observation) {
			o.Issuer = "https://kubernetes.default.svc.cluster.local"
		}, []string{"default-issuer", "issuer-differs", "token-issuer", "token-issuer"}},
		{
			"port", func(o *inspect.Observation) { o.Issuer += ":8443" },
			[]string{"issuer-differs", "token-issuer", "token-issuer"},
		},
		{
			"slash", func(o *inspect.Observation) { o.Issuer += "/" },
			[]string{"trailing-slash", "issuer-differs", "token-issuer", "token-issuer"},
		},
		{
			"down", func(o *inspect.Observation) { o.Discovery.Err = "connection refused" },
			[]string{"discovery-unreachable"},
		},
		{"private", func(o *inspect.Observation) { o.JWKS.Status = 403 }, []string{"jwks-not-public"}},
		{"missing", func(o *inspect.Observation) { o.JWKS.Status = 404 }, []string{"jwks-status"}},
		{"redirect", func(o *inspect.Observation) { o.Discovery.Status = 301 }, []string{"discovery-status"}},
		{"HTML", func(o *inspect.Observation) {
			o.Discovery.Text, o.Discovery.ContentType = []byte("<html>"), "text/html"
		}, []string{"discovery-content-type", "discovery-json"}},
		{"HTML for keys", func(o *inspect.Observation) { o.JWKS.Text = []byte("<html>") }, []string{"jwks-json"}},
		{"a member of the keys twice", func(o *inspect.Observation) {
			o.JWKS.Text = []byte(`{"keys":[],"KEYS"` + strings.TrimPrefix(string(o.JWKS.Text), `{"keys"`))
		}, []string{"jwks-json"}},
		{"a member of a key twice", func(o *inspect.Observation) {
			o.JWKS.Text = []byte(strings.Replace(string(o.JWKS.Text), `"kty":"`, `"kty":"OKP","kty":"`, 1))
		}, []string{"jwks-json"}},
		{"jwks_uri twice", func(o *inspect.Observation) {
			o.Discovery.Text = []byte(strings.Replace(string(o.Discovery.Text), `{`, `{"JWKS_URI":"https://else.example/keys",`, 1))
		}, []string{"discovery-json"}},
		{
			"no keys", func(o *inspect.Observation) { o.JWKS.Text = []byte(`{"keys":[]}`) },
			[]string{"no-keys", "signing-key-unpublished", "token-key-unpublished"},
		},
		{"member missing", func(o *inspect.Observation) {
			o.Discovery.Text = []byte(strings.Replace(string(o.Discovery.Text), "subject_types", "x", 1))
		}, []string{"discovery-member"}},
		{"internal keys", func(o *inspect.Observation) {
			o.Discovery.Text = []byte(strings.Replace(string(o.Discovery.Text), `"jwks_uri":"https:`,
				`"jwks_uri":"http:`, 1))
		}, []string{"jwks-uri"}},
		{"no caching header", func(o *inspect.Observation) { o.JWKS.CacheControl = "" }, []string{"jwks-cache"}},
		{
			"kept for a day", func(o *inspect.Observation) { o.JWKS.CacheControl = "max-age=86400" },
			[]string{"jwks-cache"},
		},
		{"clock", func(o *inspect.Observation) { o.JWKS.Date = noon.Add(-time.Hour) }, []string{"clock"}},
		{"private CA", func(o *inspect.Observation) {
			o.JWKS.Certificate.Err, o.JWKS.Certificate.Untrusted = "unknown authority", true
		}, []string{"jwks-certificate", "thumbprint"}},
		{"expired certificate, thumbprint known", func(o *inspect.Observation) {
			o.JWKS.Certificate.Err = "expired"
			o.Providers[0].Thumbprints = []string{o.JWKS.Certificate.Thumbprint}
		}, []string{"jwks-certificate"}},
		{
			"role elsewhere", func(o *inspect.Observation) { o.RoleARN = "arn:aws:iam::444455556666:role/a" },
			[]string{"role-account"},
		},
		{"role here", func(o *inspect.Observation) {
			o.RoleARN, o.Providers[0].ARN = "arn:aws:iam::111122223333:role/path/a",
				"arn:aws:iam::111122223333:oidc-provider/x"
		}, nil},
		{"role of another partition", func(o *inspect.Observation) {
			o.RoleARN, o.Providers[0].ARN = "arn:aws:iam::111122223333:role/a",
				"arn:aws-cn:iam::111122223333:oidc-provider/x"
		}, []string{"role-partition"}},
		{
			"role is none", func(o *inspect.Observation) { o.RoleARN = "arn:aws:iam::111122223333:user/a" },
			[]string{"role-arn"},
		},
		{
			"redirect that is followed", func(o *inspect.Observation) { o.JWKS.Redirected = "https://else.example/" },
			[]string{"jwks-redirect"},
		},
		{"private CA, thumbprint known", func(o *inspect.Observation) {
			o.JWKS.Certificate.Err, o.JWKS.Certificate.Untrusted = "unknown authority", true
			o.Providers[0].Thumbprints = []string{o.JWKS.Certificate.Thumbprint}
		}, []string{"jwks-certificate"}},
		{
			"stranger's keys", func(o *inspect.Observation) { o.JWKS.Text = documents(t, stranger).JWKS.Text },
			[]string{"unserved-key", "signing-key-unpublished", "token-key-unpublished"},
		},
		{"two servers sign differently", func(o *inspect.Observation) {
			o.Servers = append(o.Servers, inspect.ServerKeys{
				Name:   "b",
				Keys:   []token.PublicKey{stranger},
				Issuer: issuer,
				Signs:  stranger.ID,
			})
		}, []string{"signing-key-unpublished", "servers-differ"}},
		{
			"server does not accept itself", func(o *inspect.Observation) { o.Servers[0].Keys = nil },
			[]string{"signing-key-unverifiable"},
		},
		{
			"accepts an unpublished key",
			func(o *inspect.Observation) { o.Servers[0].Keys = append(o.Servers[0].Keys, stranger) },
			[]string{"served-key-unpublished"},
		},
		{
			"no provider", func(o *inspect.Observation) { o.Providers[0] = inspect.Provider{Account: "1"} },
			[]string{"provider-missing"},
		},
		{
			"no audience", func(o *inspect.Observation) { o.Providers[0].ClientIDs = nil },
			[]string{"provider-without-audience"},
		},
		{
			"kOps audience", func(o *inspect.Observation) { o.Providers[0].ClientIDs = []string{"amazonaws.com"} },
			[]string{"audience-unregistered"},
		},
		{"IAM denies", func(o *inspect.Observation) {
			o.Providers[0] = inspect.Provider{Account: "1", Err: "AccessDenied"}
		}, []string{"provider-unreadable"}},
		{"kid missing", rsaEntry(func(e map[string]any) { delete(e, "kid") }), []string{"kid-missing", "unserved-key"}},
		{"kid empty", rsaEntry(func(e map[string]any) { e["kid"] = "" }), []string{"unserved-key"}},
		{"kid of another key", rsaEntry(func(e map[string]any) { e["kid"] = "other" }), []string{"kid-differs", "unserved-key"}},
		{"kid that an external signer chose", func(o *inspect.Observation) {
			rsaEntry(func(e map[string]any) { e["kid"] = "other" })(o)
			o.Servers[0].Keys = append(o.Servers[0].Keys, token.PublicKey{ID: "other", Public: rsaPublic.Public})
		}, nil},
		{"another key under a kid that is in use", func(o *inspect.Observation) {
			rsaEntry(func(e map[string]any) { e["kid"] = "other" })(o)
			o.Servers[0].Keys = append(o.Servers[0].Keys, token.PublicKey{ID: "other", Public: key.Public()})
		}, []string{"kid-differs", "unserved-key"}},
		{"kid twice", func(o *inspect.Observation) {
			rsaEntry(func(e map[string]any) { e["kid"] = o.Servers[0].Signs })(o)
		}, []string{"kid-differs", "duplicate-kid", "unserved-key"}},
		{"use enc", rsaEntry(func(e map[string]any) { e["use"] = "enc" }), []string{"key-use", "unserved-key"}},
		{"key_ops", rsaEntry(func(e map[string]any) { e["key_ops"] = []string{"verify"} }), []string{"key-ops", "unserved-key"}},
		{"x5c", rsaEntry(func(e map[string]any) { e["x5c"] = []string{"AA"} }), []string{"key-x5c", "unserved-key"}},
		{"padding", rsaEntry(func(e map[string]any) { e["n"] = e["n"].(string) + "==" }), []string{"key-members", "unserved-key"}},
		{
			"standard base64", rsaEntry(func(e map[string]any) { e["n"] = "+/" + e["n"].(string) }),
			[]string{"key-members", "unserved-key"},
		},
		{"DER", rsaEntry(func(e map[string]any) { e["n"] = "MIIB" + e["n"].(string) }), []string{"key-members", "unserved-key"}},
		{"modulus missing", rsaEntry(func(e map[string]any) { delete(e, "n") }), []string{"key-members", "unserved-key"}},
		{"private key", rsaEntry(func(e map[string]any) { e["d"] = "AA" }), []string{"private-key", "unserved-key"}},
		{"symmetric", rsaEntry(func(e map[string]any) { e["kty"] = "oct" }), []string{"key-kind", "unserved-key"}},
		{"token expired", func(o *inspect.Observation) {
			o.Token = tokenOf(t, key, map[string]any{"exp": noon.Unix() - 301})
		}, []string{"token-expired", "token-key-unpublished"}},
		{"token of two audiences", func(o *inspect.Observation) {
			o.Token = tokenOf(t, key, map[string]any{"aud": []string{"sts.amazonaws.com", "api"}})
		}, []string{"token-audiences", "token-key-unpublished"}},
		{
			"legacy token", func(o *inspect.Observation) { o.Token = tokenOf(t, key, map[string]any{"exp": nil}) },
			[]string{"token-claim", "token-key-unpublished"},
		},
		{"token for another audience", func(o *inspect.Observation) {
			o.Token = tokenOf(t, key, map[string]any{"aud": "sts.amazon.com"})
		}, []string{"audience-unregistered", "token-key-unpublished"}},
	} {
		o, _ := sound(t)
		row.spoil(&o)
		findings := inspect.Inspect(o)
		if diff := cmp.Diff(row.want, rules(findings, finding.Error, finding.Warning)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
		for _, f := range findings {
			if f.Severity == finding.Error && f.Advice == "" {
				t.Errorf("%s: no fix for %+v", row.name, f)
			}
		}
	}
}

func TestInspectNamesNearMisses(t *testing.T) {
	t.Parallel()
	o, _ := sound(t)
	o.Providers = []inspect.Provider{{
		Account: "1",
		Near:    []string{"other.example", "keys.s3.eu-west-1.amazonaws.com/C1/"},
	}}
	findings := inspect.Inspect(o)
	if len(findings) != 1 || !strings.Contains(findings[0].Message, "https://keys.s3.eu-west-1.amazonaws.com/C1/") {
		t.Errorf("findings %+v", findings)
	}
}

// FuzzInspect: whatever is published, it is judged without a panic, and what
// has no error holds a key that can be used.
func FuzzInspect(f *testing.F) {
	o, _ := sound(f)
	f.Add(o.Discovery.Text, o.JWKS.Text)
	rsa, err := token.GenerateEC(elliptic.P521())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"issuer":1,"jwks_uri":"https://a"}`),
		[]byte(`{"keys":[{"kty":"EC","kid":"`+rsa.ID()+`","x":"AA","y":"","crv":"P-521"},null,{}]}`))
	f.Fuzz(func(t *testing.T, discovery, jwks []byte) {
		o := o
		o.Discovery.Text, o.JWKS.Text, o.Token = discovery, jwks, nil
		findings := inspect.Inspect(o)
		if keys, err := token.ReadJWKS(jwks); !finding.Failed(findings) && (err != nil || len(keys) == 0) {
			t.Errorf("nothing is wrong with\n%s\n%s\nbut no key is read: %v", discovery, jwks, err)
		}
	})
}

func TestMaxAge(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{
		"public, max-age=300": 300,
		"MAX-AGE=\"60\"":      60,
		"no-store":            -1,
		"max-age=-1":          -1,
		"max-age=x":           -1,
		"":                    -1,
	} {
		age, found := inspect.MaxAge(header)
		if found != (want >= 0) || (found && int(age.Seconds()) != want) {
			t.Errorf("%q: %s, %t", header, age, found)
		}
	}
}

// entryOf returns the one entry of a document, to be spoilt.
func entryOf(t testing.TB, d document.Documents) map[string]any {
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

func rules(findings []finding.Finding, least ...finding.Severity) []string {
	var names []string
	for _, f := range findings {
		if slices.Contains(least, f.Severity) {
			names = append(names, f.Rule)
		}
	}
	return names
}

// TestReadBack: only what was published, byte for byte, with a certificate that readers
// trust, counts as found.
func TestReadBack(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	_, other := newKey(t)
	d := documents(t, public)
	for _, row := range []struct {
		name  string
		spoil func(discovery, jwks *inspect.Fetched)
		want  string // of the document and of the kids; empty if they are found
		kids  bool
	}{
		{"as published", func(_, _ *inspect.Fetched) {}, "", true},
		{"with a line's end", func(_, j *inspect.Fetched) { j.Text = append(slices.Clone(j.Text), '\n') }, "", true},
		{
			"not found", func(_, j *inspect.Fetched) { *j = inspect.Fetched{} },
			"not found from the discovery document",
			false,
		},
		{"unreachable", func(_, j *inspect.Fetched) { j.Err = "refused" }, "refused", false},
		{
			"an untrusted certificate", func(_, j *inspect.Fetched) { j.Certificate.Err = "unknown authority" },
			"unknown authority", false,
		},
		{"not public", func(_, j *inspect.Fetched) { j.Status = 403 }, "status 403, want 200", false},
		{
			"an old copy of the keys", func(_, j *inspect.Fetched) { j.Text = documents(t, other).JWKS.Text },
			"not what was published", true,
		},
		{
			"another discovery document", func(d, _ *inspect.Fetched) { d.Text = []byte("{}") },
			"not what was published", true,
		},
	} {
		o, _ := sound(t)
		discovery, jwks := o.Discovery, o.JWKS
		discovery.Text, jwks.Text = d.Discovery.Text, d.JWKS.Text
		row.spoil(&discovery, &jwks)
		err := inspect.CheckReadBack(d, discovery, jwks)
		if (err != nil) != (row.want != "") || (err != nil && !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
		if kids, err := inspect.PublishedIDs(inspect.Fetched{}, jwks); (err == nil) != row.kids || (err == nil && len(kids) != 1) {
			t.Errorf("%s: kids %q, %v", row.name, kids, err)
		}
	}
	if kids, err := inspect.PublishedIDs(inspect.Fetched{},
		inspect.Fetched{Done: true, Status: 200, Text: []byte("<html>")}); err == nil {
		t.Errorf("HTML holds %q, and not %s", kids, key.ID())
	}
}
