package rolecall_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// phrase is English that was replaced by better, and must not come back. A blank
// in it is any white space, that between two lines of a comment included.
type phrase struct {
	phrase, better string
}

var phrases = []phrase{
	{
		`who(?:ever)? (?:has )?(?:taken|took|takes) (?:it|him|one|them|a part of it) over|a stolen broker`,
		"an attacker who controls it",
	},
	{`by himself|of his own`, "itself, of their own"},
	{`no role's ARN|(?:is|are) no (?:role )?ARNs?`, "is not a role ARN"},
	{`must be an? text|must be texts`, "must be a string"},
	{`is no text`, "is not a string"},
	{
		`(?:is|are|be) no (?:JSON|URLs?|https URL|number|name for|container|user|node|IP address|discovery document|` +
			`TokenRequest|Unix socket|regular file|file of|list of|account number|PEM|key set|session of|unpadded|` +
			`object|pattern|certificate)`,
		"is not a …",
	},
	{`is no [a-z]+'s`, "does not belong to a …"},
	{
		`(?:take|takes|taking|took|taken) (?:an?|the|its|their|each|every|this|that|any|no|which|another) ` +
			`(?:[\w'-]+ )?roles?`,
		"assume a role",
	},
	{`(?:take|takes|taking|took|taken) roles`, "assume roles"},
	{`roles? (?:is|are|was|were|be|being|been) taken|role to take|may take (?:them|it|the role)`, "is assumed"},
	{`may be another one`, "may differ"},
	{`1 (?:errors|warnings|security findings|findings|keys|files|accounts|associations|edits)`, "1 error"},
	{`who(?:m|so)?ever`, "anybody who …, or the one who is meant"},
	{`held against`, "compared with, checked against"},
	{`hears? of it`, "is told"},
	{`for ever`, "forever"},
	{`(?:it|that|what|which|fail|one) is none`, "is not one"},
	{`anew`, "again"},
	{`(?:take|takes|taking|taken|took) (?:it|them|its \w+|the \w+|the \w+ \w+) away`, "remove"},
	{`(?:AWS|STS|IAM|EKS) (?:takes|does not take|take) (?:no|at most|at least|only|it|them|tags)`, "accepts"},
	{`takes this process for`, "says this process is"},
	{`mend(?:s|ed|ing)?`, "fix"},
	{`not (?:\w+ ){0,2}any more`, "no longer"},
	{`(?:is|are) no good`, "is of no use"},
	{`may be had|may not be had`, "may be assumed, is available"},
	{`in silence`, "silently"},
	{`goes? by (?:the|its|their|keys|old|what)`, "relies on, uses, follows"},
	{`left alone`, "not touched"},
}

// exempt are texts that are not ours to word: the specifications quote, decisions
// are frozen, and this file lists what it looks for.
var exempt = []string{"docs/spec/...", "docs/design/...", "phrases_test.go"}

// TestPhrases: pages, messages and comments are plain English.
func TestPhrases(t *testing.T) {
	t.Parallel()
	for name, text := range treeFiles(t, ".go", ".md", ".txtar") {
		if !within(name, exempt...) {
			for _, complaint := range checkPhrases(name, text) {
				t.Error(complaint)
			}
		}
	}
}

// TestPhrasesNotices: a phrase is seen, across lines and in any letter case.
func TestPhrasesNotices(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, text string
		found      bool
	}{
		{"README.md", "A broker takes a role.", true},
		{"README.md", "A broker takes\nthe pod's role.", true},
		{"README.md", "A broker assumes a role.", false},
		{"README.md", "Whoever asks.", true},
		{"README.md", "There is none.", false},
		{"README.md", "found 1 errors", true},
		{"README.md", "found 11 errors", false},
		{"README.md", "found: 1 errors", true},
		{"file.go", "// An attacker who has\n\t// taken it over can do that.", true},
		{"docs/reference/broker-flags.md", "| how roles are taken |", true},
		{"docs/reference/broker-flags.md", "| a stolen broker |", true},
		{"file.go", `// It takes the role away, and is "mended" anew.`, true},
	} {
		if got := checkPhrases(row.name, row.text); (len(got) > 0) != row.found {
			t.Errorf("%s, %q: got %q, want found %t", row.name, row.text, got, row.found)
		}
	}
}

// phrasePatterns find the phrases, each that of the same index.
var phrasePatterns = sync.OnceValue(func() []*regexp.Regexp {
	var patterns []*regexp.Regexp
	for _, p := range phrases {
		patterns = append(patterns, pattern(`(?i)\b(?:`+strings.ReplaceAll(p.phrase, " ", "_")+`)\b`))
	}
	return patterns
})

func checkPhrases(name, text string) []string {
	var found []string
	for i, p := range phrases {
		for _, place := range phrasePatterns()[i].FindAllStringIndex(text, -1) {
			line, phrase := lineOf(text, place[0]), text[place[0]:place[1]]
			found = append(found, fmt.Sprintf("%s:%d: %q: write %q", name, line, phrase, p.better))
		}
	}
	return found
}
