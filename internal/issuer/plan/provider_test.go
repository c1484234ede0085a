package plan_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/issuer/plan"
)

func TestIsThumbprint(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		strings.Repeat("a", 40):        true,
		strings.Repeat("0F", 20):       true,
		strings.Repeat("a", 39):        false,
		strings.Repeat("a", 41):        false,
		strings.Repeat("g", 40):        false,
		strings.Repeat("a", 40) + "\n": false,
		"":                             false,
	} {
		if got := plan.IsThumbprint(text); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}

func TestIsAudience(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"sts.amazonaws.com":      true,
		strings.Repeat("a", 255): true,
		strings.Repeat("a", 256): false,
		"":                       false,
	} {
		if got := plan.IsAudience(text); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}
