package agent

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/limit"
)

// fingerprint stands for a token in every map: the token itself is never a key.
type fingerprint [sha256.Size]byte

// entryKey is what credentials belong to. Tokens without a pod have only their
// own fingerprint. Namespace and account are part of the key, so that a token
// of one account never finds what another was given, whatever pod it names.
type entryKey struct {
	podUID, namespace, serviceAccount string
	token                             fingerprint
}

func keyOf(id identity, print fingerprint) entryKey {
	if id.podUID == "" || id.namespace == "" || id.serviceAccount == "" {
		return entryKey{token: print}
	}
	return entryKey{podUID: id.podUID, namespace: id.namespace, serviceAccount: id.serviceAccount}
}

// entry is what one pod has. Its fields are guarded by the cache; a session
// itself never changes.
type entry struct {
	key     entryKey
	id      identity
	session *session
	// token is the newest that was accepted, for renewals.
	token       credential.Secret
	tokenExpiry time.Time
	tokenPrint  fingerprint

	lastUsed time.Time
	// due is when to renew; failures and denied count renewals that failed.
	due      time.Time
	failures int
	denied   bool
	// stale: the association is newer than the session. The next request renews
	// it, and so does the next look at what is due.
	stale bool
	// renewing saves the entry from eviction.
	renewing bool
	limit    *rate.Limiter
	// restored: it comes from the previous agent.
	restored bool
}

// accepted links a token to an entry. It exists only for tokens that the
// upstream or a local key has accepted.
type accepted struct {
	key               entryKey
	notBefore, expiry time.Time
}

// cache holds the sessions of this node's pods, in memory only.
type cache struct {
	mu      sync.Mutex
	entries *limit.LRU[entryKey, *entry]
	tokens  *limit.LRU[fingerprint, accepted]
	policy  policy
	// news are the last changes of associations, for answers that were under way
	// when their association changed.
	news *limit.LRU[string, awsapi.AssociationChange]
	// looked is when the entries were last gone through, and quiet until when
	// that need not be done again.
	looked, quiet time.Time
}

const (
	maxNews = 4096
	// staleRetry is when to ask again a broker that does not know yet what it
	// said itself, or another replica of it.
	staleRetry = 2 * time.Second
)

// quietAtMost bounds how late it is noticed that an idle pod asks again.
const quietAtMost = time.Minute

// policy is when entries are renewed and how often pods may ask.
type policy struct {
	fraction  float64
	retention time.Duration
	minServe  time.Duration
	podRate   rate.Limit
	podBurst  int
	rand      func() float64
}

func newCache(size int, p policy, evicted func()) *cache {
	c := &cache{
		entries: limit.NewLRU[entryKey, *entry](size), tokens: limit.NewLRU[fingerprint, accepted](4 * size), policy: p,
		news: limit.NewLRU[string, awsapi.AssociationChange](maxNews),
	}
	c.entries.Keep = func(e *entry) bool { return e.renewing }
	c.entries.Evicted = func(entryKey, *entry) { evicted() }
	return c
}

// found is an entry at one moment.
type found struct {
	entry   *entry
	session *session
	// retryAt is when a renewal may be tried again.
	retryAt        time.Time
	limited, stale bool
}

// lookup finds by a token that was accepted before and is still valid. Each
// lookup is charged to the pod.
func (c *cache) lookup(print fingerprint, raw string, now time.Time) (found, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	link, ok := c.tokens.Get(print)
	if !ok || !now.Before(link.expiry) || now.Add(clockSkew).Before(link.notBefore) {
		return found{}, false
	}
	f, hit := c.use(link.key, now)
	if hit && f.entry.token.IsZero() { // restored
		f.entry.token, f.entry.tokenExpiry, f.entry.tokenPrint = credential.NewSecret(raw), link.expiry, print
		c.quiet = time.Time{}
	}
	return f, hit
}

// use reads an entry for a pod. Credentials that are about to expire count as
// none.
func (c *cache) use(key entryKey, now time.Time) (found, bool) {
	e, ok := c.entries.Get(key)
	if !ok {
		return found{}, false
	}
	if e.session.expires.Sub(now) <= c.policy.minServe {
		if !e.renewing {
			c.entries.Delete(key)
		}
		return found{}, false
	}
	e.lastUsed = now
	f := found{entry: e, session: e.session, limited: !e.limit.AllowN(now, 1), stale: e.stale}
	if e.failures > 0 || e.stale {
		f.retryAt = e.due
	}
	return f, true
}

// link lets a token that a local key verified find what its pod has. ok is
// false when the pod has nothing: then the upstream decides.
func (c *cache) link(print fingerprint, p *peeked, raw credential.Secret, now time.Time) (found, bool) {
	id := p.identity()
	key := keyOf(id, print)
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries.Get(key)
	if key.podUID == "" || !ok || e.id != id {
		return found{}, false
	}
	c.tokens.Put(print, accepted{key, p.notBefore, p.expiry})
	if e.offer(print, p, raw) && e.failures > 0 && !e.renewing {
		e.due = now // perhaps it was the old token's fault
	}
	c.quiet = time.Time{} // it may have waited for a token
	return c.use(key, now)
}

// offer keeps the token that lives longest, and reports whether it is this one.
// A token that is new re-arms the renewal of an entry whose old one had expired.
func (e *entry) offer(print fingerprint, p *peeked, raw credential.Secret) bool {
	newer := p.expiry.After(e.tokenExpiry)
	if newer {
		e.token, e.tokenExpiry, e.tokenPrint = raw, p.expiry, print
	}
	return newer
}

// store keeps what the upstream gave for a token.
func (c *cache) store(print fingerprint, p *peeked, id identity, raw credential.Secret, s *session) {
	if c.entries.Size() == 0 {
		return
	}
	key := keyOf(id, print)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.revoked(s) {
		return // asked before the association went, and answered after
	}
	e, ok := c.entries.Get(key)
	if !ok {
		e = &entry{key: key, id: id, lastUsed: s.issued, limit: c.newLimit()}
	}
	e.offer(print, p, raw)
	c.renewed(e, s)
	c.entries.Put(key, e)
	c.tokens.Put(print, accepted{key, p.notBefore, p.expiry})
}

func (c *cache) newLimit() *rate.Limiter { return rate.NewLimiter(c.policy.podRate, c.policy.podBurst) }

// renewed sets a new session. The caller holds the lock.
func (c *cache) renewed(e *entry, s *session) {
	e.session, e.failures, e.denied, e.stale = s, 0, false, false
	at := s.refreshAt(c.policy.fraction, c.policy.retention, c.policy.rand())
	if news, known := c.news.Get(s.associationID); known && s.version != 0 && s.version < news.Version {
		e.stale, at = true, s.issued.Add(staleRetry)
	}
	c.setDue(e, at)
}

// revoked: the session's association was deleted or paused after it was made.
// The caller holds the lock.
func (c *cache) revoked(s *session) bool {
	news, known := c.news.Get(s.associationID)
	return known && news.Gone && (news.Version == 0 || s.version <= news.Version)
}

// changed takes in what became of associations: what they gave is dropped when
// they are gone, and due at once when it is of an older version.
func (c *cache) changed(changes []awsapi.AssociationChange, now time.Time) (dropped, stale int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := map[string]awsapi.AssociationChange{}
	for _, change := range changes {
		if old, known := c.news.Get(
			change.AssociationID,
		); known && change.Version != 0 && change.Version < old.Version {
			continue // told again, by a broker that has restarted
		}
		by[change.AssociationID] = change
		c.news.Put(change.AssociationID, change)
	}
	for key, e := range c.entries.All() {
		change, affected := by[e.session.associationID]
		switch {
		case !affected:
		case c.revoked(e.session):
			c.entries.Delete(key)
			dropped++
		case !change.Gone && (change.Version == 0 || e.session.version < change.Version):
			e.stale = true
			c.setDue(e, now)
			stale++
		}
	}
	return dropped, stale
}

func (c *cache) setDue(e *entry, at time.Time) {
	e.due = at
	if at.Before(c.quiet) {
		c.quiet = at
	}
}

// due marks up to limit entries as being renewed, those with the least life
// first. Entries that nobody asks for are not
// renewed, unless running says that their pod is there.
func (c *cache) due(now time.Time, limit int, running func(podUID string) bool) (picked []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.quiet) && !now.Before(c.looked) {
		return nil
	}
	c.looked, c.quiet = now, now.Add(quietAtMost)
	for key, e := range c.entries.All() {
		if now.Before(e.due) && e.due.Before(c.quiet) {
			c.quiet = e.due
		}
		idle := now.Sub(e.lastUsed) > e.session.life() && !running(key.podUID)
		switch {
		case e.renewing:
		case e.session.expires.Sub(now) <= c.policy.minServe:
			c.entries.Delete(key)
		case !now.Before(e.due) && now.Before(e.tokenExpiry) && !idle:
			picked = append(picked, e)
		}
	}
	slices.SortFunc(picked, func(a, b *entry) int { return a.session.expires.Compare(b.session.expires) })
	waiting := len(picked)
	if waiting > limit {
		c.quiet = now
	}
	picked = picked[:min(limit, waiting)]
	for _, e := range picked {
		e.renewing = true
	}
	return picked
}

// claim marks one entry as being renewed, unless it is already.
func (c *cache) claim(e *entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.renewing {
		return false
	}
	e.renewing = true
	return true
}

// renewal is what an entry was when its renewal began.
type renewal struct {
	entry    *entry
	session  *session
	token    credential.Secret
	print    fingerprint
	due      time.Time
	failures int
	denied   bool
}

func (c *cache) begin(e *entry) renewal {
	c.mu.Lock()
	defer c.mu.Unlock()
	return renewal{e, e.session, e.token, e.tokenPrint, e.due, e.failures, e.denied}
}

// finish ends a renewal that succeeded.
func (c *cache) finish(e *entry, s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.renewing = false
	c.renewed(e, s)
	if c.revoked(s) {
		c.entries.Delete(e.key)
	}
}

// postpone ends a renewal that failed, and keeps the entry.
func (c *cache) postpone(e *entry, until time.Time, denied bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.renewing, e.denied = false, denied
	e.failures++
	c.setDue(e, until)
}

// drop ends a renewal that was refused for good. What a request was given
// meanwhile, for a newer token, stays.
func (c *cache) drop(r renewal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.entry.renewing = false
	if r.entry.session == r.session {
		c.entries.Delete(r.entry.key)
	}
}

// forgetPods drops the entries of pods for which gone is true. gone is told
// whether the entry comes from the previous agent.
func (c *cache) forgetPods(gone func(podUID string, restored bool) bool) (dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.entries.All() {
		if key.podUID != "" && gone(key.podUID, e.restored) {
			c.entries.Delete(key)
			dropped++
		}
	}
	return dropped
}

// state is for metrics: how many entries, and the least life among those that
// were used in the last hour; found is false when there is none.
func (c *cache) state(now time.Time) (entries int, least time.Duration, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries.All() {
		remaining := e.session.expires.Sub(now)
		if now.Sub(e.lastUsed) <= time.Hour && (!found || remaining < least) {
			least, found = remaining, true
		}
	}
	return c.entries.Len(), least, found
}
