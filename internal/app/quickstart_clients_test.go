package app_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/examples/quickstart"
	"github.com/rolecall/rolecall/internal/localaws/seed"
)

// TestQuickstart: the role of the first example reads, as AWS's CLI shows, and
// writes nothing, with the reason on standard error.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		if os.Getenv("ROLECALL_REQUIRE_CLIENTS") != "" {
			t.Fatal("no aws in the path")
		}
		t.Skip("no aws in the path")
	}
	state := t.TempDir()
	run := func(arguments ...string) (code int, stdout, stderr string) {
		program := exec.CommandContext(t.Context(), "rolecall",
			append([]string{"run", "--service-account", "default/s3-reader", "--", "aws", "s3"}, arguments...)...)
		var out, errs strings.Builder
		program.Stdout, program.Stderr = &out, &errs
		program.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+state, "HOME="+state)
		_ = program.Run()
		return program.ProcessState.ExitCode(), out.String(), errs.String()
	}
	if code, out, errs := run("ls"); code != 0 || !strings.Contains(out, " quickstart-111122223333\n") || errs != "" {
		t.Errorf("ls: %d %q %q", code, out, errs)
	}
	if code, out, errs := run("cp", "s3://quickstart-111122223333/greeting.txt", "-"); code != 0 ||
		out != "hello from quickstart\n" || errs != "" {
		t.Errorf("cp: %d %q %q", code, out, errs)
	}
	code, _, errs := run("mb", "s3://x-of-mine")
	for _, want := range []string{
		"AccessDenied", "refused    s3:CreateBucket on arn:aws:s3:::x-of-mine",
		`"AmazonS3ReadOnlyAccess" allows s3:CreateBucket`,
	} {
		if code == 0 || !strings.Contains(errs, want) {
			t.Errorf("mb: %d %s, want %s", code, errs, want)
		}
	}
	if code, _, errs := run("mb", "s3://x"); code == 0 || !strings.Contains(errs, "  because  a bucket's name has 3 to 63 ") {
		t.Errorf("mb of no name: %d %s", code, errs)
	}
}

// TestQuickstartTrust: the two files that have the role's trust policy agree.
func TestQuickstartTrust(t *testing.T) {
	t.Parallel()
	file, err := seed.Parse("aws.yaml", quickstart.AWS)
	if err != nil {
		t.Fatal(err)
	}
	role := file.Accounts[0].Roles[0]
	if role.Name != quickstart.Role || string(role.Trust) != strings.TrimSpace(string(quickstart.TrustPolicy)) {
		t.Errorf("%s: %s", role.Name, role.Trust)
	}
}
