package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/token"
)

// goldenRSA is the key of spec issuer-and-sts §18.
const goldenRSA = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA249XwEo9k4tM8fMxV7zx
OhcrP+WvXn917koM5Qr2ZXs4vo26e4ytdlrV0bQ9SlcLpQVSYjIxNfhTZdDt+ecI
zshKuv1gKIxbbLQMOuK1eA/4HALyEkFgmS/tleLJrhc65tKPMGD+pKQ/xhmzRuCG
51RoiMgbQxaCyYxGfNLpLAZK9L0Tctv9a0mJmGIYnIOQM4kC1A1I1n3EsXMWmeJU
j7OTh/AjjCnMnkgvKT2tpKxYQ59PgDgU8Ssc7RDSmSkLxnrv+OrN80j6xrw0OjEi
B4Ycr0PqfzZcvy8efTtFQ/Jnc4Bp1zUtFXt7+QeevePtQ2EcyELXE0i63T1CujRM
WwIDAQAB
-----END PUBLIC KEY-----
`

func TestKeyIDGolden(t *testing.T) {
	t.Parallel()
	keys, err := token.ParsePublicKeys([]byte(goldenRSA))
	if err != nil {
		t.Fatal(err)
	}
	id, err := token.KeyID(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := "JHJehTTTZlsspKHT-GaJxK7Kd1NQgZJu3fyK6K_QDYU"; id != want {
		t.Errorf("kid = %q, want %q", id, want)
	}
	document, err := token.MarshalJWKS(keys)
	if err != nil {
		t.Fatal(err)
	}
	entry := soleEntry(t, document)
	if len(entry["n"]) != 342 || entry["e"] != "AQAB" || entry["alg"] != "RS256" || entry["use"] != "sig" ||
		entry["kid"] != id {
		t.Errorf("JWK = %v", entry)
	}
}

func TestECKeysGolden(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		curve                elliptic.Curve
		alg, kid, x, yPrefix string
	}{
		{
			curve:   elliptic.P256(),
			alg:     "ES256",
			kid:     "3AzmM9vMkT2vr6S4msRNjOaD_fw_YMi98hITufK1NLo",
			x:       "fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg",
			yPrefix: "B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E",
		},
		{
			curve:   elliptic.P384(),
			alg:     "ES384",
			kid:     "4EyqtSXP84CU3JlLKOiHO4H8XI0fTOiUE_-PsxZw-oI",
			x:       "CNmZBXuj0tlpJgBFxVuX8IkCWVmm9DTWUdIH0Z-5bp5P4Ohuvg5k-FuWqcdSld9h",
			yPrefix: "joDx-lsbPO23v-jf",
		},
		{
			curve:   elliptic.P521(),
			alg:     "ES512",
			kid:     "zQhCJ5mCunt9SZoiswNAA0G1Dw5STrSoszeRZahGbL0",
			x:       "AEM8IZAkJ35-aC_LKIFIwoJ0dAMnmxzMBjUsblUF12m-l7OyBNpu9VUHqhBKOjXFr0HPL6Nk1g_ZZ_Q-OTO6bXg9",
			yPrefix: "APS7jMf4bbJnAKfz",
		},
	} {
		width := (row.curve.Params().BitSize + 7) / 8
		scalar := make([]byte, width)
		scalar[width-1] = 2
		private, err := ecdsa.ParseRawPrivateKey(row.curve, scalar)
		if err != nil {
			t.Fatal(err)
		}
		document, err := token.MarshalJWKS([]crypto.PublicKey{&private.PublicKey})
		if err != nil {
			t.Fatal(err)
		}
		entry := soleEntry(t, document)
		if entry["kid"] != row.kid || entry["alg"] != row.alg || entry["x"] != row.x ||
			!strings.HasPrefix(entry["y"], row.yPrefix) {
			t.Errorf("%s: JWK = %v", row.alg, entry)
		}
	}
}

func TestPrivateKeyRoundTrip(t *testing.T) {
	t.Parallel()
	for _, key := range []*token.Key{newEC(t, elliptic.P256()), newEC(t, elliptic.P521()), newRSA(t)} {
		text, err := key.PEM()
		if err != nil {
			t.Fatal(err)
		}
		again, err := token.ParsePrivateKey(text)
		if err != nil {
			t.Fatal(err)
		}
		if again.ID() != key.ID() {
			t.Errorf("id after a round trip = %q, want %q", again.ID(), key.ID())
		}
		if shown := fmt.Sprintf("%v %+v %#v %s %d", key, key, key, key, key); strings.Count(shown, key.ID()) != 5 ||
			len(shown) > 260 {
			t.Errorf("key shows as %q", shown)
		}
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.NewKey(small); err == nil {
		t.Error("an RSA key of 1024 bits is accepted")
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.NewKey(p224); err == nil {
		t.Error("a P-224 key is accepted")
	}
	if _, err := token.MarshalJWKS(nil); err == nil {
		t.Error("an empty key set is published")
	}
	for name, text := range map[string]string{
		"empty":  "",
		"public": goldenRSA,
		"broken": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if _, err := token.ParsePrivateKey([]byte(text)); err == nil {
			t.Errorf("%s PEM passes for a private key", name)
		}
	}
}

func TestParseJWKS(t *testing.T) {
	t.Parallel()
	good := publicEntry(t, newEC(t, elliptic.P256()))
	for _, row := range []struct {
		name, document string
		wantLen        int
		wantErr        string
	}{
		{"one key", `{"keys":[` + good + `]}`, 1, ""},
		{"no keys", `{"keys":[]}`, 0, ""},
		{"use enc is left out", `{"keys":[` + strings.Replace(good, `"sig"`, `"enc"`, 1) + `]}`, 0, ""},
		{"empty kid is left out", `{"keys":[` + replaceMember(t, good, "kid", "") + `]}`, 0, ""},
		{"other key types are left out", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"k"}]}`, 0, ""},
		{"private member", `{"keys":[` + replaceMember(t, good, "d", "AAAA") + `]}`, 0, `private member "d"`},
		{"symmetric key", `{"keys":[{"kty":"oct","k":"AAAA","kid":"k"}]}`, 0, `private member "k"`},
		{"same kid twice", `{"keys":[` + good + `,` + good + `]}`, 0, "a second key"},
		{
			name:     "point off the curve",
			document: `{"keys":[` + replaceMember(t, good, "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE") + `]}`,
			wantErr:  "keys[0]",
		},
		{"no JSON", `x`, 0, "parse JWKS"},
	} {
		set, err := token.ParseJWKS([]byte(row.document))
		if row.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), row.wantErr) {
				t.Errorf("%s: error = %v, want %q in it", row.name, err, row.wantErr)
			}
			continue
		}
		if err != nil || set.Len() != row.wantLen {
			t.Errorf("%s: %v keys, error %v; want %d", row.name, set, err, row.wantLen)
		}
	}
}

func TestCheckIssuer(t *testing.T) {
	t.Parallel()
	for issuer, ok := range map[string]bool{
		"https://oidc.eks.us-east-1.amazonaws.com/id/A1": true,
		"https://h:443/p":                       true,
		"https://h/":                            true,
		"http://h":                              false,
		"https://":                              false,
		"https://h:8443":                        false,
		"https://u@h":                           false,
		"https://h?a=b":                         false,
		"https://h/#x":                          false,
		"https://h/a b":                         false,
		"https://h/\u00e9":                      false,
		"h":                                     false,
		"https://h/" + strings.Repeat("a", 246): false,
	} {
		if err := token.CheckIssuer(issuer); (err == nil) != ok {
			t.Errorf("CheckIssuer(%q) = %v, want ok = %v", issuer, err, ok)
		}
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	a, b := newEC(t, elliptic.P256()), newRSA(t)
	document, err := token.Discovery("https://h/p", "https://h/p/keys.json", []crypto.PublicKey{
		a.Public(),
		b.Public(),
		a.Public(),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"issuer":"https://h/p","jwks_uri":"https://h/p/keys.json",` +
		`"authorization_endpoint":"urn:kubernetes:programmatic_authorization",` +
		`"response_types_supported":["id_token"],` +
		`"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256","RS256"],` +
		`"claims_supported":["sub","iss","aud","iat","exp"]}`
	if diff := cmp.Diff(want, string(document)); diff != "" {
		t.Errorf("discovery document (-want +got):\n%s", diff)
	}
}

func FuzzParseJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"fPJ7GI0DT36KUjgDBLUaw8CJaeJ38hs1pgtI_EdmmXg",` +
		`"y":"B3dVENuO0EApPZrGn3Qw27p9reY86YIpngS3nSJ4c9E","kid":"a","use":"sig"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB","kid":"a"}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		set, err := token.ParseJWKS(document)
		if (set == nil) == (err == nil) {
			t.Errorf("ParseJWKS = %v, %v", set, err)
		}
	})
}

func soleEntry(t *testing.T, document []byte) map[string]string {
	t.Helper()
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(document, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 {
		t.Fatalf("%d keys, want 1", len(set.Keys))
	}
	return set.Keys[0]
}

func publicEntry(t *testing.T, key *token.Key) string {
	t.Helper()
	document, err := token.MarshalJWKS([]crypto.PublicKey{key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(document), `{"keys":[`), `]}`)
}

func replaceMember(t *testing.T, entry, name, value string) string {
	t.Helper()
	var members map[string]string
	if err := json.Unmarshal([]byte(entry), &members); err != nil {
		t.Fatal(err)
	}
	members[name] = value
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func newEC(t testing.TB, curve elliptic.Curve) *token.Key {
	t.Helper()
	key, err := token.GenerateEC(curve)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSA(t testing.TB) *token.Key {
	t.Helper()
	key, err := token.GenerateRSA(token.MinRSABits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
