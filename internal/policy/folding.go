package policy

import (
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// equalFolded compares as StringEqualsIgnoreCase does: both sides in full,
// context-dependent Unicode lower case (spec iam-policy §3.2). ASCII, the
// common case, is compared without a copy.
func equalFolded(a, b string) bool {
	if isASCII(a) && isASCII(b) {
		return equalASCII(a, b)
	}
	// A caser keeps state, so each comparison has its own.
	return cases.Lower(language.Und).String(a) == cases.Lower(language.Und).String(b)
}

// equalASCII compares bytes, ASCII letters without regard to case.
func equalASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

func lowerASCII(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// lowerText lowers ASCII letters and nothing else.
func lowerText(text string) string {
	lowered := []byte(text)
	for i, b := range lowered {
		lowered[i] = lowerASCII(b)
	}
	return string(lowered)
}
