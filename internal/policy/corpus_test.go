package policy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rolecall/rolecall/internal/policycase"
)

// TestCorpus decides every case of test/conformance/policy, each with its
// explanation. Package policycase, which reads the files, runs them too; from
// here a broken rule fails where it was broken.
func TestCorpus(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../test/conformance/policy/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of cases: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cases, err := policycase.Parse(text)
			if err != nil || len(cases) == 0 {
				t.Fatalf("%d cases, %v", len(cases), err)
			}
			decider := policycase.Decider{Explain: true}
			for _, one := range cases {
				verdict := decider.Decide(one)
				switch {
				case verdict.Error != "":
					t.Errorf("%s: cannot be decided: %s", one.Name, verdict.Error)
				case verdict.Expect == "" || verdict.Because == "":
					t.Errorf("%s: expects %q, and is explained as %q", one.Name, verdict.Expect, verdict.Because)
				case !verdict.Holds:
					t.Errorf("%s: %s (%s), want %s\n%s", one.Name, verdict.Effect, verdict.Reason, verdict.Expect,
						verdict.Because)
				}
			}
		})
	}
}
