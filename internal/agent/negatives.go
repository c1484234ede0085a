package agent

import (
	"sync"
	"time"
)

// maxNegatives bounds what is remembered of refused tokens.
const maxNegatives = 1000

// negatives remember for a moment what the upstream refused, so that a client
// which tries again at once, or a thousand that do, cost nothing.
type negatives struct {
	mu    sync.Mutex
	known *lru[fingerprint, negative]
}

type negative struct {
	refusal *refusal
	until   time.Time
}

func newNegatives() *negatives {
	return &negatives{known: newLRU[fingerprint, negative](maxNegatives)}
}

func (n *negatives) get(print fingerprint, now time.Time) (*refusal, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	one, found := n.known.get(print)
	if !found || !now.Before(one.until) {
		return nil, false
	}
	return one.refusal, true
}

func (n *negatives) put(print fingerprint, r *refusal, now time.Time) {
	keep := negativeTime(r)
	if keep == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known.put(print, negative{r, now.Add(keep)})
}

// negativeTime: associations and policies become visible late, and SDKs try for
// about three seconds; a bad token stays bad (spec podidentity §7.4). Our own
// limits are no verdict on a token.
func negativeTime(r *refusal) time.Duration {
	switch {
	case r.limit != "":
		return 0
	case r.code == "InvalidTokenException", r.code == "ExpiredTokenException":
		return 10 * time.Second
	case r.class == final:
		return time.Second
	}
	return 250 * time.Millisecond
}
