package broker

import (
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/broker/session"
)

// unclaimedFor is how long a session waits for its agent's next try: an agent asks
// for 16 pods at a time and gives each ten seconds (spec podidentity §6.3, §8), so
// that the next try for one of a hundred may be that far off.
const unclaimedFor = time.Minute

// unclaimed are sessions whose agents may have left before STS answered: an agent
// waits two seconds, and a turn at STS may take four. Without them the agent's
// next try would make another call, and while STS throttles most calls would be
// for nobody. --sts-qps bounds how many there are.
type unclaimed struct {
	mu   sync.Mutex
	kept map[string]*waitingSession
}

type waitingSession struct {
	*session.Session
	forget *time.Timer
}

func newUnclaimed() *unclaimed { return &unclaimed{kept: map[string]*waitingSession{}} }

// put has a session wait. The key names pod, association and its version.
func (u *unclaimed) put(key string, one *session.Session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	waiting := &waitingSession{Session: one}
	waiting.forget = time.AfterFunc(unclaimedFor, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.kept[key] == waiting {
			delete(u.kept, key)
		}
	})
	u.kept[key] = waiting
}

// claim takes it out; nil if there is none.
func (u *unclaimed) claim(key string) *session.Session {
	u.mu.Lock()
	defer u.mu.Unlock()
	found := u.kept[key]
	if found == nil {
		return nil
	}
	found.forget.Stop()
	delete(u.kept, key)
	return found.Session
}
