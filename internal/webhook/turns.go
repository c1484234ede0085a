package webhook

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// turns order reads that strangers can cause. They are done in the order in which they
// were asked for, at a rate that an API server bears. Of one source only a few stand in
// line at a time, so that those who ask much wait for themselves, and nobody else for them.
type turns struct {
	line     *rate.Limiter
	ofSource int // how many of one source stand in line

	mu      sync.Mutex
	sources map[string]*places
}

// places are those of a source in the line.
type places struct {
	taken chan struct{}
	users int // that wait for one or have one; guarded by turns.mu
}

func newTurns(perSecond float64, burst, ofSource int) *turns {
	return &turns{
		line: rate.NewLimiter(rate.Limit(perSecond), burst), ofSource: ofSource, sources: map[string]*places{},
	}
}

// wait waits for the turn of a source. Without an error done must be called.
func (t *turns) wait(ctx context.Context, source string) (done func(), err error) {
	t.mu.Lock()
	p := t.sources[source]
	if p == nil {
		p = &places{taken: make(chan struct{}, t.ofSource)}
		t.sources[source] = p
	}
	p.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(t.sources, source)
		}
	}
	select {
	case p.taken <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
	done = func() { <-p.taken; leave() }
	if err := t.line.Wait(ctx); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// requestKey is where a context has the request, for who asks.
type requestKey struct{}

// withRequest has a context say who asks.
func withRequest(r *http.Request) context.Context {
	return context.WithValue(r.Context(), requestKey{}, r)
}

// sourceOf is who asks: a certificate that was verified, or else an address, of IPv6 the
// network that one host has.
func sourceOf(ctx context.Context) string {
	r, ok := ctx.Value(requestKey{}).(*http.Request)
	if !ok {
		return ""
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return "certificate of " + r.TLS.PeerCertificates[0].Subject.String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if address, err := netip.ParseAddr(host); err == nil && address.Is6() && !address.Is4In6() {
		network, _ := address.WithZone("").Prefix(64) // 64 is never too long
		return network.String()
	}
	return host
}
