package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func manyMembers(format string) string {
	members := make([]string, 130000/len(format))
	for i := range members {
		members[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(members, ",")
}

func TestCursor(t *testing.T) {
	t.Parallel()
	text := []byte("ab\ncdé\n\nfg")
	want := map[int]position{0: {1, 1}, 2: {1, 3}, 3: {2, 1}, 7: {2, 4}, 8: {3, 1}, 9: {4, 1}, 11: {4, 3}, 99: {4, 3}}
	c := newCursor(text)
	for from := range want {
		for to, place := range want {
			c.to(from)
			if got := c.to(to); got != place {
				t.Errorf("from %d to %d: %v, want %v", from, to, got, place)
			}
		}
	}
}

// TestFaultsTakeLinearTime: each of these took seconds when every fault began to
// count from the start of the text.
func TestFaultsTakeLinearTime(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"dashes":           strings.Repeat("\u2013", 40000),
		"texts":            strings.Repeat("\"\u2013\"", 25000),
		"text without end": `"` + strings.Repeat("\u2013", 40000),
		"condition keys":   `{"Statement":{"Condition":{"StringEquals":{` + manyMembers(`"key%06d":""`) + `}}}}`,
		"operators":        `{"Statement":{"Condition":{` + manyMembers(`"operator%06d":{}`) + `}}}`,
		"statements":       `{"Statement":[` + manyMembers(`{"Sid":"s%d"}`) + `]}`,
	} {
		start := time.Now()
		_, _ = Parse(Identity, "p", []byte(text))
		Lint(Identity, "p", []byte(text), LintOptions{})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: %s", name, took)
		}
	}
}
