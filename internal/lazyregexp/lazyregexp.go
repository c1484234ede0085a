// Package lazyregexp holds regular expressions that are compiled when they are
// first used. Every command of rolecall, including `rolecall token` for each call
// of kubectl, initialises every package that is linked in: all commands pay for
// what a package compiles at init, even those that never match anything.
//
// It adds nothing to package regexp and is for package-level expressions only; an
// expression that comes from outside, or that a function makes, is regexp's.
package lazyregexp

import (
	"regexp"
	"sync"
)

// Regexp is a regular expression. Its methods are those of regexp.Regexp, and
// just as safe for concurrent use.
type Regexp struct {
	text     string
	once     sync.Once
	compiled *regexp.Regexp
}

// New keeps an expression without compiling it: the first use of one that is not
// valid panics. A test of the module compiles all that the source contains.
func New(text string) *Regexp { return &Regexp{text: text} }

func (r *Regexp) get() *regexp.Regexp {
	r.once.Do(func() { r.compiled = regexp.MustCompile(r.text) })
	return r.compiled
}

// Match reports whether b contains a match.
func (r *Regexp) Match(b []byte) bool {
	return r.get().Match(b)
}

// MatchString reports whether s contains a match.
func (r *Regexp) MatchString(s string) bool {
	return r.get().MatchString(s)
}

// Find returns the leftmost match in b, or nil.
func (r *Regexp) Find(b []byte) []byte {
	return r.get().Find(b)
}

// FindString returns the leftmost match in s, or nothing.
func (r *Regexp) FindString(s string) string {
	return r.get().FindString(s)
}

// FindAllString returns up to n matches in s, all if n is negative.
func (r *Regexp) FindAllString(s string, n int) []string {
	return r.get().FindAllString(s, n)
}

// FindAllStringIndex returns where up to n matches in s are, all if n is negative.
func (r *Regexp) FindAllStringIndex(s string, n int) [][]int {
	return r.get().FindAllStringIndex(s, n)
}

// FindAllStringSubmatch returns up to n matches in s with their groups, all if n is negative.
func (r *Regexp) FindAllStringSubmatch(s string, n int) [][]string {
	return r.get().FindAllStringSubmatch(s, n)
}

// FindSubmatch returns the leftmost match in b and its groups, or nil.
func (r *Regexp) FindSubmatch(b []byte) [][]byte {
	return r.get().FindSubmatch(b)
}

// FindStringSubmatch returns the leftmost match in s and its groups, or nil.
func (r *Regexp) FindStringSubmatch(s string) []string {
	return r.get().FindStringSubmatch(s)
}

// ReplaceAllString replaces all matches in src; $1 in repl stands for a group.
func (r *Regexp) ReplaceAllString(src, repl string) string {
	return r.get().ReplaceAllString(src, repl)
}

// ReplaceAllStringFunc replaces all matches in src with what repl makes of each.
func (r *Regexp) ReplaceAllStringFunc(src string, repl func(string) string) string {
	return r.get().ReplaceAllStringFunc(src, repl)
}

// String returns the expression.
func (r *Regexp) String() string {
	return r.get().String()
}
