package sts

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"
)

// Limits of fetching an issuer's documents (spec issuer-and-sts §10.6).
const (
	fetchTimeout   = 5 * time.Second
	maxDocument    = 1 << 20
	maxRedirects   = 5
	maxKeysOfKind  = 100
	defaultFresh   = 5 * time.Minute
	maxFresh       = time.Hour
	refetchPause   = 10 * time.Second
	maxCachedHosts = 1000
)

const discoveryPath = "/.well-known/openid-configuration"

// IssuerAccess says how issuers' documents may be fetched. The zero value is
// how AWS does it: over HTTPS from public addresses with publicly trusted
// certificates.
type IssuerAccess struct {
	// Endpoints maps an issuer's host name to the HOST:PORT that is dialled
	// instead, so that any issuer URL can be served from this machine.
	Endpoints map[string]string
	// Local answers the same for hosts that Endpoints lacks; nil for none.
	Local func(host string) (endpoint string, found bool)
	// RootCAs replaces the system's trusted authorities.
	RootCAs *x509.CertPool
	// Timeout ends the fetch of one document; 5 seconds if zero.
	Timeout time.Duration
	// AllowPrivate lets the remaining hosts be loopback, link-local or private
	// addresses.
	AllowPrivate bool
}

// Keys fetches and caches the published keys of issuers.
type Keys struct {
	client  *http.Client
	timeout time.Duration // of one document
	now     func() time.Time
	flight  singleflight.Group

	mu    sync.Mutex
	cache map[string]cachedKeys // by issuer URL
}

type cachedKeys struct {
	index          keyIndex
	fetched, stale time.Time
}

// NewKeys returns a fetcher.
func NewKeys(access IssuerAccess, now func() time.Time) *Keys {
	timeout := cmp.Or(access.Timeout, fetchTimeout)
	dialer := &net.Dialer{Timeout: timeout}
	if !access.AllowPrivate {
		dialer.Control = publicOnly
	}
	local := &net.Dialer{Timeout: timeout}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if endpoint, found := access.Endpoints[host]; found {
			return local.DialContext(ctx, network, endpoint)
		}
		if access.Local != nil {
			if endpoint, found := access.Local(host); found {
				return local.DialContext(ctx, network, endpoint)
			}
		}
		return dialer.DialContext(ctx, network, address)
	}
	return &Keys{
		now: now, cache: map[string]cachedKeys{},
		timeout: timeout,
		client: &http.Client{
			Transport: &http.Transport{
				DialContext: dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: access.RootCAs},
				DisableKeepAlives: true,
			},
			CheckRedirect: func(r *http.Request, via []*http.Request) error {
				if len(via) > maxRedirects || r.URL.Scheme != "https" {
					return errors.New("too many redirects, or one that leaves https")
				}
				return nil
			},
		},
	}
}

// publicOnly refuses addresses inside the machine's own networks at the moment
// of dialling, when names are resolved.
func publicOnly(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := target.Addr().Unmap()
	if ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
		return fmt.Errorf("refuse to fetch keys from %s, an address of this machine's own networks", ip)
	}
	return nil
}

// Find returns the issuer's key for a token header, fetching what is not
// cached. A key id that is not in the cache makes one new fetch, at most every
// ten seconds. kind is the type of key the token's algorithm needs.
func (k *Keys) Find(ctx context.Context, issuer, kid string, hasKid bool, kind string) (*publishedKey, error) {
	k.mu.Lock()
	cached, found := k.cache[issuer]
	k.mu.Unlock()
	now := k.now()
	if found && now.Before(cached.stale) {
		key, err := cached.index.find(kid, hasKid, kind)
		if err == nil || now.Before(cached.fetched.Add(refetchPause)) {
			return key, err
		}
	}
	// The fetch is shared: the caller that happened to start it must not end it
	// for the others by going away. The timeout bounds it.
	shared := context.WithoutCancel(ctx)
	fetched, err, _ := k.flight.Do(issuer, func() (any, error) { return k.fetch(shared, issuer) })
	if err != nil {
		return nil, unreachable{err}
	}
	return fetched.(keyIndex).find(kid, hasKid, kind) //nolint:forcetypeassert // what fetch returns
}

func (k *Keys) fetch(ctx context.Context, issuer string) (keyIndex, error) {
	document, _, err := k.get(ctx, strings.TrimSuffix(issuer, "/")+discoveryPath)
	if err != nil {
		return keyIndex{}, fmt.Errorf("fetch the discovery document: %w", err)
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(document, &discovery); err != nil {
		return keyIndex{}, fmt.Errorf("the discovery document is not JSON: %w", err)
	}
	if discovery.Issuer != issuer {
		return keyIndex{}, fmt.Errorf("the discovery document names issuer %q, want %q", discovery.Issuer, issuer)
	}
	if !strings.HasPrefix(discovery.JWKSURI, "https://") {
		return keyIndex{}, fmt.Errorf("jwks_uri %q is not https", discovery.JWKSURI)
	}
	jwks, header, err := k.get(ctx, discovery.JWKSURI)
	if err != nil {
		return keyIndex{}, fmt.Errorf("fetch the JWKS: %w", err)
	}
	index, err := newKeyIndex(jwks)
	if err != nil {
		return keyIndex{}, err
	}
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.cache) >= maxCachedHosts {
		clear(k.cache)
	}
	k.cache[issuer] = cachedKeys{index: index, fetched: now, stale: now.Add(freshFor(header.Get("Cache-Control")))}
	return index, nil
}

func (k *Keys) get(ctx context.Context, url string) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	response, err := k.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, nil, &statusError{url, response.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err == nil {
		err = ctx.Err() // an issuer that notices may still end the body properly
	}
	if err != nil {
		return nil, nil, err
	}
	if len(body) > maxDocument {
		return nil, nil, fmt.Errorf("GET %s: more than %d bytes", url, maxDocument)
	}
	return body, response.Header, nil
}

// statusError is an answer that is not 200.
type statusError struct {
	url    string
	status int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("GET %s: status %d, want 200", e.url, e.status)
}

// isCommunication reports whether the same fetch may work a little later: a
// timeout, or a discovery document that is 5xx.
func isCommunication(err error) bool {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return true
	}
	answered, ok := errors.AsType[*statusError](err)
	return ok && answered.status >= http.StatusInternalServerError && strings.HasSuffix(answered.url, discoveryPath)
}

// freshFor reads max-age; no-cache and no-store mean that nothing is cached.
func freshFor(cacheControl string) time.Duration {
	fresh := defaultFresh
	for directive := range strings.SplitSeq(strings.ToLower(cacheControl), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-cache", "no-store":
			return 0
		case "max-age":
			if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
				fresh = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(fresh, maxFresh)
}
