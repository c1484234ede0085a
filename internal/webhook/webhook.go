// Package webhook is the admission webhook around package inject: it decodes
// AdmissionReviews, finds the pod's service account and answers with a patch.
//
// It does not decide what a pod gets, serves no TLS of its own and registers
// itself nowhere.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/rawjson"
)

// maxReview is above the API server's own limit of about 3 MiB for an object,
// which a review may carry twice (old and new).
const maxReview = 7 << 20

// syncGrace is how long a review may wait for the service accounts to be read
// for the first time, well within the ten seconds an API server waits.
const syncGrace = 3 * time.Second

// ServiceAccounts finds service accounts. Lookup is only called once Synced.
type ServiceAccounts interface {
	// Lookup returns the account's annotations. An account that does not
	// exist is not an error.
	Lookup(ctx context.Context, namespace, name string) (annotations map[string]string, found bool, err error)
	// Synced is closed when all accounts that exist are known.
	Synced() <-chan struct{}
}

// Config is what a webhook is made of. All fields are needed.
type Config struct {
	Settings        inject.Settings
	ServiceAccounts ServiceAccounts
	Metrics         prometheus.Registerer
	Log             *slog.Logger
	Now             func() time.Time
}

// Handler answers /mutate, /healthz and /readyz.
type Handler struct {
	config  Config
	metrics *metrics
	mux     *http.ServeMux
}

// New returns a handler. It registers its metrics; starting the source of
// service accounts is the caller's.
func New(config Config) (*Handler, error) {
	m, err := newMetrics(config.Metrics)
	if err != nil {
		return nil, err
	}
	h := &Handler{config: config, metrics: m, mux: http.NewServeMux()}
	h.mux.HandleFunc("POST /mutate", h.mutate)
	h.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	h.mux.HandleFunc("GET /readyz", h.ready)
	return h, nil
}

// ServeHTTP routes.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// ready is true only when every service account that exists is known: before
// that, pods would be admitted without their role (spec webhook §14 Q1).
func (h *Handler) ready(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-h.config.ServiceAccounts.Synced():
		_, _ = io.WriteString(w, "ok")
	default:
		http.Error(w, "service accounts are not read yet", http.StatusServiceUnavailable)
	}
}

func (h *Handler) mutate(w http.ResponseWriter, r *http.Request) {
	start := h.config.Now()
	code := h.serveReview(w, r)
	h.metrics.observe(r, code, h.config.Now().Sub(start))
}

func (h *Handler) serveReview(w http.ResponseWriter, r *http.Request) int {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return fail(w, http.StatusUnsupportedMediaType, "invalid Content-Type, expected application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a review has at most %d bytes", maxReview))
		}
		return fail(w, http.StatusBadRequest, "the body was cut off")
	}
	select {
	case <-h.config.ServiceAccounts.Synced():
	case <-time.After(syncGrace):
		return fail(w, http.StatusServiceUnavailable, "service accounts are not read yet")
	case <-r.Context().Done():
		return fail(w, http.StatusServiceUnavailable, "cancelled")
	}
	review := decodeReview(body)
	review.Response = h.review(r.Context(), &review)
	if review.Response == nil {
		return fail(w, http.StatusInternalServerError, "the service account could not be read")
	}
	if review.Request != nil {
		review.Response.UID = review.Request.UID
	}
	review.Request = nil
	answer, err := json.Marshal(review)
	if err != nil {
		h.config.Log.Error("review not encoded", "error", err)
		return fail(w, http.StatusInternalServerError, "the answer could not be encoded")
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
	return http.StatusOK
}

func fail(w http.ResponseWriter, code int, message string) int {
	http.Error(w, message, code)
	return code
}

// decodeReview reads a review of version v1 or v1beta1, which have one form.
// What is none has no Request, and is answered as bad content.
func decodeReview(body []byte) admissionv1.AdmissionReview {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		return admissionv1.AdmissionReview{}
	}
	known := review.APIVersion == "admission.k8s.io/v1" || review.APIVersion == "admission.k8s.io/v1beta1"
	if review.Kind != "AdmissionReview" || !known {
		review.Request = nil
	}
	return review
}

// review answers one review; nil if the service account could not be read, so
// that the webhook's failurePolicy decides rather than a silent yes.
func (h *Handler) review(ctx context.Context, review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
	request := review.Request
	switch {
	case request == nil:
		return deny("bad content")
	case request.Resource.Resource != "" && request.Resource.Resource != "pods",
		request.SubResource != "",
		request.Operation != "" && request.Operation != admissionv1.Create:
		return allow()
	case len(request.Object.Raw) == 0:
		return deny("unexpected end of JSON input")
	}
	head, err := inject.ReadHead(rawjson.NewReader(request.Object.Raw))
	switch {
	case err != nil:
		return deny(err.Error())
	case head.Skip:
		return allow()
	}
	name := head.ServiceAccount
	log := h.config.Log.With(obs.KeyNamespace, request.Namespace, obs.KeyServiceAccount, name)
	annotations, found, err := h.lookup(ctx, request.Namespace, name)
	switch {
	case err != nil:
		log.Error("service account not read", "error", err)
		return nil
	case !found:
		h.metrics.missing.Inc()
		log.Warn("pod not mutated", obs.KeyReason, "there is no such service account")
		return allow()
	}
	account := inject.ReadAccount(annotations, h.config.Settings)
	if account.Role == "" {
		return allow()
	}
	result, err := inject.Pod(request.Object.Raw, account, h.config.Settings)
	if err != nil {
		return deny(err.Error())
	}
	return h.answer(log, result)
}

// lookup: a pod without a name for its account is a mirror pod, which must stay
// as it is (spec webhook §4).
func (h *Handler) lookup(ctx context.Context, namespace, name string) (map[string]string, bool, error) {
	if name == "" {
		return nil, false, nil
	}
	return h.config.ServiceAccounts.Lookup(ctx, namespace, name)
}

func (h *Handler) answer(log *slog.Logger, result *inject.Result) *admissionv1.AdmissionResponse {
	response := allow()
	response.Warnings = result.Warnings
	if len(result.Patch) == 0 {
		log.Info("pod not mutated", obs.KeyReason, result.Reason)
		return response
	}
	patch, err := json.Marshal(result.Patch)
	if err != nil {
		return deny("the patch could not be encoded")
	}
	kind := admissionv1.PatchTypeJSONPatch
	response.Patch, response.PatchType = patch, &kind
	h.metrics.mutated.WithLabelValues("sts_web_identity").Inc()
	log.Info("pod mutated", obs.KeyReason, result.Reason, "operations", len(result.Patch))
	return response
}

func allow() *admissionv1.AdmissionResponse { return &admissionv1.AdmissionResponse{Allowed: true} }

func deny(message string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{Message: message}}
}
