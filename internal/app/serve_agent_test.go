package app_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/app"
)

// TestAgentFlags: the reference page names every flag, and those of AWS's agent
// have its names, shorthands and defaults.
func TestAgentFlags(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	system := app.NewSystem()
	system.Stdout = &out
	system.Getenv = func(string) string { return "1000" } // columns: each flag has a line
	if code := app.Run(t.Context(), system, []string{"serve", "agent", "--help"}); code != 0 {
		t.Fatal(code)
	}
	page, err := os.ReadFile("../../docs/reference/agent-flags.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range regexp.MustCompile(
		`(?m)^ +(?:-\w, |    )--([a-z0-9-]+)`).FindAllStringSubmatch(out.String(), -1) {
		if flag[1] != "help" && !strings.Contains(string(page), "`--"+flag[1]+"`") {
			t.Errorf("--%s is not in docs/reference/agent-flags.md", flag[1])
		}
	}
	for _, want := range []string{
		`-c, --cluster-name string`, `-b, --bind-hosts strings .*\(default \[169\.254\.170\.23,\[fd00:ec2::23\]\]\)`,
		`-p, --port int .*\(default 80\)`,
		`--probe-port int .*\(default 2703\)`, `--metrics-address string .*\(default "0\.0\.0\.0"\)`,
		`--metrics-port int .*\(default 2705\)`,
		`--max-credential-retention-before-renewal duration .*\(default 3h0m0s\)`,
		`--max-cache-size int .*\(default 2000\)`,
		`--max-service-qps float .*\(default 3\)`, `--rotate-credentials `, `--endpoint string`,
		`-v, --verbosity string .*\(default "info"\)`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the help lacks %s", want)
		}
	}
}
