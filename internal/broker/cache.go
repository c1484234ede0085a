package broker

import (
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/broker/session"
)

// maxCached is far above the pods of a cluster that one replica serves.
const maxCached = 20000

// cache keeps sessions for the first half of their life. A nil cache keeps
// nothing. The key names pod, association and its version, so that a change of
// either finds nothing; who may ask is decided before it is looked at.
type cache struct {
	mu   sync.Mutex
	kept map[string]*session.Session
}

func newCache() *cache { return &cache{kept: map[string]*session.Session{}} }

func (c *cache) get(key string, now time.Time) *session.Session {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.kept[key]
	if found == nil || old(found, now) {
		delete(c.kept, key)
		return nil
	}
	return found
}

func (c *cache) put(key string, one *session.Session, now time.Time) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= maxCached {
		for other, session := range c.kept {
			if old(session, now) {
				delete(c.kept, other)
			}
		}
	}
	if len(c.kept) < maxCached {
		c.kept[key] = one
	}
}

func old(s *session.Session, now time.Time) bool {
	return now.After(s.Issued.Add(s.Credentials.Expires.Sub(s.Issued) / 2))
}
