package trust

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/policy"
)

// merging is an existing document, and which of its statements are replaced. The
// zero value is a new document.
type merging struct {
	text       string
	statements []policy.Statement
	listed     bool
	mine       []int // indices of the statements that are replaced
}

// readPresent refuses a document that IAM would refuse: it does not guess what
// was meant.
func readPresent(text []byte, forms []form) (*merging, error) {
	parsed, err := policy.Parse(policy.Trust, "the present document", text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err).Hint("rolecall trust lint FILE lists what is wrong with it, and --fix corrects it")
	}
	m := &merging{text: string(text)}
	m.statements, m.listed = parsed.Statements()
	for i, s := range m.statements {
		if slices.ContainsFunc(forms, func(f form) bool { return f.mine(s) }) {
			m.mine = append(m.mine, i)
			continue
		}
		if err := together(i, s, forms); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// together refuses a statement that trusts our provider and others at once:
// replacing it would lock the others out.
func together(place int, s policy.Statement, forms []form) error {
	if !s.Allow || s.NotPrincipal || len(s.Principals) < 2 {
		return nil
	}
	for _, principal := range s.Principals {
		alone := s
		alone.Principals = []policy.NamedPrincipal{principal}
		if slices.ContainsFunc(forms, func(f form) bool { return f.mine(alone) }) {
			return fault.New(fault.Conflict, "statement %d of the present document trusts %s together with others", place+1, principal.Name).
				Hint("split it into one statement for each principal first")
		}
	}
	return nil
}

// write puts the parts' statements into the document, in the place of the first
// statement that they replace. All other bytes stay as they are.
func (m *merging) write(parts []part) string {
	var all []string
	for _, one := range parts {
		all = append(all, one.form.write(one.units)...)
	}
	ours := strings.Join(all, ",")
	if m.text == "" {
		return `{"Version":"2012-10-17","Statement":[` + ours + "]}"
	}
	last := m.statements[len(m.statements)-1]
	switch {
	case !m.listed && len(m.mine) > 0:
		return m.text[:last.Start] + "[" + ours + "]" + m.text[last.End:]
	case !m.listed:
		return m.text[:last.Start] + "[" + m.text[last.Start:last.End] + "," + ours + "]" + m.text[last.End:]
	case len(m.mine) == 0:
		return m.text[:last.End] + "," + ours + m.text[last.End:]
	}
	var out strings.Builder
	from := 0
	for i, place := range m.mine {
		if s := m.statements[place]; i == 0 {
			out.WriteString(m.text[from:s.Start] + ours)
		} else {
			out.WriteString(m.text[from:m.statements[place-1].End])
		}
		from = m.statements[place].End
	}
	return out.String() + m.text[from:]
}

// isNew reports whether there was no document.
func (m *merging) isNew() bool { return m.text == "" }
