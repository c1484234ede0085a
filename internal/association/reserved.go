package association

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// LookOfKey is what a tag's key looks like: the same for all keys that are equal in any
// folding of letter case or width, and with or without blanks at their ends. AWS's own
// folding is arn.FoldKey; that two keys look alike is enough to refuse one of them, since
// what reads a tag later may fold by another rule.
func LookOfKey(key string) string {
	if isPlain(key) {
		return strings.ToLower(strings.TrimSpace(key))
	}
	visible := strings.Map(func(c rune) rune {
		if unicode.In(c, unicode.Cf, unicode.Cc, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return c
	}, key)
	// Folding makes what can be composed again, and composing what can be folded.
	look := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(visible)))
	look = norm.NFKC.String(cases.Fold().String(look))
	return strings.TrimFunc(look, func(c rune) bool { return unicode.In(c, unicode.Z) || unicode.IsSpace(c) })
}

func isPlain(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
}

// IsReservedKey reports whether a tag's key looks like one that associations may not set:
// one of the six of every session, or one of AWS's own.
func IsReservedKey(key string) bool {
	look := LookOfKey(key)
	return strings.HasPrefix(look, "aws:") || slices.Contains(DefaultTags(), look)
}
