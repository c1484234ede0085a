package document_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/issuer/document"
)

// TestLosses: whatever of documents that lie there ours do not say is named, and nothing
// else is.
func TestLosses(t *testing.T) {
	t.Parallel()
	_, key := newKey(t)
	ours := documents(t, key)
	change := func(object document.Object, change func(map[string]any)) document.Object {
		var members map[string]any
		if err := json.Unmarshal(object.Text, &members); err != nil {
			t.Fatal(err)
		}
		change(members)
		text, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		object.Text = text
		return object
	}
	set := func(name string, value any) func(map[string]any) {
		return func(members map[string]any) { members[name] = value }
	}
	entry := func(name string, value any) func(map[string]any) {
		return func(members map[string]any) { members["keys"].([]any)[0].(map[string]any)[name] = value }
	}
	for _, row := range []struct {
		name            string
		discovery, jwks func(map[string]any)
		want            []string
	}{
		{"ours", nil, nil, nil},
		{"a member", set("scopes_supported", []string{"openid"}), nil, []string{`member "scopes_supported" of the discovery document`}},
		{"less", func(m map[string]any) { delete(m, "claims_supported") }, nil, nil},
		{"fewer claims", set("claims_supported", []string{"sub", "iss"}), nil, nil},
		{"another claim", set("claims_supported", []string{"sub", "email"}), nil, []string{`"email" in claims_supported of the discovery document`}},
		{"another algorithm", set("id_token_signing_alg_values_supported", []string{"RS256"}), nil, nil},
		{
			"keys elsewhere", set("jwks_uri", "https://a"), nil,
			[]string{`jwks_uri of the discovery document, which is "https://a" and becomes "` + issuer + `/openid/v1/jwks"`},
		},
		{
			"an endpoint", set("authorization_endpoint", "https://a"), nil,
			[]string{`authorization_endpoint of the discovery document, which is "https://a" and becomes "urn:kubernetes:programmatic_authorization"`},
		},
		{"a member of the set", nil, set("note", "x"), []string{`member "note" of the key set`}},
		{"a member of a key", nil, entry("x5t", "x"), []string{`member "x5t" of key "` + key.ID + `"`}},
		{"an empty kid", nil, func(m map[string]any) {
			m["keys"] = append(m["keys"].([]any), map[string]any{"kid": "", "kty": "RSA"})
		}, []string{"the entries with an empty kid"}},
	} {
		there := stored(ours)
		if row.discovery != nil {
			there.Discovery = change(there.Discovery, row.discovery)
		}
		if row.jwks != nil {
			there.JWKS = change(there.JWKS, row.jwks)
		}
		if diff := cmp.Diff(row.want, document.Losses(ours, there)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
	if lost := document.Losses(ours, document.Stored{}); lost != nil {
		t.Errorf("of nothing: %q", lost)
	}
}

// TestLook: the keys are kept where a document of the same issuer has them, if an issuer can
// name the place.
func TestLook(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		issuer + "/keys.json":                 "keys.json",
		issuer + "/a/b.json":                  "a/b.json",
		issuer + "2/keys.json":                "",
		issuer + "/../keys.json":              "",
		issuer + "/../keys.json?x":            "",
		issuer + "/" + document.DiscoveryPath: "",
		"https://else.example/keys.json":      "",
		"":                                    "",
	} {
		text, err := json.Marshal(map[string]string{"issuer": issuer, "jwks_uri": uri})
		if err != nil {
			t.Fatal(err)
		}
		got := document.Look(issuer, document.Object{Version: "v", Text: text})
		if got.JWKSPath != want || got.JWKSURI != uri {
			t.Errorf("%s: %+v, want %q", uri, got, want)
		}
		other := []byte(strings.Replace(string(text), issuer, "https://other.example", 1))
		if got := document.Look(issuer, document.Object{Version: "v", Text: other}); got != (document.Found{}) {
			t.Errorf("another issuer's is kept: %+v", got)
		}
	}
}

// FuzzLosses: whatever lies there is compared without a panic, and what is as ours loses
// nothing.
func FuzzLosses(f *testing.F) {
	_, key := newKey(f)
	ours := documents(f, key)
	f.Add(ours.Discovery.Text, ours.JWKS.Text)
	f.Add([]byte(`{"issuer":1,"keys":{}}`), []byte(`{"keys":[null,{"kid":""},{"kid":3}],"a":null}`))
	f.Fuzz(func(t *testing.T, discovery, jwks []byte) {
		there := stored(ours)
		there.Discovery.Text, there.JWKS.Text = discovery, jwks
		lost := document.Losses(ours, there)
		same := string(discovery) == string(ours.Discovery.Text) && string(jwks) == string(ours.JWKS.Text)
		if same && len(lost) > 0 {
			t.Errorf("our own documents lose %q", lost)
		}
		document.Look(issuer, there.Discovery)
		document.Removed(jwks, ours.Keys)
	})
}
