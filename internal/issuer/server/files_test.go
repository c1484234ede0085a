package server_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/token"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	discard := slog.New(slog.DiscardHandler)
	if _, err := server.OpenFiles(dir, time.Minute, discard); err == nil {
		t.Error("an empty folder is served")
	}
	k1, k2 := newPublicKey(t), newPublicKey(t)
	if _, err := store.Publish(t.Context(), store.Directory{Path: dir}, documents(t, k1), nil); err != nil {
		t.Fatal(err)
	}
	files, err := server.OpenFiles(dir, time.Minute, discard)
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
	if _, err := store.Publish(t.Context(), store.Directory{Path: dir}, documents(t, k2, k1), nil); err != nil {
		t.Fatal(err)
	}
	if changed := get("GET", "/c1/openid/v1/jwks", tag); changed.Code != http.StatusOK ||
		changed.Header().Get("ETag") == tag {
		t.Errorf("after publishing: %d %v", changed.Code, changed.Header())
	}
	// What would lock everybody out is not.
	for _, bad := range []string{"", `{"keys":[]}`, `{"keys":[{"kty":"RSA","d":"AA"}]}`} {
		if err := os.WriteFile(filepath.Join(dir, "openid/v1/jwks"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if response := get("GET", "/c1/openid/v1/jwks", ""); response.Code != http.StatusOK ||
			response.Body.Len() == len(bad) {
			t.Errorf("%q is served: %d", bad, response.Code)
		}
	}
}

// TestAwaitFiles: a folder in which nothing is published yet is served as soon as something
// is; one that is broken or not there is refused at once.
func TestAwaitFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	discard := slog.New(slog.DiscardHandler)
	files, err := server.AwaitFiles(dir, time.Minute, discard)
	if err != nil {
		t.Fatal(err)
	}
	status := func(path string) int {
		recorder := httptest.NewRecorder()
		files.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return recorder.Code
	}
	for _, path := range []string{"/healthz", "/c1/openid/v1/jwks"} {
		if got := status(path); got != http.StatusServiceUnavailable {
			t.Errorf("%s before anything is published: %d", path, got)
		}
	}
	d := documents(t, newPublicKey(t))
	place := store.Directory{Path: dir}
	if err := place.Write(t.Context(), document.Write{Object: d.JWKS}); err != nil {
		t.Fatal(err)
	}
	if got := status("/c1/openid/v1/jwks"); got != http.StatusServiceUnavailable {
		t.Errorf("half of it: %d", got)
	}
	if err := place.Write(t.Context(), document.Write{Object: d.Discovery}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/c1/openid/v1/jwks"} {
		if got := status(path); got != http.StatusOK {
			t.Errorf("%s when it is published: %d", path, got)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, document.JWKSPath), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := server.AwaitFiles(bad, time.Minute, discard); err == nil {
			t.Errorf("%s is served", bad)
		}
	}
}

func documents(t *testing.T, keys ...token.PublicKey) document.Documents {
	t.Helper()
	made, err := document.New("https://issuer.example/c1", keys, document.Options{MaxAge: 300})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newPublicKey(t *testing.T) token.PublicKey {
	t.Helper()
	public, err := token.NewPublicKey(newKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}
