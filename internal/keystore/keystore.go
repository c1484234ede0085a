// Package keystore keeps the signing keys of a service-account issuer in one
// encrypted file that needs no Kubernetes, and knows each key's life: first it
// only verifies, then it signs, then it verifies until its last token has
// expired.
//
// It does not sign tokens, serve keys or decide what API servers know of them.
package keystore

import (
	"fmt"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/token"
)

// Key is one key of a store.
type Key struct {
	Public token.PublicKey
	// Private is nil for a key that only verifies.
	Private *token.Key
	Created time.Time
	// SignsFrom is the earliest time at which it signs; zero if it never does.
	SignsFrom time.Time
	// SwitchedAt is when it was first seen to sign; zero if it has not been.
	SwitchedAt time.Time
	// VerifyUntil is when a key that does not sign is removed; zero if it
	// stays.
	VerifyUntil time.Time
	// TokenLife is the longest life of its tokens; zero if they may never expire,
	// as those in Secrets, so that the key stays until somebody removes it.
	TokenLife time.Duration
	// Excluded keys are not published and never sign.
	Excluded bool
}

// Contents is all that a store holds.
type Contents struct {
	// Generation counts the changes of the file.
	Generation uint64
	// Keys are in the order in which they sign: the newest first, those that only
	// verify last.
	Keys []Key
	// flags are those of the store the contents were read from.
	flags string
}

// Clone returns a copy that can be changed without changing the original.
func (c *Contents) Clone() *Contents {
	return &Contents{Generation: c.Generation, Keys: slices.Clone(c.Keys), flags: c.flags}
}

// Phase is where a key stands in its life.
type Phase string

// The phases, in their order.
const (
	Next     Phase = "next"     // published and verified, will sign
	Signing  Phase = "signing"  // signs
	Retiring Phase = "retiring" // has signed, verifies until its tokens have expired
	Verify   Phase = "verify"   // verifies only
)

// Leeway is how much longer a key stays than the last of its tokens. It covers
// clocks that differ, and the five minutes for which STS accepts expired tokens
// (spec issuer-and-sts §8.4).
const Leeway = 10 * time.Minute

// PhaseOf tells the phase of a key of the contents.
func (c *Contents) PhaseOf(id string) Phase {
	signing := c.signing()
	for i, key := range c.Keys {
		switch {
		case key.Public.ID != id:
		case key.Private == nil || key.SignsFrom.IsZero() || key.Excluded:
			return Verify
		case i == signing:
			return Signing
		case i < signing:
			return Next
		default:
			return Retiring
		}
	}
	return ""
}

// signing is the index of the newest key that was seen to sign, or of the
// oldest key if none has been used yet.
func (c *Contents) signing() int {
	found := -1
	for i, key := range c.Keys {
		if !key.signs() {
			continue
		}
		if !key.SwitchedAt.IsZero() {
			return i
		}
		found = i
	}
	return found
}

func (k *Key) signs() bool { return k.Private != nil && !k.Excluded && !k.SignsFrom.IsZero() }

// Ends tells when a key may be removed: grace and Leeway after the longest token
// that it can have signed has expired. Grace is how long others may have gone on
// signing with it after another key took over; life is the longest life of new
// tokens. There is no such time while no newer key signs.
func (c *Contents) Ends(id string, life, grace time.Duration) (time.Time, bool) {
	var successor time.Time
	for _, key := range c.Keys {
		if key.Public.ID == id {
			if !key.signs() {
				return key.VerifyUntil, !key.VerifyUntil.IsZero()
			}
			if successor.IsZero() || key.TokenLife == 0 {
				return time.Time{}, false
			}
			return successor.Add(max(key.TokenLife, life) + grace + Leeway), true
		}
		// The earliest switch away from it.
		if !key.SwitchedAt.IsZero() && (successor.IsZero() || key.SwitchedAt.Before(successor)) {
			successor = key.SwitchedAt
		}
	}
	return time.Time{}, false
}

// Add adds a key. One that the contents have already is a Conflict.
func (c *Contents) Add(key Key) error {
	if c.has(key.Public.ID) {
		return fault.New(fault.Conflict, "key %s is in the store already", key.Public.ID)
	}
	c.Keys = append(c.Keys, key)
	c.sort()
	return c.check()
}

// Rotate adds the key that is to sign next, from the given time on. It is
// refused while another key waits to sign. Tokens of the key live for life at
// most.
func (c *Contents) Rotate(private *token.Key, now, signsFrom time.Time, life time.Duration) error {
	if next := c.Next(); next != "" {
		return fault.New(fault.Conflict, "key %s already waits to sign", next).Hint("`rolecall signer keys %[1]s` shows from when, `rolecall signer remove %[1]s -- %[2]s` removes it", c.flags, fault.Quote(next))
	}
	if life <= 0 {
		return fault.New(fault.Usage, "longest life of a token %s: must be positive", life)
	}
	public, err := token.NewPublicKey(private.Public())
	if err != nil {
		return err
	}
	return c.Add(Key{Public: public, Private: private, Created: now, SignsFrom: signsFrom, TokenLife: life})
}

// Next is the id of a key that waits to sign, empty if there is none.
func (c *Contents) Next() string {
	if i := c.signing(); i > 0 {
		return c.Keys[0].Public.ID
	}
	return ""
}

// Signing returns the key that signs, as far as has been seen.
func (c *Contents) Signing() *Key {
	if i := c.signing(); i >= 0 {
		return &c.Keys[i]
	}
	return nil
}

// Switched notes that a key signs. It reports whether that was new.
func (c *Contents) Switched(id string, now time.Time) bool {
	for i := range c.Keys {
		if key := &c.Keys[i]; key.Public.ID == id && key.SwitchedAt.IsZero() {
			key.SwitchedAt = now
			return true
		}
	}
	return false
}

// Prune drops the keys whose time is over and returns their ids.
func (c *Contents) Prune(now time.Time, life, grace time.Duration) []string {
	var gone []string
	for _, key := range c.Keys {
		if end, ends := c.Ends(key.Public.ID, life, grace); ends && !end.After(now) {
			gone = append(gone, key.Public.ID)
		}
	}
	c.Keys = slices.DeleteFunc(c.Keys, func(k Key) bool { return slices.Contains(gone, k.Public.ID) })
	return gone
}

// Remove drops a key at once: its tokens fail from then on. The key that signs is
// not removed, even if another one waits: that one may not sign yet.
func (c *Contents) Remove(id string) error {
	switch {
	case !c.has(id):
		return fault.New(fault.NotFound, "the store has no key %q", id).Hint("`rolecall signer keys %s` lists them", c.flags)
	case c.PhaseOf(id) == Signing:
		return fault.New(fault.Denied, "key %s is the one that signs", id).
			Hint("`rolecall signer rotate --publish-for 0s %[1]s` adds another key; remove this one once `rolecall signer keys %[1]s` shows that the other signs", c.flags)
	}
	c.Keys = slices.DeleteFunc(c.Keys, func(k Key) bool { return k.Public.ID == id })
	return nil
}

func (c *Contents) has(id string) bool {
	return slices.ContainsFunc(c.Keys, func(k Key) bool { return k.Public.ID == id })
}

func (c *Contents) sort() {
	slices.SortStableFunc(c.Keys, func(a, b Key) int { return b.SignsFrom.Compare(a.SignsFrom) })
}

func (c *Contents) check() error {
	seen := map[string]bool{}
	for i, key := range c.Keys {
		switch {
		case seen[key.Public.ID]:
			return fault.New(fault.Invalid, "key %s is listed twice", key.Public.ID)
		case !key.SignsFrom.IsZero() && (key.Private == nil || key.Excluded):
			return fault.New(fault.Invalid, "key %s is to sign, but cannot", key.Public.ID)
		case !key.SignsFrom.IsZero() && !key.VerifyUntil.IsZero():
			return fault.New(fault.Invalid, "key %s signs, but has an end", key.Public.ID)
		case key.SignsFrom.IsZero() && !key.SwitchedAt.IsZero():
			return fault.New(fault.Invalid, "key %s was seen to sign, but has no time from which it signs", key.Public.ID)
		case i > 0 && c.Keys[i-1].SignsFrom.Before(key.SignsFrom):
			return fault.New(fault.Invalid, "key %s is out of order: keys that sign later come first", key.Public.ID)
		}
		seen[key.Public.ID] = true
	}
	if len(c.Keys) > MaxKeys {
		tooMany := fault.New(fault.Invalid, "%d keys: want at most %d", len(c.Keys), MaxKeys)
		if c.flags == "" {
			return tooMany.Hint("use fewer keys")
		}
		return tooMany.Hint("`rolecall signer keys %s` lists them; remove those that are not needed", c.flags)
	}
	if c.signing() < 0 {
		return fault.New(fault.Invalid, "the store holds no key that signs")
	}
	return nil
}

// Format writes the id whatever the verb, so that no private half is printed.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "key %s", k.Public.ID) }
