package pages

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/checkout"
)

const page = "text\n" +
	"<!-- run:\nname=world\nprintf '%s\\n' hidden -->\n" +
	"```console\n$ echo hello \\\n  $name |\n cat\nhello world\n$ false\n…\n$ # in another shell\n$ true\n```\n" +
	"```yaml\n$ no command\n```\n" +
	"<!-- server until: test -e up -->\n```console\n$ sh -c 'echo one; touch up\n  sleep 60'\n$ cat $STARTED\none\n```\n" +
	"<!-- not run: it has no end -->\n```sh\nyes\n```\n" +
	"```sh\n\ntest \"$name\" = world\n```\n"

// run runs a page in a folder of its own and judges it.
func run(t *testing.T, text string) error {
	t.Helper()
	read, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	shell := exec.CommandContext(ctx, "sh", "-c", read.Script(dir))
	shell.Dir, shell.Stderr = dir, os.Stderr
	if err := shell.Run(); err != nil {
		t.Fatal(err)
	}
	return read.Check(dir)
}

func TestPage(t *testing.T) {
	t.Parallel()
	if err := run(t, page); err != nil {
		t.Error(err)
	}
	read, err := parse(page)
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Skipped) != 1 || read.Skipped[0].Reason != "it has no end" || len(read.Commands) != 8 {
		t.Errorf("%+v", read)
	}
}

// TestPageThatIsNotTrue: each of these says something that does not happen.
func TestPageThatIsNotTrue(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"another output":       "```console\n$ echo a\nb\n```\n",
		"more output":          "```console\n$ echo a; echo b\na\n```\n",
		"output not shown":     "```console\n$ echo a\n$ echo b\nb\n```\n",
		"failure not shown":    "```console\n$ false\n```\n",
		"sh fails":             "```sh\nfalse\n```\n",
		"preparation fails":    "<!-- run: false -->\n```console\n$ true\n```\n",
		"server ends":          "<!-- server until: false -->\n```console\n$ true\n```\n",
		"shell ends too early": "```console\n$ exit 0\n$ true\n```\n",
	} {
		if err := run(t, text); err == nil {
			t.Errorf("%s: nothing is said", name)
		} else if !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: no line in %v", name, err)
		}
	}
}

func TestPageThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"block without command":   "```console\n```\n",
		"output first":            "```console\na\n$ b\n```\n",
		"directive without block": "<!-- run: true -->\n",
		"directive without text":  "<!-- not run: -->\n```sh\ntrue\n```\n",
		"comment without end":     "<!-- run: true\n```sh\ntrue\n```\n",
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "absent.md")); err == nil {
		t.Error("a page that is not there is read")
	}
}

// TestEveryPage: each page of the guide is read by somebody.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(root, "docs", "guide", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	run := map[string]bool{}
	for _, name := range slices.Concat(Local, Cluster) {
		run[filepath.Join(root, name)] = true
		if _, err := Read(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	for _, file := range append(found, filepath.Join(root, "README.md")) {
		if !run[file] {
			t.Errorf("nobody runs the commands of %s: add it to Local or Cluster", file)
		}
	}
}
