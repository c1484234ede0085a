package policy

import (
	"slices"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/finding"
)

// Rule is one thing that lint looks for.
type Rule struct {
	// Code is stable, and so is Name, by which the rule was known before it had a code.
	Code, Name string
	// Severity is the usual one; Meaning says when it is another.
	Severity finding.Severity
	// Meaning says what is wrong, Fix what to do.
	Meaning, Fix string
	// Example is a document of a Kind in which the rule finds something, with ' for ".
	Kind    Kind
	Example string

	facts exampleFacts
	make  func() string
}

// Rules returns the rules of lint, in the order of their codes.
func Rules() []Rule { return ruleBook() }

// FindRule finds a rule by its code or name.
func FindRule(codeOrName string) (Rule, bool) {
	i := slices.IndexFunc(ruleBook(), func(r Rule) bool {
		return strings.EqualFold(r.Code, codeOrName) || r.Name == codeOrName
	})
	if i < 0 {
		return Rule{}, false
	}
	return ruleBook()[i], true
}

// Document is the example as a document, and what is known of its role.
func (r *Rule) Document() (text string, options LintOptions) {
	if r.make != nil {
		return r.make(), r.facts.options()
	}
	return strings.ReplaceAll(r.Example, "'", `"`), r.facts.options()
}

// Flags are those that tell a command what the example needs to be known; empty if
// nothing.
func (r *Rule) Flags() string { return r.facts.flags() }

var codes = sync.OnceValue(func() map[string]string {
	all := make(map[string]string, len(ruleBook()))
	for _, r := range ruleBook() {
		all[r.Name] = r.Code
	}
	return all
})
