package issuer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Metrics are the controller's; labels are bounded by the Issuers and their keys.
type Metrics struct {
	keyAge    *prometheus.GaugeVec
	published *prometheus.GaugeVec
	verified  *prometheus.GaugeVec
	phase     *prometheus.GaugeVec
}

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		vector := prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "rolecall",
			Subsystem: "issuer",
			Name:      name,
			Help:      help,
		}, labels)
		registry.MustRegister(vector)
		return vector
	}
	return &Metrics{
		keyAge:    gauge("key_age_seconds", "Time since a published key was first seen.", "issuer", "kid", "role"),
		published: gauge("last_publish_timestamp_seconds", "When the documents were last written.", "issuer"),
		verified: gauge("last_successful_verification_timestamp_seconds",
			"When the published documents were last read and found sound.", "issuer"),
		phase: gauge("rotation_phase", "1 for the phase that a rotation is in.", "issuer", "phase"),
	}
}

func (m *Metrics) observe(object *v1alpha1.Issuer, now time.Time) {
	m.forget(object.Name)
	for _, key := range object.Status.Keys {
		m.keyAge.WithLabelValues(object.Name, key.KID, key.Role).Set(now.Sub(key.FirstSeen.Time).Seconds())
	}
	if at := object.Status.PublishedAt; at != nil {
		m.published.WithLabelValues(object.Name).Set(float64(at.Unix()))
	}
	if at := object.Status.VerifiedAt; at != nil {
		m.verified.WithLabelValues(object.Name).Set(float64(at.Unix()))
	}
	if r := object.Status.Rotation; r != nil {
		m.phase.WithLabelValues(object.Name, string(r.Phase)).Set(1)
	}
}

// forget removes an Issuer that is gone.
func (m *Metrics) forget(name string) {
	for _, vector := range []*prometheus.GaugeVec{m.keyAge, m.published, m.verified, m.phase} {
		vector.DeletePartialMatch(prometheus.Labels{"issuer": name})
	}
}
