package agent

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are ours, and the reference's three so that dashboards go on working
// (spec podidentity §9.2). No label holds a namespace, pod or role.
type metrics struct {
	requests       *prometheus.CounterVec
	seconds        prometheus.Histogram
	calls          *prometheus.CounterVec
	callSeconds    prometheus.Histogram
	evictions      *prometheus.CounterVec
	renewals       *prometheus.CounterVec
	lag            prometheus.Histogram
	limits         *prometheus.CounterVec
	up             prometheus.Gauge
	verifications  *prometheus.CounterVec
	legacyResponse *prometheus.CounterVec
	legacyErrors   *prometheus.CounterVec
	legacyState    *prometheus.CounterVec
	// hit is the sample of almost every answer, found once.
	hit, legacyOK prometheus.Counter
}

func newMetrics(config Config, state func() (entries int, least time.Duration, found bool)) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	answers := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	m := &metrics{
		requests: counter(
			"rolecall_agent_requests_total", "Answers of the credential endpoint.", "code", "source",
		),
		seconds: histogram("rolecall_agent_request_seconds", "Time to answer.", answers),
		calls: counter(
			"rolecall_agent_upstream_requests_total", "Attempts at the upstream, by its error code.", "code",
		),
		callSeconds: histogram("rolecall_agent_upstream_seconds", "Time of one attempt.", answers),
		evictions: counter(
			"rolecall_agent_cache_evictions_total",
			"Pods whose credentials were forgotten before they expired.", "reason",
		),
		renewals: counter("rolecall_agent_refresh_total", "Renewals in the background.", "result"),
		lag: histogram(
			"rolecall_agent_refresh_lag_seconds", "How late renewals begin.", []float64{1, 5, 15, 60, 300, 900, 3600},
		),
		limits: counter("rolecall_agent_limited_total", "Requests that met a limit.", "limit"),
		up: prometheus.NewGauge(
			prometheus.GaugeOpts{Name: "rolecall_agent_upstream_up", Help: "1 while the upstream answers."},
		),
		verifications: counter(
			"rolecall_agent_local_verify_total", "Tokens that were verified with local keys.", "result",
		),
		legacyResponse: counter("pod_identity_http_response", "Answers of the credential endpoint.", "code"),
		legacyErrors:   counter("pod_identity_cache_errors", "Renewals that failed.", "type", "code"),
		legacyState:    counter("pod_identity_cache_state", "hit counts renewals, as AWS's agent does it.", "state"),
	}
	m.hit, m.legacyOK = m.requests.WithLabelValues("200", sourceCache), m.legacyResponse.WithLabelValues("200")
	entries := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rolecall_agent_cache_entries",
		Help: "Pods that have credentials here.",
	},
		func() float64 { n, _, _ := state(); return float64(n) })
	least := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rolecall_agent_min_remaining_seconds",
		Help: "Shortest remaining life of the credentials used in the last hour; -1 if there are none.",
	}, func() float64 {
		if _, remaining, found := state(); found {
			return remaining.Seconds()
		}
		return -1
	})
	all := []prometheus.Collector{
		m.requests, m.seconds, m.calls, m.callSeconds, m.evictions, m.renewals, m.lag, m.limits, m.up, m.verifications,
		entries, least,
	}
	if config.LegacyMetrics {
		all = append(all, m.legacyResponse, m.legacyErrors, m.legacyState)
	}
	var err error
	for _, one := range all {
		err = errors.Join(err, config.Metrics.Register(one))
	}
	return m, err
}

func (m *metrics) answered(status int, source string, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	if status == 200 && source == sourceCache {
		m.hit.Inc()
		m.legacyOK.Inc()
		return
	}
	code := strconv.Itoa(status)
	m.requests.WithLabelValues(code, source).Inc()
	m.legacyResponse.WithLabelValues(code).Inc()
	if source == sourceUpstream {
		m.legacyState.WithLabelValues("miss").Inc()
	}
}

func (m *metrics) upstream(code string, took time.Duration) {
	m.calls.WithLabelValues(code).Inc()
	m.callSeconds.Observe(took.Seconds())
}

// upstreamUp notes whether the upstream answers; a refusal is an answer.
func (m *metrics) upstreamUp(refused *refusal) {
	if refused != nil && refused.class == transient {
		m.up.Set(0)
		return
	}
	m.up.Set(1)
}

func (m *metrics) evicted(reason string) {
	m.evictions.WithLabelValues(reason).Inc()
	m.legacyState.WithLabelValues("evicted").Inc()
}

// renewed counts a renewal; result is "ok", or the reference's word for the
// failure.
func (m *metrics) renewed(result, code string) {
	m.renewals.WithLabelValues(result).Inc()
	if result == "ok" {
		m.legacyState.WithLabelValues("hit").Inc()
		return
	}
	m.legacyErrors.WithLabelValues(result, code).Inc()
}

func (m *metrics) limited(limit string) { m.limits.WithLabelValues(limit).Inc() }

func (m *metrics) localVerify(result verdict) { m.verifications.WithLabelValues(string(result)).Inc() }
