package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// levenshtein is the definition, in exponential time.
func levenshtein(a, b string) int {
	switch {
	case a == "" || b == "":
		return len(a) + len(b)
	case a[0] == b[0]:
		return levenshtein(a[1:], b[1:])
	}
	return 1 + min(levenshtein(a[1:], b), levenshtein(a, b[1:]), levenshtein(a[1:], b[1:]))
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	text := func() string {
		letters := make([]byte, random.IntN(8))
		for i := range letters {
			letters[i] = "ab"[random.IntN(2)]
		}
		return string(letters)
	}
	for range 5000 {
		a, b, limit := text(), text(), 1+random.IntN(3)
		if got, want := editDistance(a, b, limit), min(levenshtein(a, b), limit+1); got != want {
			t.Fatalf("%q to %q within %d: %d, want %d", a, b, limit, got, want)
		}
	}
	// The whole table would have 10¹² fields.
	long := strings.Repeat("a", 1<<20)
	if got := editDistance("b"+long, long+"c", 3); got != 2 {
		t.Errorf("long texts: %d", got)
	}
}
