package token_test

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
)

var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func goodClaims() *token.Claims {
	return &token.Claims{
		Issuer:    "https://issuer.example",
		Subject:   token.ServiceAccountSubject("app", "api"),
		Audiences: []string{"sts.amazonaws.com"},
		IssuedAt:  now, NotBefore: now, Expiry: now.Add(time.Hour), ID: "5c9b9a3e-0000-4000-8000-000000000000",
		Workload: token.Workload{
			Namespace:      "app",
			Pod:            &token.Reference{Name: "api-0", UID: "u1"},
			Node:           &token.Reference{Name: "n1", UID: "u2"},
			ServiceAccount: token.Reference{Name: "api", UID: "u3"},
		},
	}
}

func verifierFor(t testing.TB, key *token.Key) *token.Verifier {
	t.Helper()
	set, err := token.NewKeySet(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &token.Verifier{
		Issuer:    "https://issuer.example",
		Audiences: []string{"sts.amazonaws.com"},
		Keys:      set,
		Leeway:    token.DefaultLeeway,
	}
}

func TestMintAndVerify(t *testing.T) {
	t.Parallel()
	for _, key := range []*token.Key{
		newRSA(t),
		newEC(t, elliptic.P256()),
		newEC(t, elliptic.P384()),
		newEC(t, elliptic.P521()),
	} {
		raw, err := token.Mint(key, goodClaims())
		if err != nil {
			t.Fatal(err)
		}
		got, err := verifierFor(t, key).Verify(raw, now.Add(time.Minute))
		if err != nil {
			t.Fatalf("%s: %v", key.Algorithm(), err)
		}
		if diff := cmp.Diff(goodClaims(), got); diff != "" {
			t.Errorf("%s: claims (-want +got):\n%s", key.Algorithm(), diff)
		}
		header, _, _ := strings.Cut(raw.Reveal(), ".")
		text, _ := base64.RawURLEncoding.DecodeString(header)
		if want := `{"alg":"` + key.Algorithm() + `","kid":"` + key.ID() + `"}`; string(text) != want {
			t.Errorf("header = %s, want %s", text, want)
		}
	}
}

func TestMintRefuses(t *testing.T) {
	t.Parallel()
	key := newEC(t, elliptic.P256())
	for name, spoil := range map[string]func(*token.Claims){
		"no issuer":   func(c *token.Claims) { c.Issuer = "" },
		"no subject":  func(c *token.Claims) { c.Subject = "" },
		"no audience": func(c *token.Claims) { c.Audiences = nil },
		"no lifetime": func(c *token.Claims) { c.Expiry = c.IssuedAt },
		"no times":    func(c *token.Claims) { c.IssuedAt, c.NotBefore = time.Time{}, time.Time{} },
	} {
		claims := goodClaims()
		spoil(claims)
		if _, err := token.Mint(key, claims); err == nil {
			t.Errorf("%s: minted", name)
		}
	}
}

// TestVerifyRefuses lists hostile and unlucky tokens.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	key, other := newRSA(t), newRSA(t)
	ecKey := newEC(t, elliptic.P256())
	good := mint(t, key, goodClaims())
	header, payload, signature := split(good)

	for _, row := range []struct {
		name string
		raw  string
		at   time.Time // zero: now
		want error
	}{
		{"empty", "", time.Time{}, token.ErrMalformed},
		{"not a token", "not.a.token", time.Time{}, token.ErrMalformed},
		{"two parts", header + "." + payload, time.Time{}, token.ErrMalformed},
		{"four parts", good + ".x", time.Time{}, token.ErrMalformed},
		{"line end at the end", good + "\n", time.Time{}, token.ErrMalformed},
		{"line end inside", header + ".\n" + payload + "." + signature, time.Time{}, token.ErrMalformed},
		{"padded", header + "=." + payload + "." + signature, time.Time{}, token.ErrMalformed},
		{"too long", good + strings.Repeat("A", token.MaxSize), time.Time{}, token.ErrMalformed},
		{"payload null", reheader(t, `{"alg":"RS256","kid":"x"}`, "null", ""), time.Time{}, token.ErrMalformed},
		{"payload list", reheader(t, `{"alg":"RS256","kid":"x"}`, "[]", ""), time.Time{}, token.ErrMalformed},
		{"header null", reheader(t, `null`, "{}", ""), time.Time{}, token.ErrMalformed},
		{"no alg", reheader(t, `{"kid":"x"}`, "{}", ""), time.Time{}, token.ErrMalformed},
		{"kid a number", reheader(t, `{"alg":"RS256","kid":1}`, "{}", ""), time.Time{}, token.ErrMalformed},

		{"alg none", forge(t, key, `"none"`, payload, ""), time.Time{}, token.ErrSignature},
		{
			name: "alg None with the old signature",
			raw:  forge(t, key, `"None"`, payload, signature),
			want: token.ErrSignature,
		},
		{"alg HS256 with the public key as secret", hmacToken(t, key, payload), time.Time{}, token.ErrSignature},
		{"alg PS256", forge(t, key, `"PS256"`, payload, signature), time.Time{}, token.ErrSignature},
		{"alg ES256 for an RSA key", forge(t, key, `"ES256"`, payload, signature), time.Time{}, token.ErrSignature},
		{
			name: "alg RS512 for a key published as RS256",
			raw:  forge(t, key, `"RS512"`, payload, signature),
			want: token.ErrSignature,
		},
		{
			name: "crit header",
			raw:  reheader(t, `{"alg":"RS256","kid":"`+key.ID()+`","crit":["x"],"x":1}`, decode(t, payload), signature),
			want: token.ErrSignature,
		},
		{"no signature", header + "." + payload + ".", time.Time{}, token.ErrSignature},
		{
			name: "payload changed",
			raw: header + "." + encode(strings.Replace(decode(t, payload), "app:api", "kube-system:x",
				1)) + "." + signature,
			want: token.ErrSignature,
		},

		{"signed by another key", mint(t, other, goodClaims()), time.Time{}, token.ErrUnknownKey},
		{"another key under the known kid", forgeKid(t, other, key.ID(), payload), time.Time{}, token.ErrSignature},
		{"EC key under the known kid", forgeKid(t, ecKey, key.ID(), payload), time.Time{}, token.ErrSignature},
		{"no kid", reheader(t, `{"alg":"RS256"}`, decode(t, payload), signature), time.Time{}, token.ErrUnknownKey},
		{
			name: "empty kid",
			raw:  reheader(t, `{"alg":"RS256","kid":""}`, decode(t, payload), signature),
			want: token.ErrUnknownKey,
		},

		{
			name: "issuer with a slash more",
			raw:  change(t, key, func(c *token.Claims) { c.Issuer += "/" }),
			want: token.ErrIssuer,
		},
		{
			name: "issuer in other case",
			raw:  change(t, key, func(c *token.Claims) { c.Issuer = "https://Issuer.example" }),
			want: token.ErrIssuer,
		},
		{
			name: "audience of somebody else",
			raw:  change(t, key, func(c *token.Claims) { c.Audiences = []string{"sts.amazonaws.com.evil"} }),
			want: token.ErrAudience,
		},
		{"expired", good, now.Add(time.Hour + token.DefaultLeeway), token.ErrExpired},
		{"before its time", good, now.Add(-token.DefaultLeeway - time.Second), token.ErrNotYet},
		{
			name: "no exp",
			raw:  signRaw(t, key, `{"iss":"https://issuer.example","aud":"sts.amazonaws.com","iat":1,"sub":"x"}`),
			want: token.ErrMalformed,
		},
		{
			name: "exp a text",
			raw: signRaw(t, key,
				`{"iss":"https://issuer.example","aud":"sts.amazonaws.com","iat":1,"exp":"9999999999","sub":"x"}`),
			want: token.ErrMalformed,
		},
		{
			name: "claims in capitals",
			raw: signRaw(t, key,
				`{"ISS":"https://issuer.example","aud":"sts.amazonaws.com","iat":1,"exp":9999999999,"sub":"x"}`),
			want: token.ErrIssuer,
		},
	} {
		at := row.at
		if at.IsZero() {
			at = now
		}
		claims, err := verifierFor(t, key).Verify(credential.NewSecret(row.raw), at)
		if !errors.Is(err, row.want) || claims != nil {
			t.Errorf("%s: claims %v, error %v; want %v", row.name, claims, err, row.want)
		}
		if err != nil && row.raw != "" && strings.Contains(err.Error(), signature[:20]) {
			t.Errorf("%s: the error shows the token: %v", row.name, err)
		}
	}
}

func TestVerifyAtTheEdges(t *testing.T) {
	t.Parallel()
	key := newEC(t, elliptic.P256())
	raw := credential.NewSecret(mint(t, key, goodClaims()))
	for _, at := range []time.Time{
		now.Add(-token.DefaultLeeway),
		now,
		now.Add(time.Hour + token.DefaultLeeway - time.Second),
	} {
		if _, err := verifierFor(t, key).Verify(raw, at); err != nil {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

func TestLastOfRepeatedClaimsCounts(t *testing.T) {
	t.Parallel()
	decoded, err := token.Decode(signRaw(t, newEC(t, elliptic.P256()), `{"sub":"a","sub":"b"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(decoded.Claims["sub"]); got != `"b"` {
		t.Errorf("sub = %s", got)
	}
}

func TestServiceAccountSubject(t *testing.T) {
	t.Parallel()
	if ns, name, ok := token.ParseServiceAccountSubject(token.ServiceAccountSubject("a", "b")); !ok || ns != "a" ||
		name != "b" {
		t.Errorf("got %q %q %v", ns, name, ok)
	}
	for _, subject := range []string{
		"", "system:serviceaccount:", "system:serviceaccount:a", "system:serviceaccount:a:",
		"system:serviceaccount::b", "system:serviceaccount:a:b:c", "system:node:a",
	} {
		if _, _, ok := token.ParseServiceAccountSubject(subject); ok {
			t.Errorf("%q passes for a service account", subject)
		}
	}
}

func FuzzDecode(f *testing.F) {
	key := newEC(f, elliptic.P256())
	raw, err := token.Mint(key, goodClaims())
	if err != nil {
		f.Fatal(err)
	}
	verifier := verifierFor(f, key)
	f.Add(raw.Reveal())
	f.Add("e30.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := token.Decode(text); err != nil && !errors.Is(err, token.ErrMalformed) {
			t.Errorf("Decode(%q) = %v", text, err)
		}
		claims, err := verifier.Verify(credential.NewSecret(text), now)
		if err == nil && claims.Subject != goodClaims().Subject {
			t.Errorf("a forged token is accepted: %q", text)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, key := range []*token.Key{newRSA(b), newEC(b, elliptic.P256())} {
		raw, err := token.Mint(key, goodClaims())
		if err != nil {
			b.Fatal(err)
		}
		verifier := verifierFor(b, key)
		b.Run(key.Algorithm(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verifier.Verify(raw, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func mint(t testing.TB, key *token.Key, claims *token.Claims) string {
	t.Helper()
	raw, err := token.Mint(key, claims)
	if err != nil {
		t.Fatal(err)
	}
	return raw.Reveal()
}

func change(t testing.TB, key *token.Key, spoil func(*token.Claims)) string {
	claims := goodClaims()
	spoil(claims)
	return mint(t, key, claims)
}

func signRaw(t testing.TB, key *token.Key, payload string) string {
	t.Helper()
	raw, err := token.Sign(key, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return raw.Reveal()
}

func split(raw string) (header, payload, signature string) {
	parts := strings.Split(raw, ".")
	return parts[0], parts[1], parts[2]
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(t testing.TB, part string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// reheader puts a token together from plain texts and an encoded signature.
func reheader(t testing.TB, header, payload, signature string) string {
	t.Helper()
	return encode(header) + "." + encode(payload) + "." + signature
}

// forge names a JSON alg for the key's kid.
func forge(t testing.TB, key *token.Key, alg, payload, signature string) string {
	t.Helper()
	return encode(`{"alg":`+alg+`,"kid":"`+key.ID()+`"}`) + "." + payload + "." + signature
}

// forgeKid signs properly, but under somebody else's key id.
func forgeKid(t testing.TB, key *token.Key, kid, payload string) string {
	t.Helper()
	text, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(key.Algorithm()), Key: jose.JSONWebKey{Key: private, KeyID: kid},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(decode(t, payload)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func hmacToken(t testing.TB, key *token.Key, payload string) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	signed := encode(`{"alg":"HS256","kid":"`+key.ID()+`"}`) + "." + payload
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TestECDSASignatureForm: r and s, each of the curve's length, and nothing else;
// zeros verify nothing.
func TestECDSASignatureForm(t *testing.T) {
	t.Parallel()
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key := newEC(t, curve)
		header, payload, signature := split(mint(t, key, goodClaims()))
		raw, err := base64.RawURLEncoding.DecodeString(signature)
		if err != nil {
			t.Fatal(err)
		}
		for name, row := range map[string]struct {
			signature []byte
			want      error
		}{
			"good":         {raw, nil},
			"a byte more":  {append(slices.Clone(raw), 0), token.ErrSignature},
			"a byte less":  {raw[:len(raw)-1], token.ErrSignature},
			"zeros":        {make([]byte, len(raw)), token.ErrSignature},
			"s and then r": {append(slices.Clone(raw[len(raw)/2:]), raw[:len(raw)/2]...), token.ErrSignature},
			"empty":        {nil, token.ErrSignature},
		} {
			decoded, err := token.Decode(header + "." + payload + "." +
				base64.RawURLEncoding.EncodeToString(row.signature))
			if err != nil {
				t.Fatal(err)
			}
			if err := decoded.VerifySignature(key.Public()); !errors.Is(err, row.want) {
				t.Errorf("%s, %s: %v, want %v", key.Algorithm(), name, err, row.want)
			}
		}
	}
}
