// Package finding is what a check says that it found: how bad it is, by which rule, where, why, and how to fix it.
//
// It is for all checks: of policies, issuers and audits. It knows no rule, checks nothing and prints nothing; that is
// what internal/finding/report does.
package finding

import "slices"

// Severity says how bad a finding is.
type Severity string

// The severities, worst first.
const (
	Error    Severity = "error"    // it is refused, or cannot mean what it says
	Security Severity = "security" // it allows more than it seems to
	Warning  Severity = "warning"
	Info     Severity = "info" // worth knowing; nothing is wrong
)

// Severities returns all, worst first.
func Severities() []Severity { return []Severity{Error, Security, Warning, Info} }

// Rank orders severities: the worst has the least.
func (s Severity) Rank() int { return slices.Index(Severities(), s) }

// Place is where something was found. What is not known is left out.
type Place struct {
	// File is a file's name, as it was given.
	File string `json:"file,omitempty"`
	// Line and Column count from 1, columns in characters.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

// Finding is one thing that was found. Its JSON is what commands print for programs.
type Finding struct {
	Severity Severity `json:"severity"`
	// Code is the rule's stable code, such as RC2005; empty for checks whose rules have
	// none.
	Code string `json:"code,omitempty"`
	// Rule is its stable name, such as web-identity-without-sub.
	Rule    string `json:"rule"`
	Message string `json:"message"`
	// AWS is what AWS answers because of it; empty if it answers nothing.
	AWS string `json:"aws,omitempty"`
	Place
	// Sid is that of the policy statement that it is about, if the statement has one.
	Sid string `json:"sid,omitempty"`
	// Advice says in words how to fix it.
	Advice string `json:"fix,omitempty"`
	// Suggested is an edit of the file that would fix it, where there is an obvious one.
	Suggested *Fix `json:"suggested,omitempty"`
	// Command fixes what no edit of the file can.
	Command string `json:"command,omitempty"`
	// Suppressed is the reason why it is not reported; empty if it is.
	Suppressed string `json:"suppressed,omitempty"`
}

// Failed reports whether anything was found that is worse than a warning, and not
// suppressed.
func Failed(findings []Finding) bool { return AnyAtLeast(findings, Security) }

// AnyAtLeast reports whether anything was found that is at least so bad, and not
// suppressed.
func AnyAtLeast(findings []Finding, least Severity) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool {
		return f.Suppressed == "" && f.Severity.Rank() <= least.Rank()
	})
}

// Fix is a suggested edit of a document, with its place.
type Fix struct {
	Description string `json:"description"`
	Line        int    `json:"line"`
	Column      int    `json:"column"`
	Old         string `json:"old"`
	New         string `json:"new"`
	// Edit is the same in bytes of the document's text.
	Edit Edit `json:"edit"`
	// Manual: a person has to decide, or to fill something in, before the edit is
	// made.
	Manual bool `json:"manual,omitempty"`
}

// Edit is a change of a document's text: the bytes from Start up to End are
// replaced.
type Edit struct {
	Start int    `json:"start"`
	End   int    `json:"end"`
	Text  string `json:"text"`
}

// Apply returns the changed text.
func (e *Edit) Apply(text string) string { return text[:e.Start] + e.Text + text[e.End:] }
