package policy_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// TestRuleExamples: each rule's example gives that finding, with the severity that the
// book says.
func TestRuleExamples(t *testing.T) {
	t.Parallel()
	for _, rule := range policy.Rules() {
		text, options := rule.Document()
		findings := policy.Lint(rule.Kind, "p", []byte(text), options)
		i := slices.IndexFunc(findings, func(f finding.Finding) bool { return f.Code == rule.Code })
		switch {
		case i < 0:
			t.Errorf("%s %s is not found in its example, but %+v", rule.Code, rule.Name, findings)
		case findings[i].Rule != rule.Name || findings[i].Severity != rule.Severity:
			t.Errorf("%s %s (%s) is found as %+v", rule.Code, rule.Name, rule.Severity, findings[i])
		}
	}
}

// TestRuleBook: codes and names are each one rule's, in order; and what code reports is
// in the book.
func TestRuleBook(t *testing.T) {
	t.Parallel()
	last, names := "", map[string]bool{}
	for _, rule := range policy.Rules() {
		if rule.Code <= last || names[rule.Name] || !regexp.MustCompile(`^RC[1-9][0-9]{3}$`).MatchString(rule.Code) {
			t.Errorf("%s %s is out of order, or not the first", rule.Code, rule.Name)
		}
		if rule.Meaning == "" || rule.Fix == "" {
			t.Errorf("%s says nothing", rule.Code)
		}
		last, names[rule.Name] = rule.Code, true
	}
	reported := reportedRules(t)
	for name := range reported {
		if !names[name] {
			t.Errorf("%s is reported, and is not in the book", name)
		}
	}
	for name := range names {
		if !reported[name] {
			t.Errorf("%s is in the book, and nothing reports it", name)
		}
	}
}

// reportedRules are the texts that look like rules in calls of add, in variables named
// rule, and in the table of what AWS refuses.
func reportedRules(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	reported := map[string]bool{}
	literals := func(node ast.Node) {
		ast.Inspect(node, func(n ast.Node) bool {
			if one, ok := n.(*ast.BasicLit); ok && regexp.MustCompile(`^"[a-z]+(-[a-z]+)*"$`).MatchString(one.Value) {
				reported[strings.Trim(one.Value, `"`)] = true
			}
			return true
		})
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "rulebook") {
			continue
		}
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch one := n.(type) {
			case *ast.CallExpr:
				if called, ok := one.Fun.(*ast.SelectorExpr); ok && called.Sel.Name == "add" && len(one.Args) >= 4 {
					literals(one.Args[2])
				}
			case *ast.AssignStmt:
				if name, ok := one.Lhs[0].(*ast.Ident); ok && name.Name == "rule" {
					literals(one.Rhs[0])
				}
			case *ast.FuncDecl:
				if one.Name.Name == "id" && one.Recv != nil {
					literals(one.Body)
				}
			}
			return true
		})
	}
	return reported
}

// sections are the parts of the page, by the first digit of a code.
var sections = map[byte]string{
	'1': "What AWS refuses", '2': "Whom a trust policy lets in", '3': "Whom a trust policy keeps out",
	'4': "What a policy says in vain, or too much", '5': "Form",
}

// TestRulesPage holds docs/reference/rules.md to the book; -update writes it.
func TestRulesPage(t *testing.T) {
	t.Parallel()
	const file = "../../docs/reference/rules.md"
	page := rulesPage(t)
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != page {
		t.Errorf("the page is not what the rules say, %v: go test ./internal/policy -run RulesPage -update", err)
	}
}

func rulesPage(t *testing.T) string {
	t.Helper()
	var page strings.Builder
	page.WriteString("# Rules\n\n" +
		"What `rolecall policy lint` and `rolecall trust lint` look for. Code and name are stable; `--ignore` takes either.\n" +
		"Severities: an `error` is refused by AWS, or cannot mean what it says; a `security` finding lets in or allows more\n" +
		"than it seems to; a `warning` is neither. This page is written from the rules themselves, and each example is run by\n" +
		"a test.\n")
	section := byte(0)
	for _, rule := range policy.Rules() {
		if digit := rule.Code[2]; digit != section {
			section = digit
			fmt.Fprintf(&page, "\n## %s\n", sections[section])
		}
		fmt.Fprintf(&page, "\n### %s `%s`\n\n%s: %s\n\n", rule.Code, rule.Name, rule.Severity, rule.Meaning)
		if rule.Example != "" {
			text, _ := rule.Document()
			if pretty, err := policy.Format("p", []byte(text)); err == nil {
				text = string(pretty)
			}
			known := ""
			if flags := rule.Flags(); flags != "" {
				known = ", with `" + flags + "`"
			}
			fmt.Fprintf(&page, "As %s%s:\n\n```json\n%s\n```\n\n", rule.Kind.Source(), known, strings.TrimRight(text, "\n"))
		}
		fmt.Fprintf(&page, "Fix: %s\n", rule.Fix)
	}
	return page.String()
}
