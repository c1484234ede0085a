package association

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Metrics count associations; labels are bounded by the conditions.
type Metrics struct {
	conditions *prometheus.GaugeVec
	grants     prometheus.Gauge
	emptied    prometheus.Counter

	mu   sync.Mutex
	last map[types.NamespacedName][]metav1.Condition
}

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		conditions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "rolecall", Name: "associations", Help: "Pod Identity associations by condition and its status.",
		}, []string{"condition", "status"}),
		grants: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rolecall_role_grants", Help: "RoleGrants after the last change of one.",
		}),
		emptied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rolecall_role_grants_emptied_total", Help: "How often the last RoleGrant went away.",
		}),
		last: map[types.NamespacedName][]metav1.Condition{},
	}
	registry.MustRegister(m.conditions, m.grants, m.emptied)
	return m
}

// observe takes an association's conditions; nil forgets it.
func (m *Metrics) observe(name types.NamespacedName, conditions []metav1.Condition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, condition := range m.last[name] {
		m.conditions.WithLabelValues(condition.Type, string(condition.Status)).Dec()
	}
	for _, condition := range conditions {
		m.conditions.WithLabelValues(condition.Type, string(condition.Status)).Inc()
	}
	if m.last[name] = append([]metav1.Condition(nil), conditions...); conditions == nil {
		delete(m.last, name)
	}
}
