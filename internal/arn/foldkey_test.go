package arn_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/rolecall/rolecall/internal/arn"
)

// TestFoldKey: which letters are one in a key.
func TestFoldKey(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b string
		same bool
	}{
		{"costs", "Costs", true},
		{"costs", "COSTS", true},
		{"costs", "co\u017fts", false}, // ſ
		{"kube", "\u212aube", true},    // K
		{"i", "I", true},
		{"i", "\u0130", false}, // İ
		{"i", "\u0131", false}, // ı
		{"ä", "Ä", true},
		{"ς", "σ", false},
		{"Σ", "σ", true},
		{"ß", "ẞ", true},
		{"ß", "ss", false},
		{"a", "а", false}, // Cyrillic
		{"key", "key ", false},
		{"", "", true},
		{"\xff", "\xfe", true}, // no text, which nothing accepts as a key
	} {
		if got := arn.SameKey(row.a, row.b); got != row.same {
			t.Errorf("%q and %q: %t", row.a, row.b, got)
		}
	}
}

// FuzzFoldKey: it is a form, and the form of all letters alike, whatever stands beside them.
func FuzzFoldKey(f *testing.F) {
	for _, seed := range []string{"", "Costs", "co\u017fts", "\u212a", "\u0130", "ΟΣ", "Ǆ", "ﬅ", "\xff", "aws:RequestTag/A b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		folded := arn.FoldKey(key)
		if arn.FoldKey(folded) != folded {
			t.Errorf("%q: %q, then %q", key, folded, arn.FoldKey(folded))
		}
		var one strings.Builder
		for _, c := range key {
			one.WriteString(arn.FoldKey(string(c)))
		}
		if one.String() != strings.ToValidUTF8(folded, "\ufffd") && one.String() != folded {
			t.Errorf("%q: %q by letters, %q as a whole", key, one.String(), folded)
		}
		if ascii := strings.Map(func(c rune) rune {
			if 'A' <= c && c <= 'Z' {
				return c + 'a' - 'A'
			}
			return c
		}, key); arn.FoldKey(ascii) != folded {
			t.Errorf("%q differs from %q", key, ascii)
		}
	})
}

// TestFoldKeyIsLower: of all letters there are, only İ is not its simple lower case.
func TestFoldKeyIsLower(t *testing.T) {
	t.Parallel()
	var others []rune
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if text := string(c); arn.FoldKey(text) != string(unicode.ToLower(c)) {
			others = append(others, c)
		}
	}
	if !slices.Equal(others, []rune{'\u0130'}) {
		t.Errorf("%q", others)
	}
}
