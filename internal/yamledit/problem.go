package yamledit

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

var (
	yamlName      = lazyregexp.New(`^(?:error converting YAML to JSON: )?yaml: `)
	decoding      = lazyregexp.New(`^error unmarshaling JSON: (?:while decoding JSON: )?(?:json: )?`)
	yamlLine      = lazyregexp.New(`line (\d+): `)
	unknownAnchor = lazyregexp.New(`^unknown anchor '(.*)' referenced$`)
)

// Problem takes what a YAML parser said of a text apart: the line, and the rest. The
// parser leaves the line out where it is the first, of aliases without an anchor, and of
// bytes that YAML does not have.
func Problem(text []byte, err error) (line int, message string) {
	message = yamlName.ReplaceAllString(err.Error(), "")
	if match := yamlLine.FindStringSubmatch(message); match != nil {
		if line, err := strconv.Atoi(match[1]); err == nil {
			return line, strings.Replace(message, match[0], "", 1)
		}
	}
	at := -1
	switch match := unknownAnchor.FindStringSubmatch(message); {
	case match != nil:
		at = bytes.Index(text, []byte("*"+match[1]))
	case strings.Contains(message, "control characters"):
		at = bytes.IndexFunc(text, func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\n\r", r) || r == 0x7f })
	case strings.Contains(message, "UTF-8"):
		at = len(text) - len(invalidFrom(text))
	}
	return 1 + bytes.Count(text[:max(at, 0)], []byte("\n")), message
}

// Invalid is the refusal of a text that a YAML parser did not take, or whose content a
// decoder did not. first is the number of the text's first line in the source.
func Invalid(source string, first int, text []byte, err error) *fault.Error {
	if !yamlName.MatchString(err.Error()) {
		return fault.New(fault.Invalid, "%s: %s", source, decoding.ReplaceAllString(err.Error(), ""))
	}
	line, message := Problem(text, err)
	return notYAML(source, first+line-1, "", message)
}

func notYAML(source string, line int, column, message string) *fault.Error {
	return fault.New(fault.Invalid, "%s:%d%s: not valid YAML: %s", source, line, column, message).
		Hint("look at the indentation and quotes at and above line %d", line)
}

// invalidFrom returns text from its first byte that is not UTF-8.
func invalidFrom(text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			break
		}
		text = text[size:]
	}
	return text
}
