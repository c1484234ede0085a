package glob_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/glob"
)

func FuzzMatch(f *testing.F) {
	for _, row := range [][2]string{
		{"*", ""},
		{"", ""},
		{"", "a"},
		{"a*", "ab"},
		{"*a", "ba"},
		{"a?c", "abc"},
		{"*a*b*", "xaxbx"},
		{"a*a", "a"},
		{"**", "a"},
		{"?", ""},
		{"team-*", "team-a"},
		{"team-*", "steam-a"},
		{"a.c", "abc"},
		{"[a]", "a"},
		{"a*b*c", "abbbcabc"},
	} {
		f.Add(row[0], row[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if strings.Count(pattern, "*") > 8 || len(name) > 200 {
			t.Skip("the regular expression is slow")
		}
		for _, text := range []string{pattern, name} {
			for _, c := range []byte(text) {
				if c >= 0x80 {
					t.Skip("names of Kubernetes and AWS are ASCII")
				}
			}
		}
		quoted := strings.NewReplacer(`\*`, `(?s:.*)`, `\?`, `(?s:.)`).Replace(regexp.QuoteMeta(pattern))
		want := regexp.MustCompile(`\A(?:` + quoted + `)\z`).MatchString(name)
		if got := glob.Match(pattern, name); got != want {
			t.Errorf("%q matches %q: %t", pattern, name, got)
		}
		if !glob.IsPattern(pattern) && glob.Match(pattern, name) != (pattern == name) {
			t.Errorf("%q is not a pattern, but matches %q", pattern, name)
		}
		if glob.Match(pattern, name) && !strings.HasPrefix(name, pattern[:glob.Literal(pattern)]) {
			t.Errorf("literal of %q", pattern)
		}
	})
}

// FuzzCovers: a yes holds for every name tried; and of text that ends in a star,
// a no has a witness.
func FuzzCovers(f *testing.F) {
	for _, row := range [][3]string{
		{"a*", "ab*", "abc"},
		{"a?", "a*", "abc"},
		{"*?", "?*", "x"},
		{"a*?", "ab*", "ab"},
		{"*a", "a*", "ab"},
		{"?", "*", ""},
		{"**", "*", "a"},
		{"a*b*", "ab*c", "abxc"},
	} {
		f.Add(row[0], row[1], row[2])
	}
	f.Fuzz(func(t *testing.T, pattern, other, name string) {
		if len(pattern)+len(other)+len(name) > 300 {
			t.Skip("slow")
		}
		if glob.Covers(pattern, other) && glob.Match(other, name) && !glob.Match(pattern, name) {
			t.Errorf("%q covers %q, but does not stand for %q", pattern, other, name)
		}
		text := strings.NewReplacer("*", "", "?", "").Replace(other)
		if glob.Covers(pattern, text+"*") || strings.Contains(pattern+text, "\x00") {
			return
		}
		if long := text + strings.Repeat("\x00", len(pattern)+1); glob.Match(pattern, text) && glob.Match(pattern, long) {
			t.Errorf("%q stands for %q and %q, but does not cover %q", pattern, text, long, text+"*")
		}
	})
}
