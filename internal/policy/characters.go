package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// unusual are characters that come with text copied from web pages, with their
// names and what to write instead (spec iam-policy §1.3).
var unusual = map[rune][2]string{
	'\u00a0': {"NO-BREAK SPACE", " "},
	'\u2010': {"HYPHEN", "-"},
	'\u2011': {"NON-BREAKING HYPHEN", "-"},
	'\u2012': {"FIGURE DASH", "-"},
	'\u2013': {"EN DASH", "-"},
	'\u2014': {"EM DASH", "-"},
	'\u2018': {"LEFT SINGLE QUOTATION MARK", "'"},
	'\u2019': {"RIGHT SINGLE QUOTATION MARK", "'"},
	'\u201a': {"SINGLE LOW-9 QUOTATION MARK", "'"},
	'\u201b': {"SINGLE HIGH-REVERSED-9 QUOTATION MARK", "'"},
	'\u201c': {"LEFT DOUBLE QUOTATION MARK", `"`},
	'\u201d': {"RIGHT DOUBLE QUOTATION MARK", `"`},
	'\u2028': {"LINE SEPARATOR", "\n"},
	'\u2212': {"MINUS SIGN", "-"},
	'\ufeff': {"BYTE ORDER MARK", ""},
}

// plainText replaces unusual characters, and applies escape to their
// replacements; found tells whether there were any.
func plainText(text string, escape *strings.Replacer) (plain string, found bool) {
	if isASCII(text) {
		return text, false
	}
	var out strings.Builder
	for _, char := range text {
		if names, known := unusual[char]; known {
			out.WriteString(escape.Replace(names[1]))
			found = true
			continue
		}
		out.WriteRune(char)
	}
	return out.String(), found
}

// checkCharacters reports each text, or each character outside of texts, that
// has a character no policy may contain (spec iam-policy §1.4).
func (d *decoder) checkCharacters() {
	if isASCIIText(d.text) {
		return
	}
	// In a document that is JSON a quote is part of its text; in any other it
	// may well be meant as the end of the text.
	outside, inside := strings.NewReplacer(), strings.NewReplacer("\n", `\n`)
	if json.Valid(d.text) {
		inside = strings.NewReplacer("\n", `\n`, `"`, `\"`)
	}
	place := newCursor(d.text)
	for scan := (scanner{text: d.text}); scan.more(); scan.step() {
		if allowedCharacter(scan.char) || scan.offset < scan.reported {
			continue
		}
		here := span{scan.offset, scan.offset + scan.width}
		at := scan.token()
		name := "a character that a policy may not contain"
		if names, known := unusual[scan.char]; known {
			name = names[0]
		}
		escape := outside
		if at != here {
			scan.reported, escape = at.end, inside
		}
		plain, found := plainText(string(d.text[at.start:at.end]), escape)
		if !found {
			d.report(here, badCharacter, "", "%U is %s", scan.char, name)
			continue
		}
		position := place.to(here.start)
		d.report(here, badCharacter, "", "%U (%s) at %d:%d: write %s", scan.char, name, position.line, position.column, quoteUnlessQuoted(plain))
		d.fix(at.start, at.end, plain)
	}
}

// scanner goes over a text that may not be JSON, and knows where texts begin.
type scanner struct {
	text     []byte
	offset   int
	char     rune
	width    int
	quote    int // where the text around begins, plus one; 0 outside of texts
	end      int // the next quote or line end that was looked for
	reported int // up to here
}

func (s *scanner) more() bool {
	if s.offset == len(s.text) {
		return false
	}
	s.char, s.width = utf8.DecodeRune(s.text[s.offset:])
	return true
}

// step goes to the next character; a text ends at the latest with its line.
func (s *scanner) step() {
	switch {
	case s.char == '\n':
		s.quote = 0
	case s.char == '"' && s.quote == 0:
		s.quote = s.offset + 1
	case s.char == '"':
		s.quote = 0
	case s.char == '\\' && s.quote > 0 && s.offset+1 < len(s.text) &&
		(s.text[s.offset+1] == '"' || s.text[s.offset+1] == '\\'):
		s.offset++ // an escaped character ends nothing
	}
	s.offset += s.width
}

// token is the text around a character with its quotes, if the character stands
// in one that ends on its line; else the character alone.
func (s *scanner) token() span {
	if s.quote > 0 {
		s.end = max(s.end, s.offset)
		for ; s.end < len(s.text) && s.text[s.end] != '"' && s.text[s.end] != '\n'; s.end++ {
			if s.text[s.end] == '\\' {
				s.end++
			}
		}
		if s.end < len(s.text) && s.text[s.end] == '"' {
			return span{s.quote - 1, s.end + 1}
		}
	}
	return span{s.offset, s.offset + s.width}
}

func quoteUnlessQuoted(text string) string {
	if strings.HasPrefix(text, `"`) && len(text) > 1 {
		return text
	}
	return fmt.Sprintf("%q", text)
}

// allowedCharacter is IAM's set; \u escapes yield any character and are ASCII. A
// byte that is not UTF-8 is read as U+FFFD, which is not in it.
func allowedCharacter(char rune) bool {
	return char == '\t' || char == '\n' || char == '\r' || (char >= ' ' && char <= '\u00ff')
}

// isASCIIText is the common case, in which nothing needs to be looked up.
func isASCIIText(text []byte) bool {
	for _, b := range text {
		if b >= utf8.RuneSelf || (b < ' ' && b != '\t' && b != '\n' && b != '\r') {
			return false
		}
	}
	return true
}

// unusualNear explains a JSON error at a character that only looks right.
func (d *decoder) unusualNear(offset int) string {
	for i := max(0, offset-3); i <= offset && i < len(d.text); i++ {
		char, _ := utf8.DecodeRune(d.text[i:])
		if names, known := unusual[char]; known {
			return fmt.Sprintf(": %U (%s), write %q", char, names[0], names[1])
		}
	}
	return ""
}
