package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const probeTimeout = 2 * time.Second

// Probes answers /healthz and /readyz: every listener must answer a round trip
// over its own socket. An upstream that is down changes neither: a restart
// would only lose the credentials that pods still depend on.
type Probes struct {
	// Addresses are HOST:PORT of the listeners.
	Addresses []string
	// Upstream, if set, must have succeeded once before /readyz does.
	Upstream func(context.Context) error

	upstreamOnce atomic.Bool
}

// Register adds the two routes.
func (p *Probes) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, false) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, true) })
}

func (p *Probes) answer(w http.ResponseWriter, r *http.Request, ready bool) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	failing := p.silent(ctx)
	if ready && p.Upstream != nil && !p.upstreamOnce.Load() {
		if err := p.Upstream(ctx); err != nil {
			failing = append(failing, fmt.Sprintf("upstream: %v", err))
		} else {
			p.upstreamOnce.Store(true)
		}
	}
	if len(failing) == 0 {
		_, _ = io.WriteString(w, "ok")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(failing)
}

// silent are the listeners that do not answer.
func (p *Probes) silent(ctx context.Context) []string {
	failing := []string{}
	for _, address := range p.Addresses {
		if err := roundTrip(ctx, address); err != nil {
			failing = append(failing, fmt.Sprintf("listener %s: %v", address, err))
		}
	}
	return failing
}

// Serving is an error while a listener does not answer.
func (p *Probes) Serving(ctx context.Context) error {
	if failing := p.silent(ctx); len(failing) > 0 {
		return errors.New(failing[0])
	}
	return nil
}

// roundTrip wants the 404 of a path that is not served. The transport has no
// proxy, whatever the environment says.
func roundTrip(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	request.Close = true
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		return fmt.Errorf("status %d, want 404", response.StatusCode)
	}
	return nil
}
