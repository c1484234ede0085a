package signer_test

import (
	"crypto/elliptic"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/signer"
	"github.com/rolecall/rolecall/internal/token"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const hint = 30 * time.Second

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func newKey(t testing.TB) signer.Key {
	t.Helper()
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	return signer.Key{ID: key.ID(), Public: key.Public(), Private: key}
}

// scene is a ring whose first key signs for two API servers, and whose second
// one has come.
type scene struct {
	ring     *signer.Ring
	old, new signer.Key
	a, b     *signer.Client
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{old: newKey(t), new: newKey(t), a: &signer.Client{}, b: &signer.Client{}}
	var err error
	if s.ring, err = signer.NewRing(signer.Set{Keys: []signer.Key{s.old}, ReadAt: start}, hint); err != nil {
		t.Fatal(err)
	}
	for _, client := range []*signer.Client{s.a, s.b} {
		s.ring.Fetch(client, start)
		s.signs(t, client, 0, s.old)
	}
	s.replace(t, s.new, s.old)
	return s
}

func (s *scene) replace(t *testing.T, keys ...signer.Key) {
	t.Helper()
	if err := s.ring.Replace(signer.Set{Keys: keys, ReadAt: start}); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) signs(t *testing.T, client *signer.Client, second int, want signer.Key) {
	t.Helper()
	got, err := s.ring.Choose(client, at(second))
	if err != nil || got.ID() != want.ID {
		t.Errorf("at %d s %v signs (%v), want %v", second, got, err, want)
	}
}

// TestKnownFirst: a key signs once every client has had it for the time of the
// hint, and not a moment earlier.
func TestKnownFirst(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.signs(t, s.a, 1000, s.old) // time alone opens nothing
	s.ring.Fetch(s.a, at(1000))
	s.signs(t, s.a, 1000, s.old)
	s.signs(t, s.a, 2000, s.old) // b does not know it
	s.ring.Fetch(s.b, at(2000))
	s.signs(t, s.b, 2029, s.old)
	if status := s.ring.Look(at(2029)); status.Due != s.new.ID || status.Lacking != 1 || status.Signing != s.old.ID ||
		status.Clients != 2 {
		t.Errorf("status %+v", status)
	}
	s.ring.Fetch(s.b, at(2029)) // asking again does not start over
	s.signs(t, s.b, 2030, s.new)
	s.signs(t, s.a, 2030, s.new)
	// A client that comes later does not bring the old key back.
	s.signs(t, &signer.Client{}, 2031, s.new)
	if status := s.ring.Look(at(2031)); status.Due != "" || status.Signing != s.new.ID {
		t.Errorf("status %+v", status)
	}
}

// TestLateClient: a connection that has fetched nothing holds a key back, until
// it ends.
func TestLateClient(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.ring.Fetch(s.a, at(0))
	s.ring.Fetch(s.b, at(0))
	late := &signer.Client{}
	s.signs(t, late, 10, s.old)
	s.signs(t, s.a, 1000, s.old)
	s.ring.Gone(late)
	s.signs(t, s.a, 1001, s.new)
	s.signs(t, late, 1002, s.new) // a call that began before the end is answered
	if status := s.ring.Look(at(1002)); status.Clients != 2 {
		t.Errorf("%d clients, although one has gone", status.Clients)
	}
}

// TestNobody: without a client no key is known.
func TestNobody(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.ring.Gone(s.a)
	s.ring.Gone(s.b)
	if status := s.ring.Look(at(100000)); status.Signing != s.old.ID {
		t.Errorf("status %+v", status)
	}
}

func TestNotBefore(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.new.SignsFrom = at(5000)
	s.replace(t, s.new, s.old)
	s.ring.Fetch(s.a, at(0))
	s.ring.Fetch(s.b, at(0))
	s.signs(t, s.a, 4999, s.old)
	s.signs(t, s.a, 5000, s.new)
}

func TestSignsAnyway(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.new.SignsAnyway = at(100)
	s.replace(t, s.new, s.old)
	s.signs(t, s.a, 99, s.old)
	s.signs(t, s.a, 100, s.new)
}

// TestGoneAndBack: a key that was removed and comes back is new to everybody.
func TestGoneAndBack(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.ring.Fetch(s.a, at(0))
	s.ring.Fetch(s.b, at(0))
	s.replace(t, s.old)
	s.ring.Fetch(s.a, at(10))
	s.ring.Fetch(s.b, at(10))
	s.replace(t, s.new, s.old)
	s.signs(t, s.a, 1000, s.old)
}

// TestPrivateHalfGone: the source has only the public half of the key that signs,
// which goes on until the new one is known.
func TestPrivateHalfGone(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	public := s.old
	public.Private = nil
	s.replace(t, s.new, public)
	s.signs(t, s.a, 10, s.old)
	s.replace(t, s.new, public)
	s.ring.Fetch(s.a, at(10))
	s.ring.Fetch(s.b, at(10))
	s.signs(t, s.a, 40, s.new)
}

// TestRemoved: a key that was removed never signs again, known or not.
func TestRemoved(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.replace(t, s.new)
	s.signs(t, s.a, 1, s.new)
	keys, _ := s.ring.Fetch(s.a, at(1))
	if len(keys) != 1 || keys[0].ID != s.new.ID {
		t.Errorf("keys %v", keys)
	}
}

func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	public, excluded := newKey(t), newKey(t)
	public.Private = nil
	excluded.Excluded = true
	long, unnamed, nothing := newKey(t), newKey(t), newKey(t)
	long.ID, unnamed.ID, nothing.Public = strings.Repeat("k", 1025), "", nil
	var many []signer.Key
	for i := range 99 {
		key := s.new
		key.ID = fmt.Sprint(i)
		many = append(many, key)
	}
	for name, keys := range map[string][]signer.Key{
		"none": nil, "none signs": {public}, "only an excluded one": {excluded}, "one twice": {s.old, s.old},
		"a long id": {s.old, long}, "no id": {unnamed}, "no key": {nothing}, "too many": many,
	} {
		if err := s.ring.Replace(signer.Set{Keys: keys}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.signs(t, s.a, 5, s.old)
	if status := s.ring.Look(at(5)); status.Keys != 2 {
		t.Errorf("%d keys after refusals", status.Keys)
	}
}
