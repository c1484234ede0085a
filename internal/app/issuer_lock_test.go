package app_test

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/app"
)

// TestIssuerFolderIsLocked: while one process works in a folder others are
// refused, and one that was killed leaves no lock behind.
func TestIssuerFolderIsLocked(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "i")
	run := func(args ...string) (int, string) {
		var output bytes.Buffer
		system := app.NewSystem()
		system.Stdout, system.Stderr = &output, &output
		return app.Run(t.Context(), system, append([]string{"issuer"}, args...)), output.String()
	}
	initialise := []string{
		"init", "--name", "c1", "--dir", dir, "--url", "https://issuer.example/c1", "--directory",
		t.TempDir(), "--without-provider", "--read-back", "0",
	}
	if code, said := run(initialise...); code != 0 {
		t.Fatal(said)
	}
	// It publishes, and then waits for readers that never find it.
	holder := exec.CommandContext(t.Context(), "rolecall", "issuer", "publish", "--dir", dir, "--read-back", "1h",
		"--issuer-endpoint", "issuer.example=127.0.0.1:1")
	stderr, err := holder.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	ended := func() { _ = holder.Process.Kill(); _ = holder.Wait() }
	t.Cleanup(ended)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "unchanged at") {
		t.Log(lines.Text())
	}
	publish := []string{"publish", "--dir", dir, "--read-back", "0"}
	for _, args := range [][]string{publish, initialise} {
		if code, said := run(args...); code != 1 || !strings.Contains(said, "another command works in "+dir) ||
			!strings.Contains(said, "hint: ") {
			t.Errorf("%s beside another: %d %s", args[0], code, said)
		}
	}
	ended()
	if code, said := run(publish...); code != 0 {
		t.Errorf("after the other was killed: %s", said)
	}
}
