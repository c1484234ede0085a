package webhook

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics keep the reference's names, so that dashboards keep working; those
// that begin with rolecall_ are ours (spec webhook §13).
type metrics struct {
	used      prometheus.Gauge
	mutated   *prometheus.CounterVec
	missing   prometheus.Counter
	malformed prometheus.Counter
	refused   *prometheus.CounterVec
	unread    prometheus.Counter
	strangers prometheus.Counter
	writes    *prometheus.CounterVec
	requests  *prometheus.CounterVec
	latencies *prometheus.HistogramVec
	summary   *prometheus.SummaryVec
	seconds   prometheus.Histogram
	usual     usualRequest
}

// usualRequest are the counters of what nearly all requests are, looked up once.
type usualRequest struct {
	count     prometheus.Counter
	latencies prometheus.Observer
	summary   prometheus.Observer
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		used: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pod_identity_webhook_used", Help: "1 once a pod of a known service account was reviewed.",
		}),
		mutated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pod_identity_webhook_pod_count", Help: "Pods that were given an identity, by method.",
		}, []string{"method"}),
		missing: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pod_identity_webhook_missing_sa_count", Help: "Pods whose service account does not exist.",
		}),
		malformed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rolecall_webhook_malformed_role_total", Help: "Pods whose role is not a role ARN.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_webhook_refused_total",
			Help: "Pods that were not given the identity they are meant to have, or not admitted, by kind.",
		}, []string{"kind"}),
		unread: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rolecall_webhook_associations_unread_total",
			Help: "Pods for which the API server did not say in time which PodIdentityAssociations there are.",
		}),
		strangers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rolecall_webhook_strangers_total",
			Help: "Reviews that were refused because they did not come from an API server.",
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_webhook_association_writes_total",
			Help: "Reviews of PodIdentityAssociations that are written, by result.",
		}, []string{"result"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_request_count", Help: "Requests, by method, path and status.",
		}, []string{"verb", "path", "code"}),
		latencies: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_latencies", Help: "Time to answer in microseconds, in the reference's buckets.",
			Buckets: prometheus.ExponentialBuckets(125000, 2, 7),
		}, []string{"verb", "path"}),
		summary: prometheus.NewSummaryVec(prometheus.SummaryOpts{
			Name: "http_request_duration_microseconds", Help: "Time to answer in microseconds.", MaxAge: time.Hour,
		}, []string{"verb", "path"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rolecall_webhook_review_seconds", Help: "Time to answer a review.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
	}
	for _, method := range []string{"sts_web_identity", "container_credentials"} {
		m.mutated.WithLabelValues(method)
	}
	m.usual = usualRequest{
		m.requests.WithLabelValues(http.MethodPost, "/mutate", "200"),
		m.latencies.WithLabelValues(http.MethodPost, "/mutate"),
		m.summary.WithLabelValues(http.MethodPost, "/mutate"),
	}
	for _, one := range []prometheus.Collector{
		m.used, m.mutated, m.missing, m.malformed, m.refused, m.unread, m.strangers, m.writes, m.requests, m.latencies, m.summary,
		m.seconds,
	} {
		if err := registry.Register(one); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts a request to a path of the routes, never to one made up.
func (m *metrics) observe(r *http.Request, path string, code int, took time.Duration) {
	microseconds := float64(took.Microseconds())
	if path == "/mutate" && code == http.StatusOK {
		m.usual.count.Inc()
		m.usual.latencies.Observe(microseconds)
		m.usual.summary.Observe(microseconds)
		m.seconds.Observe(took.Seconds())
		return
	}
	m.requests.WithLabelValues(r.Method, path, strconv.Itoa(code)).Inc()
	m.latencies.WithLabelValues(r.Method, path).Observe(microseconds)
	m.summary.WithLabelValues(r.Method, path).Observe(microseconds)
	if path == "/mutate" {
		m.seconds.Observe(took.Seconds())
	}
}
