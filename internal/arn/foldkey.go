package arn

import (
	"strings"
	"unicode"
)

// FoldKey is the form in which keys of conditions and tags are equal: AWS ignores their
// letter case (spec iam-policy §5). Every letter becomes its lower-case letter, as in
// StringEqualsIgnoreCase but without regard to what stands beside it: K (U+212A) is k,
// and ſ is not s. All that compares keys must compare them by this function, so that no
// two parts differ about which tag a condition is about.
func FoldKey(key string) string {
	for i := range len(key) {
		if c := key[i]; c >= 0x80 || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, key)
		}
	}
	return key
}

// dotted is İ. Its lower-case form in full is two characters, and not i.
const dotted = '\u0130'

func foldRune(c rune) rune {
	if c == dotted {
		return c
	}
	return unicode.ToLower(c)
}

// SameKey reports whether two keys are one to AWS.
func SameKey(a, b string) bool { return FoldKey(a) == FoldKey(b) }
