// Package apiservers is API servers as far as an issuer sees them: the keys that each
// accepts, a token that it has just signed, and pods, of which there are none.
//
// It authenticates nobody, keeps no objects, and takes new keys only when it is rolled.
package apiservers

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/token"
)

// Server is one API server. Its tokens have the real time, and its answers say another one.
type Server struct {
	URL    string
	issuer string
	now    func() time.Time

	mu     sync.Mutex
	jwks   []byte
	tokens *server.Tokens
}

// Start starts an API server that signs with a key and accepts it alone, until the test
// ends. now is the clock that its answers show.
func Start(t *testing.T, issuer string, key *token.Key, now func() time.Time) *Server {
	t.Helper()
	s := &Server{issuer: issuer, now: now}
	public, err := token.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s.Roll(t, []token.PublicKey{public}, key)
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	s.URL = listening.URL
	return s
}

// bearer is the only one there is.
const bearer = "bearer"

// Config reaches the API server, which speaks JSON only.
func (s *Server) Config() *rest.Config {
	json := rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"}
	return &rest.Config{Host: s.URL, BearerToken: bearer, ContentConfig: json, QPS: -1} // as fast as the test is
}

// Roll restarts it with other keys.
func (s *Server) Roll(t *testing.T, accepted []token.PublicKey, signing *token.Key) {
	t.Helper()
	jwks, err := token.MarshalKeys(accepted, false)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jwks = jwks
	s.tokens = &server.Tokens{
		Issuer: s.issuer,
		Key:    signing,
		Bearer: credential.NewSecret(bearer),
		Exists: func(string, string) (string, bool) { return "uid", true },
		Pod:    func(string, string) (server.BoundPod, bool) { return server.BoundPod{}, false },
		Now:    time.Now,
		Log:    slog.New(slog.DiscardHandler),
	}
}

// ServeHTTP answers for its keys, tokens and pods.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	jwks, tokens := s.jwks, s.tokens
	s.mu.Unlock()
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/openid/v1/jwks":
		_, _ = w.Write(jwks)
	case "/api/v1/pods":
		_, _ = w.Write([]byte(`{"kind":"PodList","apiVersion":"v1","items":[]}`))
	default:
		tokens.Handler().ServeHTTP(w, r)
	}
}
