// Package server serves an issuer: its documents to anybody, and tokens where no API
// server signs them.
//
// It does not choose, keep or rotate keys, does not know which role a service account
// has, and serves no TLS of its own.
package server

import (
	"crypto"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/token"
)

// maxAge, in seconds, is short enough that a rotated key is seen within minutes (spec
// issuer-and-sts §5.3).
const maxAge = 60

// Documents serves the discovery document and the JWKS of one issuer to
// anybody: both are public by design.
type Documents struct {
	path      string // of the issuer URL, without trailing slash
	documents document.Documents
}

// NewDocuments prepares the documents of the issuer with the given public keys,
// newest first. They are served under the URL's path on any host name.
func NewDocuments(issuer string, keys []crypto.PublicKey) (*Documents, error) {
	named := make([]token.PublicKey, 0, len(keys))
	for _, key := range keys {
		one, err := token.NewPublicKey(key)
		if err != nil {
			return nil, fmt.Errorf("refuse to publish: %w", err)
		}
		named = append(named, one)
	}
	documents, err := document.New(issuer, named, document.Options{MaxAge: maxAge})
	if err != nil {
		return nil, err
	}
	parsed, err := url.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer %q: %w", issuer, err)
	}
	return &Documents{path: strings.TrimSuffix(parsed.Path, "/"), documents: documents}, nil
}

// ServeHTTP answers GET and HEAD of the two documents.
func (d *Documents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case d.path + "/" + d.documents.Discovery.Name:
		write(w, d.documents.Discovery)
	case d.path + "/" + d.documents.JWKS.Name:
		write(w, d.documents.JWKS)
	default:
		http.NotFound(w, r)
	}
}

func write(w http.ResponseWriter, object document.Object) {
	w.Header().Set("Content-Type", object.ContentType)
	w.Header().Set("Cache-Control", object.CacheControl)
	_, _ = w.Write(object.Text)
}
