// Package webhook is the admission webhook around package inject: it decodes
// AdmissionReviews, finds the pod's identity and answers with a patch. Beside that
// it lets package admission decide about associations that are written.
//
// It does not decide what a pod gets or what may be written, serves no TLS of its
// own and registers itself nowhere.
package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/inject"
)

const (
	// maxReview is above the API server's own limit of about 3 MiB for an
	// object, which a review may carry twice (old and new).
	maxReview = 7 << 20
	// maxKept is the largest buffer that is kept for another review.
	maxKept = 256 << 10
	// syncGrace is how long a review may wait for the sources to be read for
	// the first time, well within the ten seconds an API server waits.
	syncGrace = 3 * time.Second
)

// Config is what a webhook is made of. Fields are needed unless they say
// otherwise.
type Config struct {
	Settings        inject.Settings
	ServiceAccounts ServiceAccounts
	// ConfigMap, Identities, Associations and Grants are nil if there are none.
	ConfigMap    follow.Source[*inject.Config]
	Identities   follow.Source[inject.Identities]
	Associations *Associations
	Grants       follow.Source[*grant.Set]
	// Writes adds the review of associations that are written; nil leaves it out.
	Writes *Writes
	// Fallback says what becomes of pods that would use the node's role; the
	// zero value lets them in.
	Fallback Fallback
	// Refused is told of refusals, but not of dry runs; nil tells nobody. It
	// must not block.
	Refused func(Refusal)
	Metrics prometheus.Registerer
	Log     *slog.Logger
	Now     func() time.Time
	// Callers, if not nil, are whom reviews are taken from: others are refused before
	// anything of theirs is read. The TLS configuration must verify client certificates.
	Callers *Callers
	// Standstill says which watches stand still, for /readyz: reviews that need them are
	// answered by asking the API server. Nil says nothing.
	Standstill func() string
	// Debugging adds the reference's routes for trying out failures.
	Debugging bool
}

// Handler answers /mutate, /validate-associations, /healthz and /readyz.
type Handler struct {
	config  Config
	metrics *metrics
	mux     *http.ServeMux
	pods    needs // of reviews of pods
	writes  needs // of reviews of associations
	rereads *turns
	closing atomic.Bool
	buffers sync.Pool // of *buffers
}

// needs are the sources that must have been read before a review is answered.
type needs struct {
	all    []needed
	synced atomic.Bool // all of them
}

type needed struct {
	name   string
	synced <-chan struct{}
}

func (n *needs) add(name string, synced <-chan struct{}) { n.all = append(n.all, needed{name, synced}) }

// buffers are for one review and its answer.
type buffers struct{ body, answer []byte }

// New returns a handler. It registers its metrics; starting the sources is the
// caller's.
func New(config Config) (*Handler, error) {
	m, err := newMetrics(config.Metrics)
	if err != nil {
		return nil, err
	}
	if config.Fallback.Action == "" {
		config.Fallback.Action = Allow
	}
	h := &Handler{
		config: config, metrics: m, mux: http.NewServeMux(), rereads: newTurns(rereadRate, rereadBurst, rereadsOfSource),
	}
	h.pods.add("service accounts", config.ServiceAccounts.Synced())
	if config.ConfigMap != nil {
		h.pods.add("the ConfigMap", config.ConfigMap.Synced())
	}
	if config.Identities != nil {
		h.pods.add("the identities file", config.Identities.Synced())
	}
	if config.Associations != nil {
		h.pods.add("PodIdentityAssociations", config.Associations.Synced())
	}
	if config.Grants != nil {
		h.pods.add("RoleGrants", config.Grants.Synced())
	}
	if config.Writes != nil {
		h.writes.add("RoleGrants", config.Writes.Grants.Synced())
		h.mux.HandleFunc("POST "+ValidatePath, h.calledBy(h.validate))
	}
	h.buffers.New = func() any { return &buffers{body: make([]byte, 0, 8<<10), answer: make([]byte, 0, 4<<10)} }
	h.mux.HandleFunc("POST /mutate", h.calledBy(h.mutate))
	h.mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	h.mux.HandleFunc("GET /readyz", h.ready)
	if config.Debugging {
		h.debugRoutes()
	}
	return h, nil
}

// ServeHTTP routes.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Close makes the handler not ready, so that nobody new is sent here; reviews
// are still answered.
func (h *Handler) Close() { h.closing.Store(true) }

// ready is true only when every source has been read: before that, pods would
// be admitted without their role (spec webhook row Q1).
func (h *Handler) ready(w http.ResponseWriter, _ *http.Request) {
	switch missing := cmp.Or(h.pods.unread(), h.writes.unread()); {
	case h.closing.Load():
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
	case missing != "":
		http.Error(w, missing+" are not read yet", http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(w, "ok")
		if h.config.Standstill == nil {
			return
		}
		if still := h.config.Standstill(); still != "" {
			_, _ = io.WriteString(w, "\n"+still)
		}
	}
}

// unread names a source that has not been read; it is empty if all have.
func (n *needs) unread() string {
	if n.synced.Load() {
		return ""
	}
	for i := range n.all {
		select {
		case <-n.all[i].synced:
		default:
			return n.all[i].name
		}
	}
	n.synced.Store(true)
	return ""
}

// wait waits a little for the sources.
func (n *needs) wait(r *http.Request) (missing string) {
	if n.unread() == "" {
		return ""
	}
	timer := time.NewTimer(syncGrace)
	defer timer.Stop()
	for _, one := range n.all {
		select {
		case <-one.synced:
		case <-timer.C:
			return one.name
		case <-r.Context().Done():
			return one.name
		}
	}
	return ""
}

func (h *Handler) mutate(w http.ResponseWriter, r *http.Request) {
	start := h.config.Now()
	code := h.serveReview(w, r)
	h.metrics.observe(r, "/mutate", code, h.config.Now().Sub(start))
}

func (h *Handler) serveReview(w http.ResponseWriter, r *http.Request) int {
	kept := h.buffers.Get().(*buffers) //nolint:forcetypeassert // what New puts in
	defer func() {
		if cap(kept.body) <= maxKept && cap(kept.answer) <= maxKept {
			h.buffers.Put(kept)
		}
	}()
	var code int
	if kept.body, code = readBody(w, r, kept.body[:0]); code != http.StatusOK {
		return code
	}
	if missing := h.pods.wait(r); missing != "" {
		return fail(w, http.StatusServiceUnavailable, missing+" are not read yet")
	}
	v := readReview(kept.body, h.config.Settings.Conformance)
	a, err := h.decide(withRequest(r), &v)
	switch {
	case errors.Is(err, errStill):
		return fail(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		return fail(w, http.StatusInternalServerError, "the service account could not be read")
	}
	kept.answer = appendAnswer(kept.answer[:0], &v, &a)
	w.Header()["Content-Type"] = jsonType
	_, _ = w.Write(kept.answer)
	return http.StatusOK
}

// readBody reads a review into a buffer that is there; if the code is not 200 it
// has answered.
func readBody(w http.ResponseWriter, r *http.Request, into []byte) (body []byte, code int) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return into, fail(w, http.StatusUnsupportedMediaType, "invalid Content-Type, expected application/json")
	}
	body, err := readAll(into, http.MaxBytesReader(w, r.Body, maxReview))
	if err == nil {
		return body, http.StatusOK
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return body, fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a review has at most %d bytes", maxReview))
	}
	return body, fail(w, http.StatusBadRequest, "the body was cut off")
}

var jsonType = []string{"application/json"}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

// readAll is io.ReadAll into a buffer that is there.
func readAll(into []byte, from io.Reader) ([]byte, error) {
	for {
		if len(into) == cap(into) {
			into = append(into, 0)[:len(into)]
		}
		n, err := from.Read(into[len(into):cap(into)])
		into = into[:len(into)+n]
		if errors.Is(err, io.EOF) {
			return into, nil
		}
		if err != nil {
			return into, err
		}
	}
}

func fail(w http.ResponseWriter, code int, message string) int {
	http.Error(w, message, code)
	return code
}
