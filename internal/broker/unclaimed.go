package broker

import (
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/broker/session"
)

// How long what a flight came to waits for its agent's next try. An agent asks for 16
// pods at a time and gives each ten seconds and more (spec podidentity §6.3, §8), so
// that the next try for one of a hundred may be a minute off. A refusal may be cured
// by then, and is kept only as long as it takes those who are told to ask again.
const (
	unclaimedFor = time.Minute
	refusedFor   = 5 * time.Second
)

// unclaimed are the results of flights whose agents may have left before STS answered:
// an agent is told to ask again after four seconds, and STS may take longer. Without
// them the next try would make another call, and while STS is slow or throttles most
// calls would be for nobody. --sts-qps bounds how many there are.
type unclaimed struct {
	mu   sync.Mutex
	kept map[string]*waitingResult
}

// waitingResult is a session, or why there is none.
type waitingResult struct {
	session *session.Session
	err     error
	forget  *time.Timer
}

func newUnclaimed() *unclaimed { return &unclaimed{kept: map[string]*waitingResult{}} }

// put has a result wait. The key names pod, association and its version. What is only
// for the moment - STS fails, throttles or does not answer - does not wait: the next
// try is to find out whether it still does.
func (u *unclaimed) put(key string, got *session.Session, err error) {
	keep := unclaimedFor
	if err != nil {
		if code := refusal.Of(err).Code; code == refusal.Throttled || code == refusal.Unavailable ||
			code == refusal.Internal {
			return
		}
		keep = refusedFor
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	waiting := &waitingResult{session: got, err: err}
	waiting.forget = time.AfterFunc(keep, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.kept[key] == waiting {
			delete(u.kept, key)
		}
	})
	u.kept[key] = waiting
}

// claim takes it out; nil if there is none.
func (u *unclaimed) claim(key string) *waitingResult {
	u.mu.Lock()
	defer u.mu.Unlock()
	found := u.kept[key]
	if found == nil {
		return nil
	}
	found.forget.Stop()
	delete(u.kept, key)
	return found
}
