package serve

import (
	"context"
	"io"
	"net/http"
	"time"
)

// readyTimeout is below a kubelet's default for probes.
const readyTimeout = 900 * time.Millisecond

// handleProbes answers /healthz while the process runs, and /readyz with the first
// check that fails.
func handleProbes(mux *http.ServeMux, ready ...func(context.Context) error) {
	answer := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text+"\n")
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		for _, check := range ready {
			if err := check(ctx); err != nil {
				answer(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		answer(w, http.StatusOK, "ok")
	})
}
