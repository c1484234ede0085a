package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Summary is the explanation in one sentence that a person can act on.
func (e *Explanation) Summary() string {
	switch e.Decision {
	case Allowed.String():
		if document, statement := e.applying("Allow"); statement != nil {
			return fmt.Sprintf("%s of %s %q allows %s", statement.label(), document.Kind, document.Name, e.Action)
		}
		return e.Action + " needs no permission"
	case ExplicitDeny.String():
		if document, statement := e.applying("Deny"); statement != nil {
			return fmt.Sprintf("%s of %s %q denies %s%s", statement.label(), document.Kind, document.Name, e.Action, statement.because())
		}
	}
	return e.silence()
}

func (e *Explanation) applying(effect string) (*ExplainedPolicy, *ExplainedStatement) {
	for i := range e.Documents {
		for j := range e.Documents[i].Statements {
			if s := &e.Documents[i].Statements[j]; s.Applies && s.Effect == effect {
				return &e.Documents[i], s
			}
		}
	}
	return nil, nil
}

// silence says what came closest to an Allow in the kind of document that was
// silent.
func (e *Explanation) silence() string {
	switch e.Reason {
	case "root-cannot-assume":
		return "the root user cannot take roles"
	case "identity-silent":
		return e.silent(Identity)
	case "boundary-silent":
		return e.silent(Boundary)
	case "session-silent":
		return e.silent(Session)
	case "scp-silent":
		return e.silent(SCP)
	case "endpoint-silent":
		return e.silent(Endpoint)
	case "no-resource-match":
		return e.silent(Resource)
	}
	return e.silent(Trust)
}

func (e *Explanation) silent(kind Kind) string {
	var nearest *ExplainedStatement
	var of *ExplainedPolicy
	misses := 0
	for i := range e.Documents {
		if e.Documents[i].Kind != kind.String() {
			continue
		}
		for j := range e.Documents[i].Statements {
			s := &e.Documents[i].Statements[j]
			if n := len(s.misses()); s.Effect == "Allow" && (nearest == nil || n < misses) {
				nearest, of, misses = s, &e.Documents[i], n
			}
		}
	}
	if nearest == nil {
		return fmt.Sprintf("there is no %s that allows %s to %s", kind, e.Action, e.Principal.ARN)
	}
	return fmt.Sprintf("no statement of %s %q allows %s; %s: %s", kind, of.Name, e.Action, nearest.label(), strings.Join(nearest.misses(), "; "))
}

func (s *ExplainedStatement) label() string {
	if s.Sid != "" {
		return fmt.Sprintf("statement %q (line %d)", s.Sid, s.Line)
	}
	return fmt.Sprintf("statement %d (line %d)", s.Index+1, s.Line)
}

// misses lists the elements that do not match, each with wanted and got.
func (s *ExplainedStatement) misses() []string {
	var misses []string
	for _, element := range []struct {
		name string
		x    *ExplainedElement
	}{{"Principal", &s.Principal}, {"Action", &s.Action}, {"Resource", &s.Resource}} {
		if !element.x.Matched {
			misses = append(misses, fmt.Sprintf("%s names %s, the request has %s%s", element.name, list(element.x.Wanted), element.x.Got, parenthesised(element.x.Note)))
		}
	}
	for i := range s.Conditions {
		if c := &s.Conditions[i]; !c.Matched {
			misses = append(misses, c.sentence())
		}
	}
	return misses
}

func (c *ExplainedCondition) sentence() string {
	if !c.Present {
		return fmt.Sprintf("%s %s wants %s, the request has no such key%s", c.Operator, c.Key, list(c.Wanted), parenthesised(c.Note))
	}
	return fmt.Sprintf("%s %s wants %s, got %s%s", c.Operator, c.Key, list(c.Wanted), list(c.Got), parenthesised(c.Note))
}

// because names the conditions under which a Deny applied.
func (s *ExplainedStatement) because() string {
	var held []string
	for _, c := range s.Conditions {
		held = append(held, fmt.Sprintf("%s %s %s, got %s", c.Operator, c.Key, list(c.Wanted), list(c.Got)))
	}
	if held == nil {
		return ""
	}
	return ": " + strings.Join(held, "; ")
}

func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return strings.Join(quoted, " or ")
}

func parenthesised(note string) string {
	if note == "" {
		return ""
	}
	return " (" + note + ")"
}

// nearMiss says how two texts differ when one looks like a slip for the other;
// empty when they do not look alike.
func nearMiss(wanted, got string) string {
	var notes []string
	add := func(note string) {
		if !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	trimmedWanted, trimmedGot := strings.TrimSpace(wanted), strings.TrimSpace(got)
	if trimmedWanted != wanted || trimmedGot != got {
		add("blanks at an end differ")
	}
	a, b := normalIssuer(trimmedWanted, add), normalIssuer(trimmedGot, func(string) {})
	switch {
	case wanted == got:
		return ""
	case a == b && len(notes) > 0:
		return strings.Join(notes, ", ")
	case strings.EqualFold(a, b):
		return "letter case differs"
	case strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/"):
		return "a trailing slash differs"
	}
	if distance := editDistance(a, b, 3); distance <= 3 && len(a) > 8 {
		return fmt.Sprintf("%d characters differ", distance)
	}
	return ""
}

// normalIssuer mends the usual slips in the issuer part of an EKS name,
// reporting each (spec issuer-and-sts §16 rows 5, 6, 8).
func normalIssuer(text string, note func(string)) string {
	if rest, found := strings.CutPrefix(text, "https://"); found {
		note("the scheme https:// does not belong here")
		text = rest
	}
	i := strings.Index(text, "oidc.")
	if i < 0 {
		return text
	}
	head, tail := text[:i], text[i:]
	host, path, hasPath := strings.Cut(tail, "/")
	labels := strings.Split(host, ".")
	if len(labels) > 3 && labels[2] == "eks" {
		labels[1], labels[2] = labels[2], labels[1]
		host = strings.Join(labels, ".")
		note("the region stands before eks, want " + host)
	}
	if hasPath && labels[1] == "eks" && !strings.HasPrefix(path, "id/") {
		path = "id/" + path
		note("/id/ is missing")
	}
	if !hasPath {
		return head + host
	}
	return head + host + "/" + path
}

// editDistance is Levenshtein's, given up beyond limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current := make([]int, len(b)+1)
		current[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			current[j+1] = min(previous[j+1]+1, current[j]+1, previous[j]+cost)
		}
		previous = current
	}
	return previous[len(b)]
}
