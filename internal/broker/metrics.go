package broker

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec // by code
	seconds  prometheus.Histogram
	limited  *prometheus.CounterVec // by limit
	eks      *prometheus.CounterVec // by operation and code
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolecall_broker_requests_total", Help: "Requests for sessions, by code; issued if there was one."}, []string{"code"}),
		seconds:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rolecall_broker_request_seconds", Help: "How long requests for sessions took, STS included.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 13)}),
		limited:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolecall_broker_limited_total", Help: "Requests refused by a limit of the broker's own."}, []string{"limit"}),
		eks:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolecall_broker_eks_requests_total", Help: "Requests of the EKS API, by operation and code; ok if it was done."}, []string{"operation", "code"}),
	}
	registry.MustRegister(m.requests, m.seconds, m.limited, m.eks)
	return m
}
