// Package glob matches names against patterns in which * stands for any
// characters and ? for one, over the whole name.
//
// It has no classes, escapes or separators, and does not fold case.
package glob

import "strings"

// Match reports whether the pattern stands for the whole name. It takes time of
// at most both lengths multiplied.
func Match(pattern, name string) bool {
	p, n := 0, 0
	star, resume := -1, 0 // the last star, and where the name goes on after it
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			resume++
			p, n = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// IsPattern reports whether text stands for more than itself.
func IsPattern(text string) bool { return strings.ContainsAny(text, "*?") }

// Literal returns how many characters stand before the first wildcard: the more,
// the closer a pattern is.
func Literal(pattern string) int {
	if i := strings.IndexAny(pattern, "*?"); i >= 0 {
		return i
	}
	return len(pattern)
}
