package webhook

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/rolecall/rolecall/internal/inject"
)

// debugRoutes are the reference's, for trying out what a denial or a failure
// does to a cluster (spec webhook §1.1).
func (h *Handler) debugRoutes() {
	h.mux.HandleFunc("/debug/alpha/deny", func(w http.ResponseWriter, r *http.Request) {
		start := h.config.Now()
		body, _ := readAll(nil, http.MaxBytesReader(w, r.Body, maxReview))
		v, a := readReview(body, h.config.Settings.Conformance), deny("Test deny message")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(appendAnswer(nil, &v, &a))
		h.metrics.observe(r, "/debug/alpha/deny", http.StatusOK, h.config.Now().Sub(start))
	})
	h.mux.HandleFunc("/debug/alpha/500", func(w http.ResponseWriter, r *http.Request) {
		start := h.config.Now()
		code := fail(w, http.StatusInternalServerError, "test error")
		h.metrics.observe(r, "/debug/alpha/500", code, h.config.Now().Sub(start))
	})
}

// debugAccount is an account in the reference's form.
type debugAccount struct {
	RoleARN         string
	Audience        string
	UseRegionalSTS  bool
	TokenExpiration int64
}

// DebugCache serves the reference's routes that show and empty the cache of
// service accounts. They belong on the listener of metrics.
func DebugCache(accounts *Accounts) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/alpha/cache", func(w http.ResponseWriter, _ *http.Request) {
		shown := map[string]debugAccount{}
		for name, account := range accounts.All() {
			shown[name.String()] = newDebugAccount(account)
		}
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", " ")
		_ = encoder.Encode(shown)
	})
	mux.HandleFunc("/debug/alpha/cache/clear", func(w http.ResponseWriter, _ *http.Request) {
		accounts.Clear()
		_, _ = io.WriteString(w, "ok")
	})
	return mux
}

func newDebugAccount(a *inject.Account) debugAccount {
	return debugAccount{a.Role, a.Audience, a.RegionalSTS, a.Expiration}
}
