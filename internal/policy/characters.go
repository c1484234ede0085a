package policy

import (
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

// plainText replaces unusual characters; found tells whether there were any.
func plainText(text string) (plain string, found bool) {
	if isASCII(text) {
		return text, false
	}
	var out strings.Builder
	for _, char := range text {
		if names, known := unusual[char]; known {
			out.WriteString(names[1])
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
	for offset := 0; offset < len(d.text); {
		char, width := utf8.DecodeRune(d.text[offset:])
		if allowedCharacter(char, width) {
			offset += width
			continue
		}
		at := d.token(offset, width)
		name := "a character that a policy may not contain"
		if names, known := unusual[char]; known {
			name = names[0]
		}
		position := positionOf(d.text, offset)
		written := string(d.text[at.start:at.end])
		if plain, found := plainText(written); found && name != "" {
			d.report(span{offset, offset + width}, badCharacter, "", "%U (%s) at %d:%d: write %s", char, name, position.line, position.column, quoteUnlessQuoted(plain))
			d.fix(&Edit{at.start, at.end, plain})
		} else {
			d.report(span{offset, offset + width}, badCharacter, "", "%U is %s", char, name)
		}
		offset = max(at.end, offset+width)
	}
}

func quoteUnlessQuoted(text string) string {
	if strings.HasPrefix(text, `"`) && len(text) > 1 {
		return text
	}
	return fmt.Sprintf("%q", text)
}

// allowedCharacter is IAM's set; \u escapes yield any character and are ASCII.
func allowedCharacter(char rune, width int) bool {
	if char == utf8.RuneError && width <= 1 {
		return false
	}
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

// token widens a character to the JSON text around it on its line, if it stands
// in one.
func (d *decoder) token(offset, width int) span {
	start, end := offset, offset+width
	for start > 0 && d.text[start-1] != '\n' && d.text[start] != '"' {
		start--
	}
	for end < len(d.text) && d.text[end] != '\n' && d.text[end] != '"' {
		end++
	}
	if d.text[start] == '"' && end < len(d.text) && d.text[end] == '"' && strings.Count(string(d.text[:start]), `"`)%2 == 0 {
		return span{start, end + 1}
	}
	return span{offset, offset + width}
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
