package broker

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what nodes, pods and strangers can make the broker do (spec
// podidentity §19.8), each as requests a second and at once.
type Limits struct {
	NodeRate, PodRate, FailureRate    float64
	NodeBurst, PodBurst, FailureBurst int
}

// DefaultLimits are those of the specification. Failures are of one address
// whose requests are not authenticated.
func DefaultLimits() Limits {
	return Limits{NodeRate: 20, NodeBurst: 100, PodRate: 1, PodBurst: 5, FailureRate: 5, FailureBurst: 50}
}

// Most that is remembered of each.
const (
	maxNodes   = 10000
	maxPods    = 100000
	maxSources = 10000
)

// Requests that are served at a time: for sessions, each for a few seconds, and
// polls, one of each node for a minute.
const (
	maxRunning = 2000
	maxPolling = 20000
)

// slots are taken without waiting.
type slots chan struct{}

func (s slots) take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) free() { <-s }

type limits struct{ nodes, pods, sources *limiters }

func newLimits(l Limits) *limits {
	return &limits{
		nodes:   newLimiters(l.NodeRate, l.NodeBurst, maxNodes),
		pods:    newLimiters(l.PodRate, l.PodBurst, maxPods),
		sources: newLimiters(l.FailureRate, l.FailureBurst, maxSources),
	}
}

func (l *limits) node(name string, now time.Time) bool { return l.nodes.allow(name, now) }

func (l *limits) pod(key string, now time.Time) bool { return l.pods.allow(key, now) }

// cool takes what a pod has left, so that it may ask once a second while STS
// throttles.
func (l *limits) cool(key string, now time.Time) { l.pods.drain(key, now) }

// mayFail reports whether an address has failures left; failed charges one.
func (l *limits) mayFail(address string, now time.Time) bool { return l.sources.has(address, now) }

func (l *limits) failed(address string, now time.Time) { l.sources.allow(address, now) }

// limiters are one limiter for each name. A full one is as good as none, so that
// those can be forgotten.
type limiters struct {
	limit rate.Limit
	burst int
	max   int

	mu    sync.Mutex
	known map[string]*rate.Limiter
}

func newLimiters(perSecond float64, burst, most int) *limiters {
	return &limiters{limit: rate.Limit(perSecond), burst: burst, max: most, known: map[string]*rate.Limiter{}}
}

// of returns the limiter of a name; nil if there is no room for another.
func (l *limiters) of(name string, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, found := l.known[name]
	if found {
		return one
	}
	if len(l.known) >= l.max {
		for other, limiter := range l.known {
			if limiter.TokensAt(now) >= float64(l.burst) {
				delete(l.known, other)
			}
		}
		if len(l.known) >= l.max {
			return nil
		}
	}
	one = rate.NewLimiter(l.limit, l.burst)
	l.known[name] = one
	return one
}

func (l *limiters) allow(name string, now time.Time) bool {
	one := l.of(name, now)
	return one != nil && one.AllowN(now, 1)
}

func (l *limiters) has(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, found := l.known[name]
	return !found || one.TokensAt(now) >= 1
}

func (l *limiters) drain(name string, now time.Time) {
	if one := l.of(name, now); one != nil {
		one.AllowN(now, int(one.TokensAt(now)))
	}
}
