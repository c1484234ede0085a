package association_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/store/boltstore"
)

// FuzzValidate: what is accepted names one account and one role.
func FuzzValidate(f *testing.F) {
	f.Add("shop", "cart", role, "${namespace}", readOnly)
	f.Add("shop", "cart\n", role+"\n", "${x}", "{")
	f.Fuzz(func(t *testing.T, namespace, account, roleARN, tag, policy string) {
		a := good()
		a.Namespace, a.Name, a.Spec.ServiceAccountName = namespace, account, account
		a.Spec.RoleARN, a.Spec.SessionPolicy = roleARN, policy
		a.Spec.SessionTags = map[string]string{"k": tag}
		loose, strict := association.Validate(a, false), association.Validate(a, true)
		if strict == nil && loose != nil {
			t.Fatalf("strict accepts what is refused: %v", loose)
		}
		if loose != nil {
			return
		}
		if _, err := arn.ParseRole(roleARN); err != nil ||
			strings.ContainsAny(roleARN+namespace+account, "*?\n\r \"$") {
			t.Fatalf("accepted: %q %q %q", namespace, account, roleARN)
		}
	})
}

// FuzzPageToken: no text but one that was given begins in the middle.
func FuzzPageToken(f *testing.F) {
	f.Add("x")
	f.Add("YS0wMDAwMDAwMDAwMDAwMDAwMCBmb28")
	service := association.Service{Store: boltstore.Memory(time.Now), Now: time.Now}
	f.Fuzz(func(t *testing.T, token string) {
		if _, _, err := service.List(t.Context(), association.ListInput{
			NextToken: token,
		}); (err == nil) != (token == "") {
			t.Fatalf("%q: %v", token, err)
		}
	})
}

// FuzzModified: anybody who may write an object may write its annotations.
func FuzzModified(f *testing.F) {
	f.Add("a b 2026-11-21T10:00:00.5Z 1", `{"f:spec":{}}`)
	f.Add("", "{")
	f.Fuzz(func(t *testing.T, text, fields string) {
		at := metav1.Unix(1790000000, 0)
		a := &v1alpha1.PodIdentityAssociation{ObjectMeta: metav1.ObjectMeta{
			Generation:        1,
			CreationTimestamp: at,
			Annotations:       map[string]string{association.UpdateRequest: text},
			ManagedFields: []metav1.ManagedFieldsEntry{
				{Time: &at, FieldsV1: metav1.NewFieldsV1(fields)}, {Time: &at},
			},
		}}
		if got := association.Modified(a); got.Before(at.Time) {
			t.Fatalf("%q: modified %s, before it was created", text, got)
		}
	})
}

func TestTouch(t *testing.T) {
	t.Parallel()
	now := time.Unix(1790000000, 0)
	var status v1alpha1.PodIdentityAssociationStatus
	for _, row := range []struct {
		after time.Duration
		want  bool
	}{
		{0, true},
		{time.Minute, false},
		{-time.Hour, false},
		{time.Hour, true},
		{time.Hour, false},
		{119 * time.Minute, false},
		{2 * time.Hour, true},
	} {
		before := status.LastUsedTime.DeepCopy()
		if got := association.Touch(&status,
			now.Add(row.after)); got != row.want || !got && !status.LastUsedTime.Equal(before) {
			t.Errorf("after %s: %v, %s", row.after, got, status.LastUsedTime)
		}
	}
}

// TestTouchContradicted: a use of an association of which the status says that it gives
// nothing is written soon, and less and less often as long as nobody changes that.
func TestTouchContradicted(t *testing.T) {
	t.Parallel()
	start := time.Unix(1790000000, 0)
	status := v1alpha1.PodIdentityAssociationStatus{Conditions: []metav1.Condition{{
		Type: "Ready", Status: metav1.ConditionFalse, LastTransitionTime: metav1.NewTime(start),
	}}}
	var written []time.Duration
	for at := time.Duration(0); at <= 6*time.Hour; at += time.Second {
		if association.Touch(&status, start.Add(at)) {
			written = append(written, at)
		}
	}
	want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 64, 124, 184, 244, 304}
	for i := range want {
		want[i] *= time.Minute
	}
	if !slices.Equal(written, want) {
		t.Errorf("written at %v, want %v", written, want)
	}
	status.Conditions[0].Status = metav1.ConditionTrue
	if association.Touch(&status, status.LastUsedTime.Add(59*time.Minute)) {
		t.Error("written within the hour though nothing is contradicted")
	}
}
