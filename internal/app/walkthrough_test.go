//go:build unix

package app_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// walked is one command of a page, and what the page shows of its output.
type walked struct {
	line    int
	command string
	shown   []string
}

// readWalk returns the commands of a page's console blocks: what follows "$ ",
// with continued lines, and the lines below as output.
func readWalk(t *testing.T, page string) []walked {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean(page))
	if err != nil {
		t.Fatal(err)
	}
	var found []walked
	inside := false
	for number, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "```") {
			inside = line == "```console"
			continue
		}
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch last := len(found) - 1; {
		case !inside:
		case isCommand:
			found = append(found, walked{line: number + 1, command: command})
		case len(found[last].shown) == 0 && (strings.HasSuffix(found[last].command, `\`) ||
			strings.Count(found[last].command, "'")%2 == 1):
			found[last].command += "\n" + line
		default:
			found[last].shown = append(found[last].shown, line)
		}
	}
	return found
}

// TestWalkthrough runs the commands of the page, in one shell and in order. Where
// the page shows output it is compared, whatever the exit code; else the command
// must succeed. The one liberty is that the plane takes any free port.
func TestWalkthrough(t *testing.T) {
	t.Parallel()
	program(t, "aws")
	program(t, "curl")
	walk := readWalk(t, "../../docs/guide/pod-identity-walkthrough.md")
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "examples", "pod-identity"),
		os.DirFS("../../examples/pod-identity")); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("trap 'kill $up $old 2>/dev/null' EXIT\n")
	for i, one := range walk {
		// In this shell, for variables and jobs.
		fmt.Fprintf(&script, "{ %s\n} >%s/out.%d 2>&1; echo $? >%s/code.%d\n", one.command, dir, i, dir, i)
	}
	localScript(t, dir, script.String())
	for i, one := range walk {
		read := func(name string) string {
			text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%s.%d", name, i)))
			if err != nil {
				t.Errorf("line %d did not run: %s", one.line, one.command)
			}
			return string(text)
		}
		out, code := read("out"), strings.TrimSpace(read("code"))
		pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(one.shown, "\n")), "…", `(?s:.*)`)
		switch {
		case len(one.shown) == 0 && (code != "0" || out != "" && !strings.Contains(one.command, "wait")):
			t.Errorf("line %d: %s\nexit code %s\n%s", one.line, one.command, code, out)
		case len(one.shown) > 0 && !regexp.MustCompile(`^\s*`+pattern+`\s*$`).MatchString(out):
			t.Errorf("line %d: %s\nprints\n%s\nwant\n%s", one.line, one.command, out, strings.Join(one.shown, "\n"))
		}
	}
}

// localEnvironment has nothing of the user's AWS, and a plane of its own.
func localEnvironment(t *testing.T, dir string) []string {
	wrapper := "#!/bin/sh\nif [ \"$1\" = up ]; then shift; set -- up --listen 127.0.0.1:0 \"$@\"; fi\n" +
		"exec '" + program(t, "rolecall") + "' \"$@\"\n"
	bin := filepath.Join(dir, "bin")
	//nolint:gosec // a program
	if err := errors.Join(os.Mkdir(bin, 0o700),
		os.WriteFile(filepath.Join(bin, "rolecall"), []byte(wrapper), 0o700)); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "TMPDIR=" + dir,
		"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
	}
	for _, name := range []string{"PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV"} {
		if value, found := os.LookupEnv(name); found {
			env = append(env, name+"="+value)
		}
	}
	return env
}
