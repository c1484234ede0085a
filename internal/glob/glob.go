// Package glob matches names against patterns in which * stands for any
// characters and ? for one, over the whole name.
//
// It has no classes, escapes or separators, and does not fold case.
package glob

import "strings"

// Match reports whether the pattern stands for the whole name. It takes time of
// at most both lengths multiplied.
func Match(pattern, name string) bool { return match(pattern, name, false) }

// Covers reports whether the pattern stands for every name that other, a pattern
// too, stands for. Of others with a star at their end at most it is exact; of the
// rest it may say no where the answer is yes, never the other way.
func Covers(pattern, other string) bool { return match(ordered(pattern), ordered(other), true) }

// ordered puts question marks before the stars beside them, and makes one of such
// stars: *? and ?* stand for the same, and only the latter shows how much is left
// for the star.
func ordered(pattern string) string {
	var b strings.Builder
	star := false
	for i := range len(pattern) {
		switch c := pattern[i]; {
		case c == '*':
			star = true
		case c != '?' && star:
			star = false
			b.WriteString("*")
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	if star {
		b.WriteString("*")
	}
	return b.String()
}

// match is that of a pattern with a name; or with a pattern, of which only a star
// takes a star.
func match(pattern, name string, isPattern bool) bool {
	p, n := 0, 0
	star, resume := -1, 0 // the last star, and where the name goes on after it
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' && (!isPattern || name[n] != '*') || pattern[p] == name[n]):
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
