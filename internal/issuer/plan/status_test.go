package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/rotation"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestStateSurvives: what the status keeps is all that decides.
func TestStateSurvives(t *testing.T) {
	t.Parallel()
	for _, phase := range rotation.Phases() {
		want := rotation.State{
			Phase:      phase,
			Since:      noon,
			OldKID:     "a",
			NewKID:     "b",
			SeenAt:     noon,
			SwitchedAt: noon.Add(time.Hour),
		}
		var object v1alpha1.Issuer
		plan.SetState(&object.Status, want, rotation.Gate{NotBefore: noon, Waiting: []string{"wait"}}, 2)
		got := plan.StateOf(&object, noon)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", phase, diff)
		}
	}
}

// TestEmergencyIsDeclared: what the spec says has leaked decides, in every phase.
func TestEmergencyIsDeclared(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		phase  rotation.Phase
		leaked string
		want   bool
	}{
		{rotation.Stable, "a", false},
		{rotation.KeyCreated, "a", true},
		{rotation.Verifying, "a", true},
		{rotation.Draining, "a", true},
		{rotation.Verifying, "b", false}, // it is given up
		{rotation.Signing, "b", true},
		{rotation.Draining, "b", true},
		{rotation.Draining, "c", false},
	} {
		object := v1alpha1.Issuer{Spec: v1alpha1.IssuerSpec{Rotation: &v1alpha1.Rotation{Leaked: []string{row.leaked}}}}
		plan.SetState(&object.Status, rotation.State{Phase: row.phase, OldKID: "a", NewKID: "b"}, rotation.Gate{}, 0)
		if got := plan.StateOf(&object, noon); got.Emergency != row.want ||
			!slices.Equal(got.Leaked, []string{row.leaked}) {
			t.Errorf("%s, %s has leaked: %+v, want %t", row.phase, row.leaked, got, row.want)
		}
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	spec := &v1alpha1.IssuerSpec{Rotation: &v1alpha1.Rotation{Every: metav1.Duration{Duration: time.Hour}}}
	status := &v1alpha1.IssuerStatus{Keys: []v1alpha1.KeyStatus{
		{
			Role:      plan.RoleVerifying,
			FirstSeen: metav1.NewTime(noon.Add(-9 * time.Hour)),
		},
		{Role: plan.RoleSigning, FirstSeen: metav1.NewTime(noon)},
	}}
	stable := rotation.New(noon)
	for _, row := range []struct {
		name  string
		spec  *v1alpha1.IssuerSpec
		state rotation.State
		after time.Duration
		want  bool
	}{
		{"young", spec, stable, 59 * time.Minute, false},
		{"old", spec, stable, time.Hour, true},
		{"old, but nobody asked", &v1alpha1.IssuerSpec{}, stable, time.Hour, false},
		{"under way", spec, rotation.State{Phase: rotation.Signing}, time.Hour, false},
	} {
		if got := plan.Due(row.spec, status, row.state, noon.Add(row.after)); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}
