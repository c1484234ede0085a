package arn

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of session tags (STS API Reference, AssumeRole: Tags, and Tag), lengths
// in characters; spec podidentity §14.1.
const (
	MaxSessionTags = 50
	MaxTagKey      = 128
	MaxTagValue    = 256
)

// IsTagKey reports whether STS accepts text as the key of a session tag: 1 to 128
// letters, digits and separators of any script and _.:/=+-@. It does not say
// whose key it is, or which keys are equal.
func IsTagKey(text string) bool {
	return text != "" && utf8.RuneCountInString(text) <= MaxTagKey && isTagText(text)
}

// IsTagValue reports whether STS accepts text as the value of a session tag: at
// most 256 of the characters allowed in keys. It may be empty.
func IsTagValue(text string) bool {
	return utf8.RuneCountInString(text) <= MaxTagValue && isTagText(text)
}

func isTagText(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return !IsTagCharacter(c) })
}

// IsTagCharacter reports whether STS accepts a character in keys and values of
// session tags: [\p{L}\p{Z}\p{N}_.:/=+\-@] in its API Reference.
func IsTagCharacter(c rune) bool {
	return unicode.In(c, unicode.L, unicode.Z, unicode.N) || strings.ContainsRune("_.:/=+-@", c)
}
