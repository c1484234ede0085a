package policy

import (
	"fmt"
	"strings"
	"testing"
)

func manyMembers(size int, format string) string {
	members := make([]string, size/len(format))
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

// BenchmarkFaults reads documents full of faults, and twice as full: each took
// the square of its length when every fault counted from the start of the text.
func BenchmarkFaults(b *testing.B) {
	for _, row := range []struct {
		name string
		text func(size int) string
	}{
		{"dashes", func(size int) string { return strings.Repeat("\u2013", size/3) }},
		{"texts", func(size int) string { return strings.Repeat("\"\u2013\"", size/5) }},
		{"text without end", func(size int) string { return `"` + strings.Repeat("\u2013", size/3) }},
		{"condition keys", func(size int) string {
			return `{"Statement":{"Condition":{"StringEquals":{` + manyMembers(size, `"key%06d":""`) + `}}}}`
		}},
		{"operators", func(size int) string {
			return `{"Statement":{"Condition":{` + manyMembers(size, `"operator%06d":{}`) + `}}}`
		}},
		{"statements", func(size int) string { return `{"Statement":[` + manyMembers(size, `{"Sid":"s%d"}`) + `]}` }},
	} {
		for _, size := range []int{60000, 120000} {
			text := []byte(row.text(size))
			b.Run(fmt.Sprint(row.name, "/", size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Lint(Identity, "p", text, LintOptions{})
				}
			})
		}
	}
}
