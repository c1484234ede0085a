package observe_test

import (
	"crypto/elliptic"
	"crypto/tls"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/server"
	"github.com/rolecall/rolecall/internal/issuer/store"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/token"
)

const url = "https://issuer.example/c1"

// TestReader reads over TLS as STS does, and tells an untrusted certificate.
func TestReader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := documents(t, newPublicKey(t))
	if _, err := store.Publish(t.Context(), store.Directory{Path: dir}, d, nil); err != nil {
		t.Fatal(err)
	}
	files, err := server.OpenFiles(dir, time.Minute, slog.New(slog.DiscardHandler))
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

	discovery, jwks := observe.NewReader(observe.Access{
		Endpoints: endpoints,
		RootCAs:   authority.Pool(),
	}).Read(t.Context(), url)
	if err := inspect.CheckReadBack(d, discovery, jwks); err != nil {
		t.Error(err)
	}
	if ids, err := inspect.PublishedIDs(discovery, jwks); err != nil || len(ids) != 1 || ids[0] != d.Keys[0].ID {
		t.Errorf("published %q, %v", ids, err)
	}
	if len(jwks.Certificate.Thumbprint) != 40 || jwks.Certificate.Err != "" {
		t.Errorf("certificate %+v", jwks.Certificate)
	}
	other := documents(t, newPublicKey(t))
	if err := inspect.CheckReadBack(other, discovery, jwks); err == nil ||
		!strings.Contains(err.Error(), "not what was published") {
		t.Errorf("an old copy passes for the new: %v", err)
	}

	discovery, jwks = observe.NewReader(observe.Access{Endpoints: endpoints}).Read(t.Context(), url)
	if discovery.Certificate.Err == "" || discovery.Status != 200 || jwks.Certificate.Err == "" {
		t.Errorf("an unknown authority: %+v", discovery.Certificate)
	}
	if _, err := inspect.PublishedIDs(discovery, jwks); err == nil {
		t.Error("keys behind an untrusted certificate count as published")
	}
	findings := inspect.Inspect(inspect.Observation{Issuer: url, Now: time.Now(), Discovery: discovery, JWKS: jwks})
	if finding.Failed(findings) || findings[0].Rule != "discovery-certificate" {
		t.Errorf("findings %+v", findings)
	}
	server.Close()
	if discovery, _ = observe.NewReader(observe.Access{Endpoints: endpoints}).Read(t.Context(),
		url); discovery.Err == "" {
		t.Error("a server that is gone has answered")
	}
}

func documents(t *testing.T, keys ...token.PublicKey) document.Documents {
	t.Helper()
	made, err := document.New(url, keys, document.Options{MaxAge: 300})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newPublicKey(t *testing.T) token.PublicKey {
	t.Helper()
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}
