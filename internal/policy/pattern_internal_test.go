package policy

import (
	"testing"
	"unicode/utf8"
)

// naive is the definition of a match, in exponential time.
func naive(ops []op, value string) bool {
	if len(ops) == 0 {
		return value == ""
	}
	switch ops[0] {
	case anyRun:
		for i := 0; i <= len(value); i++ {
			if naive(ops[1:], value[i:]) {
				return true
			}
		}
		return false
	case anyOne:
		return value != "" && naive(ops[1:], value[1:])
	}
	return value != "" && op(value[0]) == ops[0] && naive(ops[1:], value[1:])
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("a*a*a*b", "aaaaaaaa")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, source, value string) {
		if len(source) > 12 || len(value) > 24 || !ascii(source) || !ascii(value) {
			return // the naive matcher is for short ASCII texts
		}
		ops := compilePattern(source, true, false).ops
		if got, want := matchOps(ops, value, false), naive(ops, value); got != want {
			t.Errorf("match(%q, %q) = %v, want %v", source, value, got, want)
		}
		if got, want := matchOps(ops, value, true), naive(lowerOps(ops), lowerText(value)); got != want {
			t.Errorf("match(%q, %q) without case = %v, want %v", source, value, got, want)
		}
		if utf8.ValidString(value) && matchOps(ops, value, false) != matchUnits(widen(ops), units(value)) {
			t.Errorf("the two matchers differ on %q, %q", source, value)
		}
	})
}

func TestMatchIsLinear(t *testing.T) {
	t.Parallel()
	long := make([]byte, 1<<16)
	for i := range long {
		long[i] = 'a'
	}
	// Exponential matchers never come back from this.
	if matchOps(compilePattern("a*a*a*a*a*a*a*a*a*a*b", true, false).ops, string(long), false) {
		t.Error("matched")
	}
}

func ascii(text string) bool { return isASCII(text) }

func units(text string) []uint16 {
	all := make([]uint16, 0, len(text))
	for i := range len(text) {
		all = append(all, uint16(text[i]))
	}
	return all
}
