package startheap

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestNormal: the starting heap is larger, a server's is Go's own, and what the user has
// chosen with GOGC stays.
func TestNormal(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		if !chosen {
			t.Error("GOGC is set, and was not respected")
		}
		return
	}
	percent := func() int {
		now := debug.SetGCPercent(-1)
		debug.SetGCPercent(now)
		return now
	}
	if got := percent(); got != starting {
		t.Errorf("at the start: got %d, want %d", got, starting)
	}
	Normal()
	if got := percent(); got != normal {
		t.Errorf("of a server: got %d, want %d", got, normal)
	}
	chosen = true
	t.Cleanup(func() { chosen = false })
	t.Setenv("GOGC", "50")
	if !start() || percent() != normal {
		t.Errorf("GOGC is set, and was not respected: got %d", percent())
	}
}
