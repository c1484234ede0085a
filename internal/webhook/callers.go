package webhook

import (
	"net/http"
	"slices"
)

// Callers are whom reviews are taken from: those with a client certificate that was
// verified.
type Callers struct {
	// Names are the common names, or DNS names, of certificates; empty takes all that
	// were verified.
	Names []string
}

// admits says why a request is not taken; empty if it is.
func (c *Callers) admits(r *http.Request) string {
	if c == nil {
		return ""
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "a review needs a client certificate of an API server"
	}
	certificate := r.TLS.PeerCertificates[0]
	named := func(name string) bool { return name != "" && slices.Contains(c.Names, name) }
	if len(c.Names) == 0 || named(certificate.Subject.CommonName) || slices.ContainsFunc(certificate.DNSNames, named) {
		return ""
	}
	return "the client certificate is not one of an API server"
}

// calledBy refuses whom reviews are not taken from, before anything is read.
func (h *Handler) calledBy(next http.HandlerFunc) http.HandlerFunc {
	if h.config.Callers == nil {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		why := h.config.Callers.admits(r)
		if why == "" {
			next(w, r)
			return
		}
		h.metrics.strangers.Inc()
		h.config.Log.Warn("review refused", "remote", r.RemoteAddr, "reason", why)
		fail(w, http.StatusForbidden, why)
	}
}
