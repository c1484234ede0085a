package access

import (
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Metrics count access entries and identity mappings; labels are bounded by the kinds and
// conditions.
type Metrics struct {
	conditions *prometheus.GaugeVec
	bindings   *prometheus.GaugeVec
}

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		conditions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "rolecall", Name: "access_objects",
			Help: "AccessEntries and IdentityMappings by condition and its status.",
		}, []string{"kind", "condition", "status"}),
		bindings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "rolecall", Name: "access_policy_bindings",
			Help: "Bindings that access entries ask for: those that are there, and those that could not be made.",
		}, []string{"state"}),
	}
	registry.MustRegister(m.conditions, m.bindings)
	return m
}

// observe takes what one run found.
func (m *Metrics) observe(w *world, made *outcome) {
	m.conditions.Reset()
	for _, s := range w.subjects {
		for _, condition := range s.status.Conditions {
			if condition.Status != metav1.ConditionUnknown {
				m.conditions.WithLabelValues(s.kind(), condition.Type, string(condition.Status)).Inc()
			}
		}
	}
	m.bindings.WithLabelValues("bound").Set(float64(made.bound))
	m.bindings.WithLabelValues("missing").Set(float64(len(made.places)))
}
