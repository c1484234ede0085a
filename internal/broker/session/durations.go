package session

import (
	"sync"
	"time"
)

const (
	// shortMaximum is how long sessions of a role may last unless somebody raised
	// it, and so what is asked for after a refusal.
	shortMaximum = time.Hour
	learnedFor   = time.Hour
	maxLearned   = 10000
)

// durations remembers the roles whose sessions may not last longer than an hour,
// for an hour: they may be changed.
type durations struct {
	mu    sync.Mutex
	until map[string]time.Time // by role ARN
}

func (d *durations) limit(role string, want time.Duration, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Before(d.until[role]) {
		return min(want, shortMaximum)
	}
	return want
}

func (d *durations) learn(role string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == nil || len(d.until) >= maxLearned {
		d.until = map[string]time.Time{} // learned again at the price of a call each
	}
	d.until[role] = now.Add(learnedFor)
}
