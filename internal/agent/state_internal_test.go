package agent

import (
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// FuzzState: whatever a state file says, what is taken of it is a session that
// can be served.
func FuzzState(f *testing.F) {
	now := time.Unix(1790000000, 0)
	f.Add([]byte(`{"format":1,"cluster":"prod","entries":[{"podUID":"u1","namespace":"shop","serviceAccount":"cart",` +
		`"issued":"2026-09-21T14:13:20Z","expires":"2026-09-21T15:13:20Z",` +
		`"answer":{"AccessKeyId":"A","SecretAccessKey":"s","Token":"t","AccountId":"1",` +
		`"Expiration":"2026-09-21T15:13:20Z"},"tokens":[{"sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",` +
		`"expires":"2026-09-22T15:13:20Z"}]}]}`))
	f.Add([]byte(`{"format":1,"entries":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		state, err := parseState(text)
		if err != nil {
			return
		}
		c := newCache(
			100,
			policy{
				fraction:  0.5,
				retention: time.Hour,
				minServe:  15 * time.Second,
				podRate:   rate.Inf,
				rand:      func() float64 { return 0 },
			},
			func() {},
		)
		for i := range state.Entries {
			c.restore(&state.Entries[i], now, false)
		}
		for _, e := range c.entries.All() {
			left := e.session.expires.Sub(now)
			if left <= 15*time.Second || left > maxLife || e.session.body.IsZero() || len(e.session.length) != 1 {
				t.Errorf("restored %+v", e)
			}
		}
		c.save(now)
	})
}
