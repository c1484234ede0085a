package association

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
)

// TestRoleMadeLater: an association that is there before its role is looked at again within
// seconds, then less often, and from the beginning when it is changed or used.
func TestRoleMadeLater(t *testing.T) {
	t.Parallel()
	now := time.Unix(1790000000, 0)
	var w waiting
	a := associated(nil)
	a.Generation = 1
	a.Status.Conditions = []metav1.Condition{{Type: conditionRole, Status: metav1.ConditionFalse, Reason: "NoSuchRole"}}
	looks := func(n int) (after []time.Duration) {
		for range n {
			next := w.after(a, now, 30*time.Minute)
			now = now.Add(next)
			after = append(after, next)
		}
		return after
	}
	var backoff []time.Duration
	for next := soonest; next < 30*time.Minute; next *= 2 {
		backoff = append(backoff, next)
	}
	backoff = append([]time.Duration{soonest}, backoff...)
	backoff = append(backoff, 30*time.Minute, 30*time.Minute)
	for _, row := range []struct {
		what   string
		change func()
	}{
		{"as it was made", func() {}},
		{"changed", func() { a.Generation++ }},
		{"used", func() { a.Status.LastUsedTime = &metav1.Time{Time: now} }},
		{"made again", func() { a.UID += "x" }},
		{"forgotten", func() { w.forget(client.ObjectKeyFromObject(a)) }},
	} {
		row.change()
		if got := looks(len(backoff)); !slices.Equal(got, backoff) {
			t.Errorf("%s: %v, want %v", row.what, got, backoff)
		}
	}
	a.Status.Conditions[0].Status = metav1.ConditionTrue
	if got := w.after(a, now, 30*time.Minute); got != 30*time.Minute {
		t.Errorf("as it should be: %s", got)
	}
	if got := w.after(a, now, time.Second); got != time.Second {
		t.Errorf("looked at less often than asked: %s", got)
	}
}

// TestWaitsForIAM: what IAM does not answer is asked again soon, what nobody asks it is not.
func TestWaitsForIAM(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		iam   *heard
		waits bool
		edit  func(*v1alpha1.PodIdentityAssociationSpec)
	}{
		"no role":       {&heard{}, true, nil},
		"no answer":     {&heard{err: fault.New(fault.Unavailable, "IAM does not answer")}, true, nil},
		"refuses":       {&heard{trust: map[string]string{cartRole: statement(federated, `"sts:AssumeRole"`, "")}}, true, nil},
		"allows":        {&heard{trust: map[string]string{cartRole: statement(federated, webTag, "")}}, false, nil},
		"of many":       {&heard{}, true, func(s *v1alpha1.PodIdentityAssociationSpec) { s.AllowPatterns, s.ServiceAccountName = true, "c*" }},
		"not our grant": {&heard{}, false, func(s *v1alpha1.PodIdentityAssociationSpec) { s.Mode = v1alpha1.PassThrough }},
	} {
		if a := looked(t, row.iam, silentPlane, nil, associated(row.edit)); waitsForIAM(a) != row.waits {
			t.Errorf("%s: %+v", name, a.Status.Conditions)
		}
	}
}

// TestUseContradicts: of an association that is not Ready, a session that was issued is news.
func TestUseContradicts(t *testing.T) {
	t.Parallel()
	used := metav1.NewTime(time.Unix(1790000000, 0))
	for _, row := range []struct {
		name   string
		ready  metav1.ConditionStatus
		before *metav1.Time
		after  *metav1.Time
		want   bool
	}{
		{"first use", metav1.ConditionFalse, nil, &used, true},
		{"first use, not known", metav1.ConditionUnknown, nil, &used, true},
		{"used again", metav1.ConditionFalse, &metav1.Time{Time: used.Add(-time.Hour)}, &used, true},
		{"ready", metav1.ConditionTrue, nil, &used, false},
		{"another change of the status", metav1.ConditionFalse, &used, &used, false},
	} {
		before, after := associated(nil), associated(nil)
		before.Status.LastUsedTime, after.Status.LastUsedTime = row.before, row.after
		after.Status.Conditions = []metav1.Condition{{Type: conditionReady, Status: row.ready}}
		if got := usedThoughNotReady().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}
