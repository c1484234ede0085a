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
		grants := []string{Trust.Source(), Resource.Source()}
		if e.Reason != "allowed-direct" {
			grants = []string{Identity.Source()}
		}
		document, statement := e.applying("Allow", grants...)
		switch {
		case statement != nil:
			return fmt.Sprintf("%s of %s %q allows %s", statement.Label(), document.Kind, document.Name, e.Action)
		case e.Principal.Kind == Root.String() && !equalASCII(e.Action, "sts:GetCallerIdentity"):
			return "an account's root user has every permission that nothing denies"
		}
		return e.Action + " needs no permission"
	case ExplicitDeny.String():
		if document, statement := e.applying("Deny"); statement != nil {
			return fmt.Sprintf(
				"%s of %s %q denies %s%s",
				statement.Label(),
				document.Kind,
				document.Name,
				e.Action,
				statement.because(),
			)
		}
	}
	return e.silence()
}

// applying finds the first statement that applies, in documents of the sources if
// there are any.
func (e *Explanation) applying(effect string, sources ...string) (*ExplainedPolicy, *ExplainedStatement) {
	for i := range e.Documents {
		if len(sources) > 0 && !slices.Contains(sources, e.Documents[i].Source) {
			continue
		}
		for j := range e.Documents[i].Statements {
			if s := &e.Documents[i].Statements[j]; s.Applies && s.Effect == effect {
				return &e.Documents[i], s
			}
		}
	}
	return nil, nil
}

// silence says what came closest to an Allow in the kind of document that did
// not allow.
func (e *Explanation) silence() string {
	switch e.Reason {
	case "root-cannot-assume":
		return "the root user cannot assume roles"
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
	case "resource-silent":
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
			if n := len(s.misses(e)); s.Effect == "Allow" && (nearest == nil || n < misses) {
				nearest, of, misses = s, &e.Documents[i], n
			}
		}
	}
	if nearest == nil {
		return fmt.Sprintf("there is no %s that allows %s to %s", kind, e.Action, e.caller())
	}
	return fmt.Sprintf(
		"no statement of %s %q allows %s; %s: %s",
		kind,
		of.Name,
		e.Action,
		nearest.Label(),
		strings.Join(nearest.misses(e), "; "),
	)
}

// Label names the statement: by Sid, or by its number from 1.
func (s *ExplainedStatement) Label() string {
	if s.Sid != "" {
		return fmt.Sprintf("statement %q (line %d)", s.Sid, s.Line)
	}
	return fmt.Sprintf("statement %d (line %d)", s.Index+1, s.Line)
}

// misses lists the elements that do not match, each with wanted and got.
func (s *ExplainedStatement) misses(of *Explanation) []string {
	var misses []string
	if s.Principal.Match == unmatched.String() {
		wanted, note := []string{}, ""
		for _, entry := range s.Principal.Entries {
			wanted = append(wanted, entry.Value)
			if note == "" {
				note = entry.Note
			}
		}
		misses = append(misses, named("Principal", s.Principal.Not, wanted, of.caller(), note))
	}
	if !s.Action.Matched {
		var wanted []string
		for _, entry := range s.Action.Entries {
			wanted = append(wanted, entry.Pattern)
		}
		misses = append(misses, named("Action", s.Action.Not, wanted, of.Action, s.Action.Note))
	}
	if !s.Resource.Matched {
		var wanted []string
		note := ""
		for _, entry := range s.Resource.Entries {
			wanted = append(wanted, entry.Pattern)
			if entry.FirstDifferentPart != "" && len(s.Resource.Entries) == 1 {
				note = fmt.Sprintf("%s: wanted %q, got %q", entry.FirstDifferentPart, entry.Wanted, entry.Got)
			}
		}
		misses = append(misses, named("Resource", s.Resource.Not, wanted, of.Resource, note))
	}
	for i := range s.Conditions {
		if c := &s.Conditions[i]; !c.Matched {
			misses = append(misses, c.sentence())
		}
	}
	return misses
}

func named(element string, not bool, wanted []string, got, note string) string {
	if not {
		return fmt.Sprintf("Not%s excludes %s, the request has %s%s", element, list(wanted), got, parenthesised(note))
	}
	return fmt.Sprintf("%s names %s, the request has %s%s", element, list(wanted), got, parenthesised(note))
}

// caller is the principal in a sentence.
func (e *Explanation) caller() string {
	if e.Principal.ARN == "" {
		return "an anonymous caller"
	}
	return e.Principal.ARN
}

func (c *ExplainedCondition) sentence() string {
	if !c.Present {
		return fmt.Sprintf(
			"%s %s wants %s, the request has no such key%s",
			c.Operator,
			c.Key,
			wanted(c),
			parenthesised(c.Note),
		)
	}
	return fmt.Sprintf("%s %s wants %s, got %s%s", c.Operator, c.Key, wanted(c), list(c.Got), parenthesised(c.Note))
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

// wanted lists what the policy says, and what its variables stand for.
func wanted(c *ExplainedCondition) string {
	if len(c.Resolved) == 0 {
		return list(c.Wanted)
	}
	return list(c.Wanted) + ", here " + list(c.Resolved)
}
