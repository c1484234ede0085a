package server_test

import (
	"crypto"
	"crypto/elliptic"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/token"
)

const issuerURL = "https://issuer.example/id/A1"

var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func TestDocuments(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	documents, err := server.NewDocuments(issuerURL, []crypto.PublicKey{key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		method, path string
		wantStatus   int
		wantType     string
		wantBody     string // contained
	}{
		{
			"GET", "/id/A1/.well-known/openid-configuration", 200, "application/json",
			`"jwks_uri":"https://issuer.example/id/A1/openid/v1/jwks"`,
		},
		{"GET", "/id/A1/openid/v1/jwks", 200, "application/jwk-set+json", key.ID()},
		{"HEAD", "/id/A1/openid/v1/jwks", 200, "application/jwk-set+json", ""},
		{"GET", "/.well-known/openid-configuration", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/id/A1/", 404, "text/plain; charset=utf-8", ""},
		{"POST", "/id/A1/openid/v1/jwks", 405, "text/plain; charset=utf-8", ""},
	} {
		recorder := httptest.NewRecorder()
		documents.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), row.method, row.path, nil))
		if recorder.Code != row.wantStatus || recorder.Header().Get("Content-Type") != row.wantType ||
			!strings.Contains(recorder.Body.String(), row.wantBody) {
			t.Errorf("%s %s: %d %q %s", row.method, row.path, recorder.Code, recorder.Header().Get("Content-Type"),
				recorder.Body)
		}
	}
}

func TestDocumentsRefuseBadIssuers(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"http://h", "https://h:8443", "https://h?q", ""} {
		if _, err := server.NewDocuments(bad, []crypto.PublicKey{newKey(t).Public()}); err == nil {
			t.Errorf("issuer %q is accepted", bad)
		}
	}
	if _, err := server.NewDocuments(issuerURL, nil); err == nil {
		t.Error("an issuer without keys is accepted")
	}
}

func TestTokenRequest(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	bearer := server.NewBearer()
	tokens := newTokens(key, bearer)
	response := ask(t, tokens, bearer.Reveal(), "app/serviceaccounts/api", `{
		"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest",
		"spec":{
			"audiences":["test"],"expirationSeconds":43200,
			"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"p","uid":"pu"}
		}}`)
	if response.Code != http.StatusCreated {
		t.Fatalf("status %d: %s", response.Code, response.Body)
	}
	var answer authenticationv1.TokenRequest
	if err := json.Unmarshal(response.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	keys, err := token.NewKeySet(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	verifier := token.Verifier{Issuer: issuerURL, Audiences: []string{"test"}, Keys: keys}
	claims, err := verifier.Verify(credential.NewSecret(answer.Status.Token), now)
	if err != nil {
		t.Fatal(err)
	}
	claims.ID = ""
	want := &token.Claims{
		Issuer: issuerURL, Subject: "system:serviceaccount:app:api", Audiences: []string{"test"},
		IssuedAt: now, NotBefore: now, Expiry: now.Add(12 * time.Hour),
		Workload: token.Workload{
			Namespace:      "app",
			Pod:            &token.Reference{Name: "p", UID: "pu"},
			Node:           &token.Reference{Name: "n", UID: "nu"},
			ServiceAccount: token.Reference{Name: "api", UID: "u1"},
		},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if !answer.Status.ExpirationTimestamp.Time.Equal(claims.Expiry) {
		t.Errorf("expirationTimestamp = %s, want %s", answer.Status.ExpirationTimestamp, claims.Expiry)
	}
}

func TestTokenRequestRefuses(t *testing.T) {
	t.Parallel()
	bearer := server.NewBearer()
	tokens := newTokens(newKey(t), bearer)
	good := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`
	response := ask(t, tokens, bearer.Reveal(), "app/serviceaccounts/api", good)
	if response.Code != http.StatusCreated {
		t.Fatalf("the good request: %d %s", response.Code, response.Body)
	}
	for _, row := range []struct {
		name, bearer, path, body string
		want                     int
	}{
		{"no bearer", "", "app/serviceaccounts/api", good, 401},
		{"wrong bearer", bearer.Reveal() + "0", "app/serviceaccounts/api", good, 401},
		{"unknown account", bearer.Reveal(), "app/serviceaccounts/other", good, 404},
		{"no JSON", bearer.Reveal(), "app/serviceaccounts/api", "x", 400},
		{"other kind", bearer.Reveal(), "app/serviceaccounts/api", `{"kind":"Pod"}`, 400},
		{
			"too short", bearer.Reveal(), "app/serviceaccounts/api",
			strings.Replace(good, "{}", `{"expirationSeconds":599}`, 1), 400,
		},
		{
			"too long", bearer.Reveal(), "app/serviceaccounts/api",
			strings.Replace(good, "{}", `{"expirationSeconds":4294967297}`, 1), 400,
		},
		{
			"bound to no pod", bearer.Reveal(), "app/serviceaccounts/api",
			strings.Replace(good, "{}", `{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"q"}}`, 1), 404,
		},
		{
			"bound to a pod that was created again", bearer.Reveal(), "app/serviceaccounts/api",
			strings.Replace(good, "{}", `{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"p","uid":"old"}}`,
				1), 409,
		},
		{
			"bound to another account's pod", bearer.Reveal(), "app/serviceaccounts/api",
			strings.Replace(good, "{}", `{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"other"}}`, 1), 400,
		},
		{
			"bound to a secret", bearer.Reveal(), "app/serviceaccounts/api",
			strings.Replace(good, "{}", `{"boundObjectRef":{"kind":"Secret","apiVersion":"v1","name":"s"}}`, 1), 400,
		},
		{"huge body", bearer.Reveal(), "app/serviceaccounts/api", good + strings.Repeat(" ", 1<<17), 400},
	} {
		response := ask(t, tokens, row.bearer, row.path, row.body)
		if response.Code != row.want || strings.Contains(response.Body.String(), "eyJ") {
			t.Errorf("%s: %d %s, want %d", row.name, response.Code, response.Body, row.want)
		}
	}
}

func newTokens(key *token.Key, bearer credential.Secret) *server.Tokens {
	return &server.Tokens{
		Issuer: issuerURL, Key: key, Bearer: bearer,
		Exists: func(namespace, name string) (string, bool) { return "u1", namespace == "app" && name == "api" },
		Pod: func(namespace, name string) (server.BoundPod, bool) {
			pods := map[string]server.BoundPod{
				"app/p":     {UID: "pu", ServiceAccount: "api", Node: token.Reference{Name: "n", UID: "nu"}},
				"app/other": {UID: "ou", ServiceAccount: "web"},
			}
			pod, found := pods[namespace+"/"+name]
			return pod, found
		},
		Now: func() time.Time { return now },
		Log: slog.New(slog.DiscardHandler),
	}
}

func ask(t *testing.T, tokens *server.Tokens, bearer, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/namespaces/"+path+"/token",
		strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	recorder := httptest.NewRecorder()
	tokens.Handler().ServeHTTP(recorder, request)
	return recorder
}

func newKey(t *testing.T) *token.Key {
	t.Helper()
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	return key
}
