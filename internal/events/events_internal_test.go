package events

import (
	"fmt"
	"testing"
	"time"
)

// TestDue: the same is said once in a while, other things at once, and a storm of
// different things is cut off (spec podidentity §19.9).
func TestDue(t *testing.T) {
	t.Parallel()
	now := time.Unix(1790000000, 0)
	w := New(nil, "test", 10*time.Minute, func() time.Time { return now })
	for _, row := range []struct {
		after time.Duration
		key   string
		want  bool
	}{
		{0, "u1 AccessDeniedException", true},
		{0, "u1 AccessDeniedException", false},
		{0, "u1 ResourceNotFoundException", true},
		{0, "u2 AccessDeniedException", true},
		{10*time.Minute - time.Second, "u1 AccessDeniedException", false},
		{time.Second, "u1 AccessDeniedException", true},
		{time.Second, "u1 AccessDeniedException", false},
	} {
		now = now.Add(row.after)
		if got := w.due(row.key); got != row.want {
			t.Errorf("%s at %s: %v, want %v", row.key, now, got, row.want)
		}
	}
	said := 0
	for i := range 10 * burst {
		if w.due(fmt.Sprint("pod ", i)) {
			said++
		}
	}
	if said == 0 || said > burst {
		t.Errorf("%d of a storm", said)
	}
}
