package plan_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/issuer/plan"
)

func TestDenyOlderSessions(t *testing.T) {
	t.Parallel()
	got := plan.DenyOlderSessions("reader", noon.Add(1)) // its second is not over
	if !strings.Contains(got, "--role-name reader ") ||
		!strings.Contains(got, `{"DateLessThan":{"aws:TokenIssueTime":"2026-11-21T12:00:01Z"}}`) {
		t.Error(got)
	}
}
