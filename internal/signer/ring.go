package signer

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// maxKeyID is the longest key id that kube-apiserver accepts
// (k8s.io/externaljwt).
const maxKeyID = 1024

// Key is one key of a Ring.
type Key struct {
	ID     string
	Public crypto.PublicKey
	// Private is nil for a key that only verifies.
	Private *token.Key
	// Excluded keys verify and are not in the published set; they never sign.
	Excluded bool
	// SignsFrom is the time before which it must not sign, no matter who knows
	// it: caches that others keep of the published keys must have expired.
	SignsFrom time.Time
	// SignsAnyway is the time from which it signs even before every client has
	// fetched it, because it has signed before. Zero means never.
	SignsAnyway time.Time
}

// Set is what a source of keys holds at one moment.
type Set struct {
	// Keys are in the order of preference: the first that may sign, signs. All
	// verify.
	Keys []Key
	// ReadAt is when they were read from where they are kept.
	ReadAt time.Time
}

// check refuses a set that kube-apiserver would refuse, or that cannot sign.
func (s *Set) check() error {
	seen := map[string]bool{}
	signs := false
	for _, key := range s.Keys {
		switch {
		case key.ID == "" || len(key.ID) > maxKeyID:
			return fault.New(fault.Invalid, "a key has an id of %d bytes: want 1 to %d", len(key.ID), maxKeyID)
		case seen[key.ID]:
			return fault.New(fault.Invalid, "key %s occurs twice", key.ID)
		}
		if _, err := token.NewPublicKey(key.Public); err != nil {
			return fault.New(fault.Invalid, "key %s: %w", key.ID, err)
		}
		seen[key.ID] = true
		signs = signs || key.signs()
	}
	if len(s.Keys) > rotation.MaxKeys {
		return fault.New(fault.Invalid, "%d keys: want at most %d, since AWS reads no more than 100", len(s.Keys), rotation.MaxKeys)
	}
	if !signs {
		return fault.New(fault.Invalid, "no key can sign").Hint("at least one private key must not be excluded from discovery")
	}
	return nil
}

func (k *Key) signs() bool { return k.Private != nil && !k.Excluded }

// Client is one connection of an API server; two are never the same pointer.
type Client struct{ gone bool }

// Ring decides which key signs. A key signs only when every connected client
// has had it in an answer to FetchKeys for the time of the refresh hint, so that
// no client is shown a token of a key that it does not know. Once a key has
// begun to sign, the ring does not go back.
//
// It reads no clock and no files, and is safe for use by several goroutines.
type Ring struct {
	settle time.Duration

	mu      sync.Mutex // guards the rest
	set     Set
	public  []PublishedKey
	current string
	clients map[*Client]map[string]time.Time // when each key was first fetched
}

// PublishedKey is a key as FetchKeys shows it.
type PublishedKey struct {
	ID       string
	PKIX     []byte
	Excluded bool
}

// NewRing returns a ring whose keys count as known to a client that has had them
// for settle: the refresh hint, by which it has asked again.
func NewRing(set Set, settle time.Duration) (*Ring, error) {
	r := &Ring{settle: settle, clients: map[*Client]map[string]time.Time{}}
	return r, r.Replace(set)
}

// Replace gives the ring other keys. A set that is not sound is refused, and the
// ring stays as it was. The private half of a key that signs now is kept while
// the key is in the set, even if the source has only its public half by now.
func (r *Ring) Replace(set Set) error {
	set.Keys = slices.Clone(set.Keys)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range set.Keys {
		if before := r.find(r.current); before != nil && set.Keys[i].ID == before.ID && set.Keys[i].Private == nil {
			set.Keys[i].Private = before.Private
		}
	}
	if err := set.check(); err != nil {
		return err
	}
	published := make([]PublishedKey, 0, len(set.Keys))
	for _, key := range set.Keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public)
		if err != nil {
			return fault.New(fault.Invalid, "key %s: %w", key.ID, err)
		}
		published = append(published, PublishedKey{key.ID, der, key.Excluded})
	}
	r.set, r.public = set, published
	for _, fetched := range r.clients {
		for id := range fetched {
			if r.find(id) == nil { // a key that comes back later is new to all clients
				delete(fetched, id)
			}
		}
	}
	return nil
}

// Fetch returns all keys and when they were read, and notes that the client
// knows them. The result must not be changed.
func (r *Ring) Fetch(client *Client, now time.Time) ([]PublishedKey, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fetched := r.client(client)
	for _, key := range r.public {
		if fetched[key.ID].IsZero() {
			fetched[key.ID] = now
		}
	}
	return r.public, r.set.ReadAt
}

// errNoKey cannot happen after NewRing, which requires a key that signs, except
// while the time from which it signs is still ahead.
var errNoKey = errors.New("no key may sign yet")

// Choose returns the key that signs for a client now. From its first call on,
// the client counts among those that must know a key before it signs.
func (r *Ring) Choose(client *Client, now time.Time) (*token.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.client(client)
	key := r.choose(now)
	if key == nil {
		return nil, errNoKey
	}
	r.current = key.ID
	return key.Private, nil
}

// Gone forgets a client whose connection has ended.
func (r *Ring) Gone(client *Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	client.gone = true
	delete(r.clients, client)
}

// Status is what a Ring does at one moment.
type Status struct {
	// Signing is the key that signs; empty if none may yet.
	Signing string
	// Due is the key that would sign by now if all clients knew it, empty if that
	// is the one that signs; Lacking is how many clients have not had it long
	// enough.
	Due     string
	Lacking int
	Keys    int
	Clients int
	ReadAt  time.Time
}

// Look says what the ring does now, and lets a key whose time has come begin to
// sign.
func (r *Ring) Look(now time.Time) Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := Status{Keys: len(r.set.Keys), Clients: len(r.clients), ReadAt: r.set.ReadAt}
	chosen := r.choose(now)
	if chosen != nil {
		status.Signing = chosen.ID
		r.current = chosen.ID
	}
	for i := range r.set.Keys {
		key := &r.set.Keys[i]
		if chosen != nil && key.ID == chosen.ID {
			break
		}
		if key.signs() && !key.SignsFrom.After(now) {
			status.Due, status.Lacking = key.ID, r.lacking(key.ID, now)
			break
		}
	}
	return status
}

// choose returns the most preferred key that may sign. The one that signed last
// may; if it is gone, or none has signed yet, so may the least preferred one
// whose time has come, since nothing else is left.
func (r *Ring) choose(now time.Time) *Key {
	var last *Key
	for i := range r.set.Keys {
		key := &r.set.Keys[i]
		if !key.signs() {
			continue
		}
		if key.ID == r.current {
			return key
		}
		if key.SignsFrom.After(now) {
			continue
		}
		anyway := !key.SignsAnyway.IsZero() && !key.SignsAnyway.After(now)
		if anyway || (len(r.clients) > 0 && r.lacking(key.ID, now) == 0) {
			return key
		}
		last = key
	}
	return last
}

// lacking counts the clients that have not had the key for long enough.
func (r *Ring) lacking(id string, now time.Time) int {
	count := 0
	for _, fetched := range r.clients {
		if at := fetched[id]; at.IsZero() || now.Sub(at) < r.settle {
			count++
		}
	}
	return count
}

func (r *Ring) client(client *Client) map[string]time.Time {
	fetched, found := r.clients[client]
	if !found {
		fetched = map[string]time.Time{}
		// A call may still be answered after its connection has ended; if it
		// were counted again, that client would hold back every other key
		// forever.
		if !client.gone {
			r.clients[client] = fetched
		}
	}
	return fetched
}

func (r *Ring) find(id string) *Key {
	for i := range r.set.Keys {
		if r.set.Keys[i].ID == id {
			return &r.set.Keys[i]
		}
	}
	return nil
}

// String names the keys, never their private halves.
func (k Key) String() string { return fmt.Sprintf("key %s", k.ID) }
