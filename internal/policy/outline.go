package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Position is a place in a document's text, counting lines and columns from 1.
type Position struct{ Line, Column int }

// Outline is what can be said about a statement without a request.
type Outline struct {
	Sid string
	// Start and End are the positions that IAM's policy simulator gives: where
	// its reader was when it came to the statement, after the bracket or the
	// statement before, and where it was after it.
	Start, End Position
	// Keys are the condition keys of conditions and variables, as written,
	// sorted.
	Keys []string
}

// Outline returns the outline of each statement, in document order.
func (p *Policy) Outline() []Outline {
	outlines := make([]Outline, len(p.statements))
	for i := range p.statements {
		s := &p.statements[i]
		outlines[i] = Outline{s.sid, p.place(p.reader(i)), p.place(s.at.end), s.keys()}
	}
	return outlines
}

func (p *Policy) place(offset int) Position {
	at := positionOf([]byte(p.text), offset)
	return Position{at.line, at.column}
}

// reader is where a reader of JSON stands before a statement. A statement that
// stands alone, without list, has been begun by then.
func (p *Policy) reader(i int) int {
	at := p.statements[i].at
	if i > 0 {
		return p.statements[i-1].at.end
	}
	before := strings.TrimRight(p.text[:at.start], " \t\r\n")
	if strings.HasSuffix(before, "[") {
		return len(before)
	}
	return at.start + 1
}

// variableName finds names in texts that were compiled, so that whatever looks
// like a variable is one.
var variableName = lazyregexp.New(`\$\{([^*?$}',][^}',]*)`)

func (s *statement) keys() []string {
	var keys []string
	add := func(p *pattern) {
		if p.segments == nil {
			return
		}
		for _, match := range variableName.FindAllStringSubmatch(p.source, -1) {
			keys = append(keys, match[1])
		}
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		keys = append(keys, c.key)
		for j := range c.values {
			add(&c.values[j])
		}
	}
	if s.resource != nil {
		for i := range s.resource.patterns {
			add(&s.resource.patterns[i].whole)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
