package observe

import (
	"context"
	"crypto/sha1" //nolint:gosec // IAM's thumbprints are SHA-1
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/build"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
)

// Limits of reading an issuer, STS's as far as they are known (spec
// issuer-and-sts §6.1).
const (
	readTimeout  = 5 * time.Second
	maxDocument  = 1 << 20
	maxRedirects = 5
)

// Access says how to reach issuers. The zero value is the public way.
type Access struct {
	// Endpoints maps a host name to the HOST:PORT that is dialled instead.
	Endpoints map[string]string
	// RootCAs replaces the system's trusted authorities.
	RootCAs *x509.CertPool
}

// Reader reads an issuer's documents as anybody does: anonymously, by HTTPS, in
// five seconds.
type Reader struct {
	access Access
	strict *http.Client
	// lax reads what has no trusted certificate, to tell what else is wrong; its
	// answers are never trusted for anything but findings.
	lax *http.Client
}

// NewReader returns a reader. It reads nothing yet.
func NewReader(access Access) *Reader {
	r := &Reader{access: access}
	r.strict = r.client(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: access.RootCAs})
	r.lax = r.client(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true,
	}) //nolint:gosec // only to describe what is wrong
	return r
}

func (r *Reader) client(config *tls.Config) *http.Client {
	dialer := &net.Dialer{Timeout: readTimeout}
	return &http.Client{
		Timeout: readTimeout,
		Transport: &http.Transport{
			TLSClientConfig: config, DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				host, _, _ := net.SplitHostPort(address)
				if endpoint, found := r.access.Endpoints[host]; found {
					address = endpoint
				}
				return dialer.DialContext(ctx, network, address)
			},
		},
		CheckRedirect: func(request *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || request.URL.Scheme != "https" {
				return errors.New("too many redirects, or one that leaves https")
			}
			return nil
		},
	}
}

// Read fetches the discovery document and the keys it leads to.
func (r *Reader) Read(ctx context.Context, issuer string) (discovery, jwks inspect.Fetched) {
	discovery = r.fetch(ctx, strings.TrimSuffix(issuer, "/")+"/"+document.DiscoveryPath)
	var document struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if discovery.Status != http.StatusOK || json.Unmarshal(discovery.Text, &document) != nil ||
		!strings.HasPrefix(document.JWKSURI, "https://") {
		return discovery, inspect.Fetched{}
	}
	return discovery, r.fetch(ctx, document.JWKSURI)
}

func (r *Reader) fetch(ctx context.Context, address string) inspect.Fetched {
	f := inspect.Fetched{URL: address, Done: true}
	if parsed, err := url.Parse(address); err != nil || parsed.Scheme != "https" {
		f.Err = "not an https URL"
		return f
	}
	err := r.get(ctx, r.strict, &f)
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		_, f.Certificate.Untrusted = errors.AsType[x509.UnknownAuthorityError](err)
		f.Certificate.Err = err.Error()
		err = r.get(ctx, r.lax, &f)
	}
	if err != nil {
		f.Err = cause(err)
	}
	return f
}

// cause says why there was no answer, without the URL, which is said beside it.
func cause(err error) string {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		if failed.Timeout() {
			return fmt.Sprintf("no answer within %s", readTimeout)
		}
		err = failed.Err
	}
	unresolved, ok := errors.AsType[*net.DNSError](err)
	switch {
	case !ok:
		return err.Error()
	case unresolved.IsNotFound:
		return "DNS knows no host " + unresolved.Name
	}
	return "DNS does not resolve " + unresolved.Name + ": " + unresolved.Err
}

func (r *Reader) get(ctx context.Context, client *http.Client, f *inspect.Fetched) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", build.UserAgent())
	request.Header.Set("Cache-Control", "no-cache") // a proxy's old copy is not what was published
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	f.Status, f.ContentType, f.CacheControl = response.StatusCode, response.Header.Get("Content-Type"),
		response.Header.Get("Cache-Control")
	if response.Request.URL.String() != f.URL {
		f.Redirected = response.Request.URL.String()
	}
	f.Date, _ = http.ParseTime(response.Header.Get("Date"))
	if response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		last := response.TLS.PeerCertificates[len(response.TLS.PeerCertificates)-1]
		sum := sha1.Sum(last.Raw) //nolint:gosec // IAM's thumbprints are SHA-1
		f.Certificate.Thumbprint = hex.EncodeToString(sum[:])
	}
	if f.Text, err = io.ReadAll(io.LimitReader(response.Body, maxDocument+1)); err != nil {
		return err
	}
	if len(f.Text) > maxDocument {
		return errors.New("longer than a megabyte")
	}
	return nil
}
