// Package glob matches names against patterns in which * stands for any
// characters and ? for one, over the whole name.
//
// It has no classes, escapes or separators, and does not fold case.
package glob

import "strings"

// Match reports whether the pattern matches the whole name. It takes time
// proportional to at most the product of both lengths.
func Match(pattern, name string) bool { return match(pattern, name, false) }

// Covers reports whether the pattern matches every name that other, a pattern
// too, matches. For an other with no star, or one at its end only, it is exact;
// for the rest it may say no where the answer is yes, never the other way round.
func Covers(pattern, other string) bool { return match(ordered(pattern), ordered(other), true) }

// ordered puts question marks before the stars beside them, and merges such stars
// into one: *? and ?* match the same names, and only the latter shows how much is
// left for the star.
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

// match matches a pattern with a name, or with another pattern, whose stars only
// a star matches.
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

// IsPattern reports whether text has wildcards, and so matches more than
// itself.
func IsPattern(text string) bool { return strings.ContainsAny(text, "*?") }

// Literal returns how many characters precede the first wildcard: the more, the
// more specific a pattern is.
func Literal(pattern string) int {
	if i := strings.IndexAny(pattern, "*?"); i >= 0 {
		return i
	}
	return len(pattern)
}
