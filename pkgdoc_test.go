package rolecall_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// bounds are the ways in which a package comment says what the package does not
// do.
var bounds = regexp.MustCompile(`(?i)\b(not|no|nothing|neither|never|nowhere)\b`)

// TestPackageDocs: every package says once what it is for and what it does not
// do, every exported name has a comment.
func TestPackageDocs(t *testing.T) {
	t.Parallel()
	for _, line := range goList(t, `{{.Dir}} {{join .GoFiles " "}}`) {
		fields := strings.Fields(line)
		if len(fields) == 1 {
			continue // tests only
		}
		var docs []string
		for _, name := range fields[1:] {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(fields[0], name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if file.Doc != nil {
				docs = append(docs, file.Doc.Text())
			}
			for _, missing := range undocumented(file) {
				t.Errorf("%s: exported %s has no comment", filepath.Join(fields[0], name), missing)
			}
		}
		switch {
		case len(docs) != 1:
			t.Errorf("%s has %d package comments, want 1", fields[0], len(docs))
		case !bounds.MatchString(docs[0]):
			t.Errorf("the comment of %s does not say what the package does not do", fields[0])
		}
	}
}

func undocumented(file *ast.File) []string {
	var names []string
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				names = append(names, undocumentedSpec(d, spec)...)
			}
		}
	}
	return names
}

func undocumentedSpec(d *ast.GenDecl, spec ast.Spec) []string {
	var names []string
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
			names = append(names, s.Name.Name)
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	kind := d.Recv.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	name, ok := kind.(*ast.Ident)
	return ok && name.IsExported()
}

// TestRepositoryDocs: the files a newcomer looks for, and links of all pages that lead
// somewhere.
func TestRepositoryDocs(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs/architecture.md"} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	link := regexp.MustCompile(`\]\(([^)#: *]+)(?:#[^)]*)?\)`)
	for file, text := range treeFiles(t, ".md") {
		for _, link := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", file, link[1], err)
			}
		}
	}
}

func goList(t *testing.T, format string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", format, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
