package issuer_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/issuer"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/publication"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	discard := slog.New(slog.DiscardHandler)
	if _, err := issuer.OpenFiles(dir, time.Minute, discard); err == nil {
		t.Error("an empty folder is served")
	}
	k1, k2 := newPublicKey(t), newPublicKey(t)
	if _, err := issuer.Publish(t.Context(), issuer.Directory{Path: dir}, documents(t, k1), nil); err != nil {
		t.Fatal(err)
	}
	files, err := issuer.OpenFiles(dir, time.Minute, discard)
	if err != nil {
		t.Fatal(err)
	}
	get := func(method, path, tag string) *httptest.ResponseRecorder {
		request := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		if tag != "" {
			request.Header.Set("If-None-Match", tag)
		}
		recorder := httptest.NewRecorder()
		files.ServeHTTP(recorder, request)
		return recorder
	}
	for _, row := range []struct {
		method, path string
		status       int
		contentType  string
	}{
		{"GET", "/c1/.well-known/openid-configuration", 200, "application/json"},
		{"GET", "/c1/openid/v1/jwks", 200, "application/jwk-set+json"},
		{"HEAD", "/c1/openid/v1/jwks", 200, "application/jwk-set+json"},
		{"GET", "/openid/v1/jwks", 404, "text/plain; charset=utf-8"},
		{"GET", "/c1/../c1/openid/v1/jwks", 404, "text/plain; charset=utf-8"},
		{"POST", "/c1/openid/v1/jwks", 405, "text/plain; charset=utf-8"},
		{"GET", "/healthz", 200, "text/plain; charset=utf-8"},
	} {
		response := get(row.method, row.path, "")
		if response.Code != row.status || response.Header().Get("Content-Type") != row.contentType {
			t.Errorf("%s %s: %d %q", row.method, row.path, response.Code, response.Header().Get("Content-Type"))
		}
	}
	first := get("GET", "/c1/openid/v1/jwks", "")
	tag := first.Header().Get("ETag")
	if first.Header().Get("Cache-Control") != "public, max-age=60" || tag == "" {
		t.Errorf("headers %v", first.Header())
	}
	if again := get("GET", "/c1/openid/v1/jwks", tag); again.Code != http.StatusNotModified {
		t.Errorf("the same again: %d", again.Code)
	}
	// A new key is served without a restart.
	if _, err := issuer.Publish(t.Context(), issuer.Directory{Path: dir}, documents(t, k2, k1), nil); err != nil {
		t.Fatal(err)
	}
	if changed := get("GET", "/c1/openid/v1/jwks", tag); changed.Code != http.StatusOK || changed.Header().Get("ETag") == tag {
		t.Errorf("after publishing: %d %v", changed.Code, changed.Header())
	}
	// What would lock everybody out is not.
	for _, bad := range []string{"", `{"keys":[]}`, `{"keys":[{"kty":"RSA","d":"AA"}]}`} {
		if err := os.WriteFile(filepath.Join(dir, "openid/v1/jwks"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if response := get("GET", "/c1/openid/v1/jwks", ""); response.Code != http.StatusOK || response.Body.Len() == len(bad) {
			t.Errorf("%q is served: %d", bad, response.Code)
		}
	}
}

// TestReader reads over TLS as STS does, and tells an untrusted certificate.
func TestReader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := documents(t, newPublicKey(t))
	if _, err := issuer.Publish(t.Context(), issuer.Directory{Path: dir}, d, nil); err != nil {
		t.Fatal(err)
	}
	files, err := issuer.OpenFiles(dir, time.Minute, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Serving(time.Now(), time.Hour, "issuer.example")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(files)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	endpoints := map[string]string{"issuer.example": server.Listener.Addr().String()}

	discovery, jwks := issuer.NewReader(issuer.Access{Endpoints: endpoints, RootCAs: authority.Pool()}).Read(t.Context(), url)
	if err := issuer.CheckReadBack(d, discovery, jwks); err != nil {
		t.Error(err)
	}
	if ids, err := issuer.PublishedIDs(jwks); err != nil || len(ids) != 1 || ids[0] != d.Keys[0].ID {
		t.Errorf("published %q, %v", ids, err)
	}
	if len(jwks.Certificate.Thumbprint) != 40 || jwks.Certificate.Err != "" {
		t.Errorf("certificate %+v", jwks.Certificate)
	}
	other := documents(t, newPublicKey(t))
	if err := issuer.CheckReadBack(other, discovery, jwks); err == nil || !strings.Contains(err.Error(), "not what was published") {
		t.Errorf("an old copy passes for the new: %v", err)
	}

	discovery, jwks = issuer.NewReader(issuer.Access{Endpoints: endpoints}).Read(t.Context(), url)
	if discovery.Certificate.Err == "" || discovery.Status != 200 || jwks.Certificate.Err == "" {
		t.Errorf("an unknown authority: %+v", discovery.Certificate)
	}
	if _, err := issuer.PublishedIDs(jwks); err == nil {
		t.Error("keys behind an untrusted certificate count as published")
	}
	findings := publication.Inspect(publication.Observation{Issuer: url, Now: time.Now(), Discovery: discovery, JWKS: jwks})
	if publication.Failed(findings) || findings[0].Rule != "discovery-certificate" {
		t.Errorf("findings %+v", findings)
	}
	server.Close()
	if discovery, _ = issuer.NewReader(issuer.Access{Endpoints: endpoints}).Read(t.Context(), url); discovery.Err == "" {
		t.Error("a server that is gone has answered")
	}
}
