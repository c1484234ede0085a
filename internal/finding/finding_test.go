package finding_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/finding"
)

// TestSeverities: the worst ranks first, and only what is worse than a warning
// fails a check.
func TestSeverities(t *testing.T) {
	t.Parallel()
	want := []finding.Severity{finding.Error, finding.Security, finding.Warning, finding.Info}
	got := []finding.Severity{finding.Warning, finding.Info, finding.Security, finding.Error}
	slices.SortFunc(got, func(a, b finding.Severity) int { return a.Rank() - b.Rank() })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("worst first (-want +got):\n%s", diff)
	}
	for _, severity := range want {
		found := []finding.Finding{{Severity: finding.Info}, {Severity: severity}}
		fails := severity == finding.Error || severity == finding.Security
		if finding.Failed(found) != fails {
			t.Errorf("%s: failed is not %t", severity, fails)
		}
	}
	if finding.Failed(nil) {
		t.Error("nothing found, and failed")
	}
}

// TestJSON: these names are promised to programs.
func TestJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal([]finding.Finding{{
		Severity: finding.Error,
		Rule:     "r",
		Message:  "m",
		AWS:      "a",
		Place:    finding.Place{File: "f", Line: 2, Column: 3},
		Sid:      "s",
		Advice:   "d",
		Suggested: &finding.Fix{
			Description: "t",
			Line:        4,
			Column:      5,
			Old:         "o",
			New:         "n",
			Edit:        finding.Edit{Start: 6, End: 7, Text: "n"},
			Manual:      true,
		},
		Command: "c",
	}, {Severity: finding.Info, Rule: "r", Message: "m"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"severity":"error","rule":"r","message":"m","aws":"a","file":"f","line":2,"column":3,` +
		`"sid":"s","fix":"d",` +
		`"suggested":{"description":"t","line":4,"column":5,"old":"o","new":"n",` +
		`"edit":{"start":6,"end":7,"text":"n"},"manual":true},"command":"c"},` +
		`{"severity":"info","rule":"r","message":"m"}]`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestEdit(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		edit finding.Edit
		want string
	}{
		{finding.Edit{Start: 0, End: 0, Text: "x"}, "xabc"},
		{finding.Edit{Start: 1, End: 2, Text: "xy"}, "axyc"},
		{finding.Edit{Start: 1, End: 3}, "a"},
	} {
		if got := row.edit.Apply("abc"); got != row.want {
			t.Errorf("%+v: got %q, want %q", row.edit, got, row.want)
		}
	}
}
