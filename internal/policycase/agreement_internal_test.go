package policycase

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

// TestExplanationsAgree: what an explanation says had to allow, and which
// statements it says decide, is what the decision was made of.
func TestExplanationsAgree(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../test/conformance/policy/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of cases: %v", err)
	}
	var decider Decider
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			request, policies, actions, err := decider.read(c)
			if err != nil {
				t.Fatal(err)
			}
			decision, _ := policy.DecideAll(request, actions, policies)
			agree(t, c.Name, decision, policy.ExplainAll(request, actions, policies))
		}
	}
}

func agree(t *testing.T, name string, decision policy.Decision, e *policy.Explanation) {
	t.Helper()
	allowed := decision.Effect == policy.Allowed
	if e.Decision != decision.Effect.String() {
		t.Errorf("%s: %s, explained as %s", name, decision.Effect, e.Decision)
	}
	lacking := false
	for _, need := range e.Needed {
		lacking = lacking || need.Got != "allow"
	}
	if lacking == allowed && e.Reason != "root-cannot-assume" {
		t.Errorf("%s: %s (%s), needed %+v", name, e.Decision, e.Reason, e.Needed)
	}
	for _, document := range e.Documents {
		for _, s := range document.Statements {
			if s.Role == "decides" && (s.Effect == "Allow") != allowed {
				t.Errorf("%s: %s, but a %s of %s decides", name, e.Decision, s.Effect, document.Name)
			}
		}
	}
	for _, miss := range e.NearMisses {
		if allowed != (miss.Effect == "Deny") {
			t.Errorf("%s: %s, near miss %+v", name, e.Decision, miss)
		}
	}
}
