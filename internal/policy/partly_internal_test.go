package policy

import (
	"strings"
	"testing"
)

// TestOpsMeet compares with all texts of up to four letters.
func TestOpsMeet(t *testing.T) {
	t.Parallel()
	texts, sources := words("ab", 4), words("ab*?", 3)
	for _, a := range sources {
		for _, b := range sources {
			one, other := compilePattern(a, true, false).ops, compilePattern(b, true, false).ops
			want := false
			for _, text := range texts {
				want = want || (matchOps(one, text, false) && matchOps(other, text, false))
			}
			if got := opsMeet(one, other); got != want {
				t.Fatalf("%q and %q: %v, want %v", a, b, got, want)
			}
		}
	}
	long := strings.Repeat("a*", 2000)
	if !opsMeet(compilePattern(long, true, false).ops, compilePattern(long, true, false).ops) {
		t.Error("a long pattern does not meet itself")
	}
}

// words are all texts of letters up to a length.
func words(letters string, length int) []string {
	all := []string{""}
	for from := 0; length > 0; length-- {
		to := len(all)
		for ; from < to; from++ {
			for i := range len(letters) {
				all = append(all, all[from]+letters[i:i+1])
			}
		}
	}
	return all
}
