package association

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestInjected(t *testing.T) {
	t.Parallel()
	many := []string{"p1", "p2", "p3", "p4", "p5", "p6"}
	for _, row := range []struct {
		missed []string
		status metav1.ConditionStatus
		says   []string
		not    string
	}{
		{nil, metav1.ConditionTrue, []string{"no pod"}, "restart"},
		{many[:1], metav1.ConditionFalse, []string{"1 pod runs", "p1", "restarted"}, "…"},
		{many[:5], metav1.ConditionFalse, []string{"5 pods run", "p1, p2, p3, p4, p5"}, "…"},
		{many, metav1.ConditionFalse, []string{"6 pods run", "p5, …"}, "p6"},
	} {
		got := injected(row.missed)
		for _, say := range row.says {
			if got.status != row.status || !strings.Contains(got.message, say) || strings.Contains(got.message, row.not) {
				t.Errorf("%v: %s %s", row.missed, got.status, got.message)
			}
		}
	}
}
