package rolecall_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestExpressions compiles what the tree gives to lazyregexp.New: without that, an
// expression that is not valid would be found by its first user.
func TestExpressions(t *testing.T) {
	t.Parallel()
	folders := map[string][]*ast.File{}
	files := token.NewFileSet()
	err := filepath.WalkDir("internal", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		folders[filepath.Dir(path)] = append(folders[filepath.Dir(path)], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, folder := range folders {
		texts := constants(folder)
		for _, file := range folder {
			for call := range expressions(file) {
				found++
				where := files.Position(call.Pos())
				text, err := texts.value(call.Args[0])
				if err != nil {
					t.Errorf("%s: %v", where, err)
				} else if _, err := regexp.Compile(text); err != nil {
					t.Errorf("%s: %v", where, err)
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d expressions found: does the test still see them?", found)
	}
}

// expressions yields the calls of lazyregexp.New.
func expressions(file *ast.File) func(yield func(*ast.CallExpr) bool) {
	return func(yield func(*ast.CallExpr) bool) {
		for node := range ast.Preorder(file) {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				continue
			}
			name, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || name.Sel.Name != "New" {
				continue
			}
			if of, ok := name.X.(*ast.Ident); ok && of.Name == "lazyregexp" && !yield(call) {
				return
			}
		}
	}
}

// texts are constants of one package by name.
type texts map[string]ast.Expr

func constants(folder []*ast.File) texts {
	all := texts{}
	for _, file := range folder {
		for node := range ast.Preorder(file) {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				continue
			}
			for i, name := range spec.Names {
				if i < len(spec.Values) {
					all[name.Name] = spec.Values[i]
				}
			}
		}
	}
	return all
}

// value puts literals and constants of the package together.
func (t texts) value(of ast.Expr) (string, error) {
	switch e := of.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.BinaryExpr:
		left, err := t.value(e.X)
		if err != nil {
			return "", err
		}
		right, err := t.value(e.Y)
		return left + right, err
	case *ast.Ident:
		if constant, ok := t[e.Name]; ok {
			return t.value(constant)
		}
	}
	return "", fmt.Errorf("an expression of lazyregexp must be made of constants of its own package")
}
