package trust

import (
	"cmp"
	"slices"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

// Fixed is a document after the edits that lint suggests.
type Fixed struct {
	Text string
	// Applied are the findings whose edits were made, in that order; their places
	// are those of the text before each.
	Applied []finding.Finding
	// Left are the findings of the text as it is now.
	Left []finding.Finding
}

// maxEdits is far more than a document of the largest size can need.
const maxEdits = 1000

// Fix lints a trust policy and makes the suggested edits one after the other,
// until none is left. It leaves to a person the edits that need a decision, those that would
// open what lint calls a security finding, and those after which somebody whom the options
// name, and who got in, no longer does: it never lets in more than the document seems to
// mean, nor less.
func Fix(name string, text []byte, options policy.LintOptions) Fixed {
	m := Fixed{Text: string(text)}
	seen := map[string]bool{m.Text: true}
	lint := func(text string) []finding.Finding { return policy.Lint(policy.Trust, name, []byte(text), options) }
	m.Left = lint(m.Text)
	for range maxEdits {
		next, after, made := better(m, lint, seen)
		if len(made) == 0 {
			break
		}
		m.Text, m.Left = next, after
		m.Applied = append(m.Applied, made...)
		seen[next] = true
	}
	return m
}

// better makes the first edit that can be made, errors first: a condition that is
// only misspelt seems to be missing.
func better(
	m Fixed, lint func(string) []finding.Finding, seen map[string]bool,
) (string, []finding.Finding, []finding.Finding) {
	before := dangers(m.Left)
	ranked := slices.Clone(m.Left)
	slices.SortStableFunc(ranked, func(a, b finding.Finding) int {
		return cmp.Compare(a.Severity.Rank(), b.Severity.Rank())
	})
	for i := range ranked {
		f := &ranked[i]
		if f.Suggested == nil || f.Suggested.Manual {
			continue
		}
		next := f.Suggested.Edit.Apply(m.Text)
		if seen[next] {
			continue
		}
		after, made := lint(next), []finding.Finding{*f}
		if parses(m.Left) && dangers(after).worse(before) {
			closing, closed := closes(next, after, before, lint)
			if closing == nil {
				continue
			}
			// Between the two nothing else may come: it would start from an open document.
			next, after = closing.Suggested.Edit.Apply(next), closed
			made = append(made, *closing)
		}
		if (parses(m.Left) && !parses(after)) || seen[next] || !errs(m.Left) && errs(after) {
			continue
		}
		if count(after, f.Rule) >= count(m.Left, f.Rule) {
			continue // it does not help, and would not help the next time
		}
		return next, after, made
	}
	return "", nil, nil
}

// closes finds an edit that closes what another has opened: who gets in is seen only
// when somebody does.
func closes(
	text string, findings []finding.Finding, before danger, lint func(string) []finding.Finding,
) (*finding.Finding, []finding.Finding) {
	for i := range findings {
		f := &findings[i]
		if f.Severity != finding.Security || f.Suggested == nil || f.Suggested.Manual {
			continue
		}
		if after := lint(f.Suggested.Edit.Apply(text)); parses(after) && !dangers(after).worse(before) {
			return f, after
		}
	}
	return nil, nil
}

// errs reports whether something keeps out whom the document is for. An edit that brings
// that about leaves the choice to a person, whatever it closes.
func errs(findings []finding.Finding) bool {
	return slices.ContainsFunc(findings, func(f finding.Finding) bool { return f.Severity == finding.Error })
}

func count(findings []finding.Finding, rule string) int {
	found := 0
	for i := range findings {
		if findings[i].Rule == rule {
			found++
		}
	}
	return found
}

// danger counts security findings, and those that say that strangers get in.
type danger struct{ all, open int }

func (d danger) worse(than danger) bool { return d.all > than.all || d.open > than.open }

func dangers(findings []finding.Finding) danger {
	var d danger
	for i := range findings {
		if findings[i].Severity == finding.Security {
			d.all++
		}
		if policy.LetsStrangersIn(findings[i].Rule) {
			d.open++
		}
	}
	return d
}

// parses reports whether IAM accepts the document: before it does, not all that
// is dangerous in it can be seen.
func parses(findings []finding.Finding) bool {
	for i := range findings {
		if findings[i].AWS != "" {
			return false
		}
	}
	return true
}
