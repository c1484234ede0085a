package webhook

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics keep the reference's names, so that dashboards go on working; the
// histogram in seconds is ours (spec webhook §13).
type metrics struct {
	mutated  *prometheus.CounterVec
	missing  prometheus.Counter
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		mutated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pod_identity_webhook_pod_count", Help: "Pods that were given an identity, by method.",
		}, []string{"method"}),
		missing: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pod_identity_webhook_missing_sa_count", Help: "Pods whose service account does not exist.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_request_count", Help: "Requests to /mutate, by method, path and status.",
		}, []string{"verb", "path", "code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rolecall_webhook_review_seconds", Help: "Time to answer a review.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
	}
	return m, errors.Join(registry.Register(m.mutated), registry.Register(m.missing), registry.Register(m.requests), registry.Register(m.seconds))
}

func (m *metrics) observe(r *http.Request, code int, took time.Duration) {
	m.requests.WithLabelValues(r.Method, "/mutate", strconv.Itoa(code)).Inc()
	m.seconds.Observe(took.Seconds())
}
