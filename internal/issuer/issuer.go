// Package issuer publishes the keys of a service-account token issuer where
// AWS can read them, and signs tokens where no API server does.
//
// It does not keep or rotate keys, does not know which role a service account
// has, and serves no TLS of its own.
package issuer

import (
	"crypto"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rolecall/rolecall/internal/token"
)

// Paths under the issuer URL, as kube-apiserver has them.
const (
	discoveryPath = "/.well-known/openid-configuration"
	jwksPath      = "/openid/v1/jwks"
)

// cacheControl is short enough that a rotated key is seen within minutes (spec
// issuer-and-sts §5.3).
const cacheControl = "public, max-age=60"

// Documents serves the discovery document and the JWKS of one issuer to
// anybody: both are public by design.
type Documents struct {
	path            string // of the issuer URL, without trailing slash
	discovery, jwks []byte
}

// NewDocuments prepares the documents of the issuer with the given public keys,
// newest first. They are served under the URL's path on any host name.
func NewDocuments(issuer string, keys []crypto.PublicKey) (*Documents, error) {
	if err := token.CheckIssuer(issuer); err != nil {
		return nil, err
	}
	parsed, err := url.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer %q: %w", issuer, err)
	}
	base := strings.TrimSuffix(issuer, "/")
	jwks, err := token.MarshalJWKS(keys)
	if err != nil {
		return nil, err
	}
	discovery, err := token.Discovery(issuer, base+jwksPath, keys)
	if err != nil {
		return nil, err
	}
	return &Documents{path: strings.TrimSuffix(parsed.Path, "/"), discovery: discovery, jwks: jwks}, nil
}

// ServeHTTP answers GET and HEAD of the two documents.
func (d *Documents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case d.path + discoveryPath:
		write(w, "application/json", d.discovery)
	case d.path + jwksPath:
		write(w, "application/jwk-set+json", d.jwks)
	default:
		http.NotFound(w, r)
	}
}

func write(w http.ResponseWriter, contentType string, document []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", cacheControl)
	_, _ = w.Write(document)
}
