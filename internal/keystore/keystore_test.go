package keystore_test

import (
	"crypto/elliptic"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/keystore"
	"github.com/rolecall/rolecall/internal/token"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	day   = 24 * time.Hour
	grace = time.Minute
)

func newKey(t testing.TB) *token.Key {
	t.Helper()
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newContents is a store as `signer init` makes it.
func newContents(t testing.TB) (*keystore.Contents, *token.Key) {
	t.Helper()
	key := newKey(t)
	contents := &keystore.Contents{}
	if err := contents.Rotate(key, start, start, day); err != nil {
		t.Fatal(err)
	}
	return contents, key
}

// TestLife follows two keys from the first to the end of the old one.
func TestLife(t *testing.T) {
	t.Parallel()
	contents, first := newContents(t)
	second := newKey(t)
	phases := func(wantFirst, wantSecond keystore.Phase) {
		t.Helper()
		if a, b := contents.PhaseOf(first.ID()), contents.PhaseOf(second.ID()); a != wantFirst || b != wantSecond {
			t.Errorf("phases %q and %q, want %q and %q", a, b, wantFirst, wantSecond)
		}
	}
	phases(keystore.Signing, "")
	if !contents.Switched(first.ID(), start) || contents.Switched(first.ID(), start.Add(time.Hour)) {
		t.Error("the first signature is noted once")
	}
	if err := contents.Rotate(second, start.Add(30*day), start.Add(31*day), day); err != nil {
		t.Fatal(err)
	}
	phases(keystore.Signing, keystore.Next)
	if err := contents.Rotate(newKey(t), start, start.Add(32*day), day); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a third key while one waits: %v", err)
	}
	// Its time has come, but nobody signs with it yet: no key may be dropped.
	if gone := contents.Prune(start.Add(1000*day), day, grace); len(gone) > 0 {
		t.Errorf("%q are gone though the next one never signed", gone)
	}
	phases(keystore.Signing, keystore.Next)

	switched := start.Add(33 * day)
	contents.Switched(second.ID(), switched)
	phases(keystore.Retiring, keystore.Signing)
	end := switched.Add(day + grace + keystore.Leeway)
	if got, ends := contents.Ends(first.ID(), time.Hour, grace); !ends || !got.Equal(end) {
		t.Errorf("the old key ends %v %v, want %v", got, ends, end)
	}
	if got, _ := contents.Ends(first.ID(), 2*day, grace); !got.Equal(end.Add(day)) {
		t.Errorf("tokens may live for two days now, and the old key ends at %v", got)
	}
	if gone := contents.Prune(end.Add(-time.Second), day, grace); len(gone) > 0 {
		t.Errorf("%q went a second early", gone)
	}
	if gone := contents.Prune(end, day, grace); len(gone) != 1 || gone[0] != first.ID() {
		t.Errorf("gone: %q, want the old key", gone)
	}
	phases("", keystore.Signing)
	if _, ends := contents.Ends(second.ID(), day, grace); ends {
		t.Error("the key that signs ends")
	}
}

func TestVerifyOnly(t *testing.T) {
	t.Parallel()
	contents, first := newContents(t)
	old := newKey(t)
	public, err := token.NewPublicKey(old.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := contents.Add(keystore.Key{
		Public:      public,
		Created:     start,
		VerifyUntil: start.Add(day),
		Excluded:    true,
	}); err != nil {
		t.Fatal(err)
	}
	if phase := contents.PhaseOf(old.ID()); phase != keystore.Verify {
		t.Errorf("phase %q", phase)
	}
	if err := contents.Add(keystore.Key{Public: public}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
	if gone := contents.Prune(start.Add(day-time.Second), day, grace); len(gone) > 0 {
		t.Errorf("%q are gone early", gone)
	}
	if gone := contents.Prune(start.Add(day), day, grace); len(gone) != 1 || gone[0] != old.ID() {
		t.Errorf("%q are gone", gone)
	}
	if err := contents.Remove(first.ID()); fault.KindOf(err) != fault.Denied {
		t.Errorf("the only key was removed: %v", err)
	}
	if err := contents.Remove("nobody"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a key that is not there was removed: %v", err)
	}
}

// TestEndlessTokens: a key that signed tokens that never expire is removed when
// somebody asks for it, and not before.
func TestEndlessTokens(t *testing.T) {
	t.Parallel()
	contents, first := newContents(t)
	contents.Keys[0].TokenLife = 0
	second := newKey(t)
	if err := contents.Rotate(second, start, start, 0); fault.KindOf(err) != fault.Usage {
		t.Errorf("a new key for tokens that never expire: %v", err)
	}
	if err := contents.Rotate(second, start, start.Add(time.Hour), day); err != nil {
		t.Fatal(err)
	}
	// The second may not sign before its time, so nobody would.
	if err := contents.Remove(first.ID()); fault.KindOf(err) != fault.Denied {
		t.Errorf("the key that signs was removed: %v", err)
	}
	contents.Switched(second.ID(), start.Add(time.Hour))
	if gone := contents.Prune(start.Add(10000*day), day, grace); len(gone) > 0 {
		t.Errorf("%q are gone", gone)
	}
	if err := contents.Remove(first.ID()); err != nil || contents.PhaseOf(first.ID()) != "" {
		t.Errorf("removed: %v", err)
	}
}

// TestPrinting: printing a key shows no more than its id.
func TestPrinting(t *testing.T) {
	t.Parallel()
	contents, first := newContents(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		if said := fmt.Sprintf(verb, contents.Keys[0]); said != "key "+first.ID() {
			t.Errorf("%s: %s", verb, said)
		}
		if said := fmt.Sprintf(verb, contents); strings.Contains(said, "PRIVATE") || strings.Contains(said, "big.Int") {
			t.Errorf("%s of the contents: %s", verb, said)
		}
	}
}
