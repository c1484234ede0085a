package yamledit_test

import (
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/yamledit"
)

// TestProblem: whatever a parser refuses is said with its line, also where the parser
// leaves it out.
func TestProblem(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text string
		line int
		want string
	}{
		{"a: b: c\n", 1, "mapping values are not allowed in this context"},
		{"a: 1\nb: c: d\n", 2, "mapping values are not allowed in this context"},
		{"a: 1\n\tb: 2\n", 2, "found a tab character that violates indentation"},
		{"a: *x\n", 1, "unknown anchor 'x' referenced"},
		{"x: 1\na: 2\nb: *x\n", 3, "unknown anchor 'x' referenced"},
		{"a: 1\nb: \x01\n", 2, "control characters are not allowed"},
		{"a: 1\nb: 2\nc: \xff\n", 3, "invalid leading UTF-8 octet"},
	} {
		var node yaml.Node
		err := yaml.Unmarshal([]byte(row.text), &node)
		if err == nil {
			t.Errorf("%q is taken", row.text)
			continue
		}
		if line, message := yamledit.Problem([]byte(row.text), err); line != row.line || message != row.want {
			t.Errorf("%q: got line %d, %q, want line %d, %q", row.text, line, message, row.line, row.want)
		}
	}
}

// FuzzProblem: the line is one of the text.
func FuzzProblem(f *testing.F) {
	f.Add([]byte("a: *x\n"))
	f.Add([]byte("a: \xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var node yaml.Node
		err := yaml.Unmarshal(text, &node)
		if err == nil {
			return
		}
		lines := 2 // the end of the text can be a line of its own
		for _, c := range text {
			if c == '\n' || c == '\r' || c > 0x7f { // YAML has line breaks beyond ASCII
				lines++
			}
		}
		if line, message := yamledit.Problem(text, err); line < 1 || line > lines || message == "" {
			t.Errorf("line %d of %d, %q", line, lines, message)
		}
	})
}
