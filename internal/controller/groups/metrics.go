package groups

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Metrics count group mappings, and calls to AWS for them.
type Metrics struct {
	conditions *prometheus.GaugeVec
	members    *prometheus.GaugeVec
	synced     *prometheus.GaugeVec
	changes    *prometheus.CounterVec
	calls      *prometheus.CounterVec

	mu   sync.Mutex
	last map[string][]metav1.Condition
}

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		conditions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rolecall_group_mappings", Help: "GroupMappings by condition and its status.",
		}, []string{"condition", "status"}),
		members: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rolecall_group_mapping_members", Help: "Members that a GroupMapping counts.",
		}, []string{"mapping"}),
		synced: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rolecall_group_mapping_last_sync_timestamp_seconds",
			Help: "When IAM last told all members of a GroupMapping's group.",
		}, []string{"mapping"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_group_mapping_changes_total", Help: "Members that were added and removed.",
		}, []string{"change"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_group_mapping_aws_calls_total", Help: "Calls to AWS for all GroupMappings, by result.",
		}, []string{"result"}),
		last: map[string][]metav1.Condition{},
	}
	registry.MustRegister(m.conditions, m.members, m.synced, m.changes, m.calls)
	return m
}

// called counts a call.
func (m *Metrics) called(failed *failure) {
	result := "OK"
	if failed != nil {
		result = failed.reason
	}
	m.calls.WithLabelValues(result).Inc()
}

// observe takes what is known of a mapping.
func (m *Metrics) observe(object *v1alpha1.GroupMapping) {
	m.count(object.Name, object.Status.Conditions)
	m.members.WithLabelValues(object.Name).Set(float64(len(object.Status.Members)))
}

// forget is for a mapping that is gone.
func (m *Metrics) forget(name string) {
	m.count(name, nil)
	m.members.DeleteLabelValues(name)
	m.synced.DeleteLabelValues(name)
}

func (m *Metrics) count(name string, conditions []metav1.Condition) {
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
