package rolecall_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDeniedNames: closed rooms do not ask for the time, print, draw keys or open
// connections with packages that they import for something else.
func TestDeniedNames(t *testing.T) {
	t.Parallel()
	said, files := map[string]bool{}, 0
	for room := range readGraph(t) {
		if at, _ := layerOf(room); !isOurs(room) || at < 0 || !layers[at].closed {
			continue
		}
		names, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files++
			for _, complaint := range deniedIn(room, name, string(text), said) {
				t.Error(complaint)
			}
		}
	}
	if files < 50 {
		t.Errorf("only %d files found", files)
	}
	for _, a := range admitted {
		if !said[a.room+" "+a.of+"."+a.name] {
			t.Errorf("layers_test.go: %s does not say %s.%s", a.room, a.of, a.name)
		}
	}
}

// TestDeniedNamesNotices: each way to say such a name is seen, and what only looks like
// one is not.
func TestDeniedNamesNotices(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ imports, code, want string }{
		{`"time"`, "time.Now()", "internal/policy must not say time.Now"},
		{`"time"`, "time.Since(t)", "internal/policy must not say time.Since"},
		{`"time"`, "time.Until(t)", "internal/policy must not say time.Until"},
		{`"time"`, "time.After(1)", "internal/policy must not say time.After"},
		{`"time"`, "time.AfterFunc(1, f)", "internal/policy must not say time.AfterFunc"},
		{`"time"`, "time.NewTimer(1)", "internal/policy must not say time.NewTimer"},
		{`"time"`, "time.NewTicker(1)", "internal/policy must not say time.NewTicker"},
		{`"time"`, "time.Tick(1)", "internal/policy must not say time.Tick"},
		{`"time"`, "time.Sleep(1)", "internal/policy must not say time.Sleep"},
		{`"time"`, "clock(time.Now)", "internal/policy must not say time.Now"},
		{`clock "time"`, "clock.Now()", "internal/policy must not say time.Now"},
		{`. "time"`, "Now()", "internal/policy must not import time with a dot"},
		{`"k8s.io/apimachinery/pkg/apis/meta/v1"`, "v1.Now()", "must not say k8s.io/apimachinery/pkg/apis/meta/v1.Now"},
		{`"context"`, "context.WithTimeout(c, 1)", "must not say context.WithTimeout"},
		{`"fmt"`, `fmt.Println()`, "must not say fmt.Println"},
		{`"net/http"`, `http.Get(url)`, "must not say net/http.Get"},
		{`"time"`, "time.Unix(1, 0).After(t)", ""},
		{`"time"`, "last.time.After(t)", ""},
		{`"fmt"`, "fmt.Sprint(time.Now())", ""}, // time is something else here
	} {
		text := "package policy\nimport " + row.imports + "\nfunc a() { use(" + row.code + ") }\n"
		got := strings.Join(deniedIn("internal/policy", "a.go", text, map[string]bool{}), "\n")
		if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.code, got, row.want)
		}
	}
	keys := "package token\nimport \"crypto/rsa\"\nfunc a() { rsa.GenerateKey(r, 1) }\n"
	if got := deniedIn("internal/token", "a.go", keys, map[string]bool{}); len(got) > 0 {
		t.Errorf("the room that makes keys: got %q", got)
	}
	if got := deniedIn("internal/trust", "a.go", keys, map[string]bool{}); len(got) != 1 {
		t.Errorf("a room that makes none: got %q", got)
	}
}

// version is the last element of an import path that names no package.
var version = regexp.MustCompile(`^v\d+$`)

// deniedIn returns where a file says what its room may not, and notes in said what it
// says.
func deniedIn(room, name, text string, said map[string]bool) []string {
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, text, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	packages := map[string]string{}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return []string{err.Error()}
		}
		local := path.Base(imported)
		if version.MatchString(local) && strings.Count(imported, "/") == 2 {
			local = path.Base(path.Dir(imported))
		}
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == "." {
			found = append(found, fmt.Sprintf("%s: %s must not import %s with a dot", name, room, imported))
		}
		packages[local] = imported
	}
	ast.Inspect(file, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of, ok := selector.X.(*ast.Ident)
		if !ok || packages[of.Name] == "" {
			return true
		}
		for _, d := range denied {
			if d.of != packages[of.Name] || !slices.Contains(d.names, selector.Sel.Name) {
				continue
			}
			full := d.of + "." + selector.Sel.Name
			said[room+" "+full] = true
			for _, a := range admitted {
				if a.room == room && a.of+"."+a.name == full {
					return true
				}
			}
			at := positions.Position(of.Pos())
			found = append(found, fmt.Sprintf("%s: %s must not say %s: %s", at, room, full, d.why))
		}
		return true
	})
	return found
}
