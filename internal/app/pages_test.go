//go:build unix

package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rolecall/rolecall/test/pages"
)

// TestPages runs the commands of these pages, each page in one shell and in order,
// beside the tree's examples. The one liberty is that local AWS takes
// any free port. Pages that need an API server are run by test/integration.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, name := range pages.Local {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			program(t, "aws")
			program(t, "curl")
			page, err := pages.Read(filepath.Join("..", "..", name))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS(filepath.Join("..", "..", "examples"))); err != nil {
				t.Fatal(err)
			}
			localScript(t, dir, page.Script(dir))
			if err := page.Check(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// localEnvironment has nothing of the user's AWS, and a plane of its own.
func localEnvironment(t *testing.T, dir string) []string {
	bin := filepath.Join(dir, "bin")
	rolecall := "#!/bin/sh\n" +
		"case \"$1 $2\" in\n" +
		"  up*) shift; set -- up --listen 127.0.0.1:0 \"$@\";;\n" +
		"  'serve aws') shift 2; set -- serve aws --listen 127.0.0.1:0 \"$@\";;\n" +
		"esac\n" +
		"exec '" + program(t, "rolecall") + "' \"$@\"\n"
	// What the tree's own command is built from need not be built once more.
	golang := "#!/bin/sh\n[ \"$1 $2\" = 'run ./cmd/rolecall' ] || exit 1\nshift 2\nexec '" + bin + "/rolecall' \"$@\"\n"
	//nolint:gosec // programs
	if err := errors.Join(os.Mkdir(bin, 0o700),
		os.WriteFile(filepath.Join(bin, "rolecall"), []byte(rolecall), 0o700),
		os.WriteFile(filepath.Join(bin, "go"), []byte(golang), 0o700)); err != nil {
		t.Fatal(err)
	}
	return pages.Environment(dir)
}
