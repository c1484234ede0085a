// Package limit bounds what strangers can make a server remember and do: a map
// that forgets what was used longest ago (LRU), the same for values that end
// (Cache), a rate for each name (Rates), and places that are taken without
// waiting (Slots).
//
// Everything here is bounded in size, costs the same however full it is, holds no
// lock across anything but its own map, and is told what time it is. What does the
// limiting is golang.org/x/time/rate. It does not know who is limited, or why; and
// it neither waits nor queues.
//
// The map is our own and not k8s.io/utils/lru, whose keys and values are interfaces:
// a look-up by a SHA-256 would allocate, and values that must stay for now cannot be
// kept.
package limit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Cache is an LRU of values that end. It is safe for concurrent use; nil keeps
// nothing.
type Cache[K comparable, V any] struct {
	mu   sync.Mutex
	kept *LRU[K, ending[V]]
}

type ending[V any] struct {
	value V
	until time.Time
}

// NewCache makes a cache of at most size values.
func NewCache[K comparable, V any](size int) *Cache[K, V] {
	return &Cache[K, V]{kept: NewLRU[K, ending[V]](size)}
}

// Get returns a value before its end.
func (c *Cache[K, V]) Get(key K, now time.Time) (value V, found bool) {
	if c == nil {
		return value, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	one, found := c.kept.Get(key)
	if found && !now.Before(one.until) {
		c.kept.Delete(key)
		return value, false
	}
	return one.value, found
}

// Put keeps a value until its end, or until it has to make room.
func (c *Cache[K, V]) Put(key K, value V, until time.Time) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept.Put(key, ending[V]{value, until})
}

// Rates are one limiter for each name, all of the same rate. It is safe for
// concurrent use.
//
// When there are as many names as it may remember, a new one takes the place of the
// one that was charged longest ago, if that one's limiter is full again: a full
// limiter is the same as a new one. Otherwise the new name is refused, since
// forgetting somebody who owes would give them everything back. A name that is not
// charged is full after burst/rate at the latest, so that room comes back that
// soon.
type Rates[K comparable] struct {
	limit rate.Limit
	burst int

	mu    sync.Mutex
	known *LRU[K, *rate.Limiter]
}

// NewRates allows each name so many a second, and at once.
func NewRates[K comparable](perSecond float64, burst, names int) *Rates[K] {
	return &Rates[K]{limit: rate.Limit(perSecond), burst: burst, known: NewLRU[K, *rate.Limiter](names)}
}

// Allow charges a name one, and reports whether it had that.
func (r *Rates[K]) Allow(name K, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.of(name, now)
	return one != nil && one.AllowN(now, 1)
}

// Has reports whether a name has one left, and charges nothing.
func (r *Rates[K]) Has(name K, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, found := r.known.Peek(name)
	return !found || one.TokensAt(now) >= 1
}

// Full reports whether a name has all that it may have: it was not charged, or so long
// ago that it makes no difference.
func (r *Rates[K]) Full(name K, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, found := r.known.Peek(name)
	return !found || one.TokensAt(now) >= float64(r.burst)
}

// Drain charges a name all that it has left.
func (r *Rates[K]) Drain(name K, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.of(name, now); one != nil {
		one.AllowN(now, int(one.TokensAt(now)))
	}
}

// of returns the limiter of a name; nil if there is no room for another. It is
// called with the lock held.
func (r *Rates[K]) of(name K, now time.Time) *rate.Limiter {
	if one, found := r.known.Get(name); found {
		return one
	}
	if r.known.Len() >= r.known.Size() {
		oldest, limiter, found := r.known.Oldest()
		if !found || limiter.TokensAt(now) < float64(r.burst) {
			return nil
		}
		r.known.Delete(oldest)
	}
	one := rate.NewLimiter(r.limit, r.burst)
	r.known.Put(name, one)
	return one
}

// Slots are places that are taken without waiting.
type Slots chan struct{}

// NewSlots makes so many places.
func NewSlots(places int) Slots { return make(Slots, places) }

// Take reports whether there was a place; then Free must be called.
func (s Slots) Take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

// Free gives a place back.
func (s Slots) Free() { <-s }
