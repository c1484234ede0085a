package localaws_test

import (
	"crypto"
	"crypto/elliptic"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/token"
)

// jwk is one entry of a JWKS.
func (w *world) jwk(key *token.Key) string {
	w.t.Helper()
	text, err := token.MarshalJWKS([]crypto.PublicKey{key.Public()})
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(text), `{"keys":[`), "]}")
}

func set(entries ...string) string { return `{"keys":[` + strings.Join(entries, ",") + `]}` }

// publishing edits K1's entry.
func publishing(old, with string) func(*world) {
	return func(w *world) {
		w.setJWKS(set(strings.Replace(w.jwk(w.key), strings.ReplaceAll(old, "KID", w.key.ID()), with, 1)), ok)
	}
}

func (w *world) k2() *token.Key {
	w.t.Helper()
	key, err := token.NewKey(w.otherRSA())
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// asK1 is another key's entry under K1's kid.
func (w *world) asK1() string { return strings.Replace(w.jwk(w.k2()), w.k2().ID(), w.key.ID(), 1) }

func (w *world) hundred() []string {
	many := make([]string, 101)
	for i := range many {
		many[i] = strings.Replace(w.jwk(w.key), w.key.ID(), fmt.Sprintf("k%d", i), 1)
	}
	return many
}

func (w *world) withoutKid() string {
	w.t.Helper()
	raw, err := token.SignWithoutKeyID(w.key, claims(nil))
	if err != nil {
		w.t.Fatal(err)
	}
	return raw.Reveal()
}

// withCurve publishes a key of a curve besides others, and signs with it.
func withCurve(curve elliptic.Curve, others func(*world) []string) func(*world) string {
	return func(w *world) string {
		w.t.Helper()
		key, err := token.GenerateEC(curve)
		if err != nil {
			w.t.Fatal(err)
		}
		w.setJWKS(set(append(others(w), w.jwk(key))...), ok)
		return w.token(key, nil)
	}
}

func onlyK1(w *world) []string { return []string{w.jwk(w.key)} }

func rsaWith(name string, hash crypto.Hash) func(*world) string {
	return func(w *world) string {
		return signedRSA(w, w.private, hash, `{"alg":"`+name+`","kid":"`+w.key.ID()+`"}`)
	}
}

func header(kid string) func(*world) string {
	return func(w *world) string { return signedRSA(w, w.private, crypto.SHA256, `{"alg":"RS256"`+kid+`}`) }
}

var keyRows = []stsRow{
	{
		row:     33,
		name:    "kid unknown",
		raw:     func(w *world) string { return w.token(w.k2(), nil) },
		status:  400,
		code:    iit,
		message: noKey,
	},
	{
		row:     33,
		name:    "kid empty, two keys",
		set:     twoKeys,
		raw:     header(`,"kid":""`),
		status:  400,
		code:    iit,
		message: noKey,
	},
	{row: 33, name: "kid a path", raw: header(`,"kid":"../../dev/null"`), status: 400, code: iit, message: noKey},
	{row: 33, name: "kid a number", raw: header(`,"kid":1`), status: 400, code: iit, message: notJWT},
	{
		row:     33,
		name:    "kid in other case",
		raw:     func(w *world) string { return header(`,"kid":"` + strings.ToUpper(w.key.ID()) + `"`)(w) },
		status:  400,
		code:    iit,
		message: noKey,
	},
	{row: 33, name: "a key in the header", raw: func(w *world) string {
		return signedRSA(
			w, w.otherRSA(), crypto.SHA256, `{"alg":"RS256","kid":"`+w.k2().ID()+`","jwk":`+w.jwk(w.k2())+`}`,
		)
	}, status: 400, code: iit, message: noKey},
	{row: 33, name: "the header's address of keys", raw: func(w *world) string {
		return signedRSA(
			w, w.otherRSA(), crypto.SHA256, `{"alg":"RS256","kid":"x","jku":"https://other.example/keys.json"}`,
		)
	}, status: 400, code: iit, message: noKey},
	{
		row:  33,
		name: "the kid of an EC key",
		set:  func(w *world) { w.setJWKS(set(w.jwk(w.key)), ok) },
		raw: func(w *world) string {
			ec, err := token.GenerateEC(elliptic.P256())
			if err != nil {
				w.t.Fatal(err)
			}
			w.setJWKS(set(w.jwk(w.key), w.jwk(ec)), ok)
			return signedRSA(w, w.private, crypto.SHA256, `{"alg":"RS256","kid":"`+ec.ID()+`"}`)
		},
		status:  400,
		code:    iit,
		message: generic,
	},
	{row: 34, name: "no kid, one key", raw: (*world).withoutKid, status: ok},
	{row: 35, name: "no kid, two keys", set: twoKeys, raw: (*world).withoutKid, status: 400, code: iit, message: noKey},
	{row: 36, name: "JWK without kid", set: publishing(`"kid":"KID",`, ""), status: 400, code: iit, message: noKey},
	{row: 37, name: "use enc", set: publishing(`"sig"`, `"enc"`), status: 400, code: iit, message: noKey},
	{
		row:     38,
		name:    "key_ops",
		set:     publishing(`{`, `{"key_ops":["verify"],`),
		status:  400,
		code:    iit,
		message: generic,
	},
	{row: 39, name: "alg RS512", set: publishing("RS256", "RS512"), status: ok},
	{row: 40, name: "wrong key first", set: func(w *world) { w.setJWKS(set(w.asK1(), w.jwk(w.key)), ok) }, status: ok},
	{
		row:     40,
		name:    "wrong key last",
		set:     func(w *world) { w.setJWKS(set(w.jwk(w.key), w.asK1()), ok) },
		status:  400,
		code:    iit,
		message: generic,
	},
	{
		row:     41,
		name:    "101 RSA keys",
		set:     func(w *world) { w.setJWKS(set(append(w.hundred(), w.jwk(w.key))...), ok) },
		status:  400,
		code:    iit,
		message: noKey,
	},
	{row: 42, name: "101 RSA keys and ES256", raw: withCurve(elliptic.P256(), (*world).hundred), status: ok},
	{row: 43, name: "issuer answers 404", set: issuerDown(404), status: 400, code: iit, message: noKey},
	{row: 43, name: "JWKS answers 503", set: issuerDown(503), status: 400, code: iit, message: noKey},
	{
		row:     43,
		name:    "JWKS in HTML",
		set:     func(w *world) { w.setJWKS("<html>", ok) },
		status:  400,
		code:    iit,
		message: noKey,
	},
	{
		row:     43,
		name:    "JWKS without keys",
		set:     func(w *world) { w.setJWKS(set(), ok) },
		status:  400,
		code:    iit,
		message: noKey,
	},
	{row: 43, name: "endless JWKS", set: serving(func(rw http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(rw, strings.Repeat(" ", 1<<16)); err != nil {
				return
			}
		}
	}), status: 400, code: iit, message: noKey},
	{name: "redirected once", set: func(w *world) {
		keys := w.jwks
		w.serveKeys = func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				http.Redirect(rw, r, "https://other.example/keys.json?again", http.StatusFound)
				return
			}
			_, _ = io.WriteString(rw, keys)
		}
	}, status: ok},
	{
		row:  43,
		name: "redirected forever",
		set: serving(func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, r.URL.Path, http.StatusFound)
		}),
		status:  400,
		code:    iit,
		message: noKey,
	},
	{row: 43, name: "redirected to http", set: serving(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://"+host+"/keys", http.StatusFound)
	}), status: 400, code: iit, message: noKey},
	{row: 43, name: "redirected to this machine", set: serving(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://127.0.0.1/jwks", http.StatusFound)
	}), status: 400, code: iit, message: noKey},
	{row: 43, name: "redirected to metadata", set: serving(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://169.254.169.254/keys", http.StatusFound)
	}), status: 400, code: iit, message: noKey},
	{row: 44, name: "ES256", raw: withCurve(elliptic.P256(), onlyK1), status: ok},
	{row: 44, name: "ES384", raw: withCurve(elliptic.P384(), onlyK1), status: ok},
	{row: 44, name: "ES512", raw: withCurve(elliptic.P521(), onlyK1), status: ok},
	{row: 44, name: "RS384", raw: rsaWith("RS384", crypto.SHA384), status: ok},
	{row: 44, name: "RS512", raw: rsaWith("RS512", crypto.SHA512), status: ok},
}

func twoKeys(w *world) { w.setJWKS(set(w.jwk(w.k2()), w.jwk(w.key)), ok) }

var rotationRows = []stsRow{
	{row: 104, name: "both are published, the old one goes", ask: func(w *world) answer {
		twoKeys(w)
		w.expect("K2", w.assume(w.token(w.k2(), nil), nil), ok, "", "")
		w.expect("K1", w.assume(w.token(w.key, nil), nil), ok, "", "")
		w.setJWKS(set(w.jwk(w.k2())), ok)
		return w.assume(w.token(w.key, nil), nil)
	}, status: 400, code: iit, message: noKey},
	{row: 105, name: "two issuers", ask: func(w *world) answer {
		w.iam(
			"CreateOpenIDConnectProvider", "Url", "https://other.example", "ClientIDList.member.1", "sts.amazonaws.com",
		)
		statement := func(provider, issuer string) string {
			return `{"Effect":"Allow","Principal":{"Federated":"` + provider +
				`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` + issuer + `:sub":"` +
				subject + `"}}}`
		}
		w.setTrust(
			`{"Version":"2012-10-17","Statement":[` + statement(provider, issuerID) + "," +
				statement("arn:aws:iam::111122223333:oidc-provider/other.example", "other.example") + "]}",
		)
		w.expect("the old issuer", w.assume(w.token(w.key, nil), nil), ok, "", "")
		return w.assume(w.token(w.key, edit{"iss": "https://other.example"}), nil)
	}, status: ok, has: []string{"oidc-provider/other.example</Provider>"}},
}

// TestSlowIssuer is the timeout of spec issuer-and-sts §17 row 43: an error that clients try again.
func TestSlowIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *localaws.Config) { c.Issuers.Timeout = 300 * time.Millisecond })
	w.serveKeys = func(rw http.ResponseWriter, r *http.Request) {
		for range 100 { // a byte now and then does not help
			select {
			case <-r.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
				_, _ = io.WriteString(rw, " ")
				_ = http.NewResponseController(rw).Flush()
			}
		}
	}
	w.expect(
		"043 slow", w.assume(w.token(w.key, nil), nil), 400, "IDPCommunicationError",
		"There was an error communicating with the identity provider",
	)
}

// TestIssuerDown is the host of spec issuer-and-sts §17 row 43 that nobody listens on.
func TestIssuerDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *localaws.Config) { c.Issuers.Endpoints[host] = "127.0.0.1:1" })
	w.expect("043 down", w.assume(w.token(w.key, nil), nil), 400, iit, noKey)
}

// TestKeysAreCached as long as their issuer says; a key that is not known is
// looked for again, at most every ten seconds (spec issuer-and-sts §10.6).
func TestKeysAreCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.caching = "max-age=600"
	k1, k2 := w.token(w.key, nil), w.token(w.k2(), nil)
	for _, step := range []struct {
		name    string
		after   time.Duration
		raw     string
		status  int
		fetches int
	}{
		{"the first call", 0, k1, 200, 1},
		{"again", time.Second, k1, 200, 1},
		{"an unknown key at once", time.Second, k2, 400, 1},
		{"an unknown key later", 10 * time.Second, k2, 400, 2},
		{"and at once again", time.Second, k2, 400, 2},
		{"known keys meanwhile", time.Second, k1, 200, 2},
		{"when it is stale", 600 * time.Second, k1, 200, 3},
	} {
		w.advance(step.after)
		got := w.assume(step.raw, nil)
		w.mu.Lock()
		fetches := w.fetches
		w.mu.Unlock()
		if got.status != step.status || fetches != step.fetches {
			t.Errorf(
				"%s: %d after %d fetches, want %d after %d", step.name, got.status, fetches, step.status, step.fetches,
			)
		}
	}
}

// TestLegacyWords: what AWS said before the middle of 2026. Codes and status do
// not change.
func TestLegacyWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *localaws.Config) { c.STSErrors = sts.LegacyErrors })
	for _, row := range []struct {
		name    string
		raw     string
		more    more
		code    string
		message string
	}{
		{"27 audience", w.token(w.key, edit{"aud": "other"}), nil, iit, "Incorrect token audience"},
		{
			name:    "28 provider",
			raw:     w.token(w.key, edit{"iss": "https://other.example"}),
			code:    iit,
			message: "No OpenIDConnect provider found in your account for https://other.example",
		},
		{
			name:    "29 account",
			raw:     w.token(w.key, nil),
			more:    more{"RoleArn": "arn:aws:iam::444455556666:role/R"},
			code:    iit,
			message: "No OpenIDConnect provider found in your account for " + issuerURL,
		},
		{
			name:    "31 signature",
			raw:     signedRSA(w, w.otherRSA(), crypto.SHA256, `{"alg":"RS256","kid":"`+w.key.ID()+`"}`),
			code:    iit,
			message: "Token signature invalid",
		},
		{
			name: "46 expired",
			raw:  w.token(w.key, edit{"exp": at(-301 * time.Second)}),
			code: "ExpiredTokenException",
			message: fmt.Sprintf(
				"Token expired: current date/time %d must be before the expiration date/time%d", at(-300*time.Second),
				at(-301*time.Second),
			),
		},
		{"33 as ever", w.token(w.k2(), nil), nil, iit, noKey},
	} {
		w.expect(row.name, w.assume(row.raw, row.more), 400, row.code, row.message)
	}
}
