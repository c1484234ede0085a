package signer

import "github.com/prometheus/client_golang/prometheus"

// metrics have no label that a caller chooses.
type metrics struct {
	signatures *prometheus.CounterVec
	signed     prometheus.Counter
	seconds    prometheus.Histogram
	fetches    prometheus.Counter
}

func newMetrics(config Config) *metrics {
	m := &metrics{
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolecall_signer_signatures_total", Help: "Calls of Sign: signed, invalid, no_key or failed."}, []string{"result"}),
		seconds:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rolecall_signer_sign_seconds", Help: "Time to sign.", Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1}}),
		fetches:    prometheus.NewCounter(prometheus.CounterOpts{Name: "rolecall_signer_fetches_total", Help: "Answers to FetchKeys."}),
	}
	m.signed = m.signatures.WithLabelValues("signed")
	gauge := func(name, help string, value func(Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(config.Ring.Look(config.Now())) })
	}
	config.Metrics.MustRegister(m.signatures, m.seconds, m.fetches,
		gauge("rolecall_signer_keys", "Keys that verify tokens.", func(s Status) float64 { return float64(s.Keys) }),
		gauge("rolecall_signer_clients", "Connections of API servers.", func(s Status) float64 { return float64(s.Clients) }),
		gauge("rolecall_signer_held_back_clients", "Connections that delay a key that is due: they have not had it long enough.", func(s Status) float64 { return float64(s.Lacking) }),
		gauge("rolecall_signer_keys_read_timestamp_seconds", "Time when the keys were last read from where they are kept.", func(s Status) float64 { return float64(s.ReadAt.UnixNano()) / 1e9 }))
	return m
}
