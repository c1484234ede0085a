package plan_test

import (
	"crypto/elliptic"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

func newKey(t *testing.T) (private []byte, public token.PublicKey) {
	t.Helper()
	key, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	if private, err = key.PEM(); err != nil {
		t.Fatal(err)
	}
	if public, err = token.NewPublicKey(key.Public()); err != nil {
		t.Fatal(err)
	}
	return private, public
}

func known(t *testing.T, files plan.Files) []token.PublicKey {
	t.Helper()
	keys, err := files.Known()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestSecret: in every phase it holds what an API server may restart with.
func TestSecret(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	next, k2 := newKey(t)
	both := []token.PublicKey{k2, k1}
	for _, row := range []struct {
		phase    rotation.Phase
		served   []token.PublicKey
		accepted []string
		signing  bool // the new key
		names    []string
	}{
		{rotation.KeyCreated, both[1:], []string{k1.ID}, false, []string{"next.key", "sa.pub"}},
		{rotation.Published, both[1:], []string{k1.ID}, false, []string{"next.key", "sa.pub"}},
		{rotation.Verifying, both[1:], []string{k2.ID, k1.ID}, false, []string{"next.key", "sa.pub"}},
		{rotation.Signing, both, []string{k2.ID, k1.ID}, true, []string{"next.key", "sa.key", "sa.pub"}},
		{rotation.Draining, both, []string{k2.ID, k1.ID}, true, []string{"next.key", "sa.key", "sa.pub"}},
		{rotation.Retiring, both, []string{k2.ID}, false, []string{"old.pub", "sa.pub"}},
	} {
		state := rotation.State{Phase: row.phase, OldKID: k1.ID, NewKID: k2.ID}
		before := plan.Files{plan.Next: next}
		data, err := plan.Secret(state, before, row.served)
		if err != nil {
			t.Fatalf("%s: %v", row.phase, err)
		}
		if diff := cmp.Diff(row.names, slices.Sorted(maps.Keys(data))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.phase, diff)
		}
		accepted := document.IDs(known(t, plan.Files{plan.Accepted: data[plan.Accepted]}))
		if diff := cmp.Diff(row.accepted, accepted); diff != "" {
			t.Errorf("%s accepts (-want +got):\n%s", row.phase, diff)
		}
		if got := string(data[plan.Signing]) == string(next); got != row.signing {
			t.Errorf("%s: the new key signs: %t", row.phase, got)
		}
		if len(before) != 1 {
			t.Errorf("%s: what was given is changed", row.phase)
		}
	}
	// The last API server has dropped the old key: it must still be known.
	retiring := rotation.State{Phase: rotation.Retiring, OldKID: k1.ID, NewKID: k2.ID}
	data, err := plan.Secret(retiring, plan.Files{plan.Next: next}, both)
	if err == nil {
		data, err = plan.Secret(retiring, data, both[:1])
	}
	if known := document.IDs(known(t, data)); err != nil || !slices.Contains(known, k1.ID) {
		t.Errorf("the old key is forgotten while it is published: %q, %v", known, err)
	}
	strange := rotation.State{Phase: rotation.Signing, OldKID: k1.ID, NewKID: "other"}
	_, err = plan.Secret(strange, plan.Files{plan.Next: next}, both)
	if err == nil || !strings.Contains(err.Error(), "not the key of this rotation") {
		t.Errorf("a stranger's key: %v", err)
	}
}

// TestSecretWithoutLeaked: a rotation that was given up because its key leaked
// leaves nothing of it for API servers.
func TestSecretWithoutLeaked(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	next, k2 := newKey(t)
	state := rotation.State{Phase: rotation.Verifying, OldKID: k1.ID, NewKID: k2.ID}
	data, err := plan.Secret(state, plan.Files{plan.Next: next}, []token.PublicKey{k1})
	if err != nil || plan.HoldsLeaked(data, nil) || !plan.HoldsLeaked(data, []string{k2.ID}) {
		t.Fatalf("%v: %s", err, data[plan.Accepted])
	}
	state = rotation.State{Phase: rotation.Stable, Leaked: []string{k2.ID}}
	data, err = plan.Secret(state, data, []token.PublicKey{k2, k1})
	if err != nil || plan.HoldsLeaked(data, state.Leaked) {
		t.Errorf("%v: %q", err, document.IDs(known(t, data)))
	}
	if diff := cmp.Diff([]string{k1.ID}, document.IDs(known(t, data))); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
}

// apply does to a folder what a plan says.
func apply(files plan.Files, changes []plan.Change) plan.Files {
	after := maps.Clone(files)
	for _, change := range changes {
		if change.Remove {
			delete(after, change.Name)
		} else {
			after[change.Name] = change.Text
		}
	}
	return after
}

// TestFolder walks a folder through the phases: what changes in each, and in which order.
func TestFolder(t *testing.T) {
	t.Parallel()
	old, k1 := newKey(t)
	next, k2 := newKey(t)
	files := plan.Files{plan.Signing: old, plan.Next: next, plan.Accepted: publicPEM(t, k1)}
	for _, row := range []struct {
		phase    rotation.Phase
		changes  []string
		accepted []string
		signs    []byte
	}{
		{rotation.Published, nil, []string{k1.ID}, old},
		{rotation.Verifying, []string{"sa.pub"}, []string{k2.ID, k1.ID}, old},
		// The old key is kept before its file is written over.
		{rotation.Signing, []string{"sa.pub", "old.key", "sa.key"}, []string{k2.ID, k1.ID}, next},
		{rotation.Draining, nil, []string{k2.ID, k1.ID}, next},
		// What stays published is kept before it goes from what is accepted.
		{rotation.Retiring, []string{"old.pub", "sa.pub"}, []string{k2.ID}, next},
		{rotation.Stable, []string{"-old.key", "-old.pub", "-next.key"}, []string{k2.ID}, next},
	} {
		state := rotation.State{Phase: row.phase, OldKID: k1.ID, NewKID: k2.ID}
		changes, err := plan.Enter(state, files)
		if err != nil {
			t.Fatalf("%s: %v", row.phase, err)
		}
		var names []string
		for _, change := range changes {
			name := change.Name
			if change.Remove {
				name = "-" + name
			}
			names = append(names, name)
		}
		if diff := cmp.Diff(row.changes, names); diff != "" {
			t.Errorf("%s changes (-want +got):\n%s", row.phase, diff)
		}
		for _, name := range plan.For(row.phase) {
			if !slices.Contains(names, name) {
				t.Errorf("%s: the nodes need %s, which does not change", row.phase, name)
			}
		}
		if files = apply(files, changes); string(files[plan.Signing]) != string(row.signs) {
			t.Errorf("%s: the wrong key signs", row.phase)
		}
		accepted, err := files.Accepts()
		if diff := cmp.Diff(row.accepted, document.IDs(accepted)); diff != "" || err != nil {
			t.Errorf("%s accepts (-want +got):\n%s%v", row.phase, diff, err)
		}
		again, err := plan.Enter(state, files)
		if row.phase == rotation.Retiring {
			again = slices.DeleteFunc(again, func(c plan.Change) bool { return c.Name == plan.Accepted })
		}
		if diff := cmp.Diff(files, apply(files, again)); diff != "" || err != nil {
			t.Errorf("%s, entered twice (-once +twice):\n%s%v", row.phase, diff, err)
		}
	}
}

// TestEmergencyInFolder: accepting and signing begin at once.
func TestEmergencyInFolder(t *testing.T) {
	t.Parallel()
	old, k1 := newKey(t)
	next, k2 := newKey(t)
	files := plan.Files{plan.Signing: old, plan.Next: next, plan.Accepted: publicPEM(t, k1)}
	changes, err := plan.Enter(rotation.State{
		Phase:     rotation.Signing,
		OldKID:    k1.ID,
		NewKID:    k2.ID,
		Emergency: true,
	}, files)
	if err != nil {
		t.Fatal(err)
	}
	files = apply(files, changes)
	accepted, err := files.Accepts()
	if diff := cmp.Diff([]string{k2.ID, k1.ID}, document.IDs(accepted)); diff != "" || err != nil {
		t.Errorf("accepted (-want +got):\n%s%v", diff, err)
	}
	if string(files[plan.Signing]) != string(next) || string(files[plan.Old]) != string(old) {
		t.Error("the new key does not sign, or the old one is lost")
	}
}

// TestGiveUp: the new key goes from what is accepted first, and from the folder when that
// is written down.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	old, k1 := newKey(t)
	next, k2 := newKey(t)
	files := plan.Files{plan.Signing: old, plan.Next: next, plan.Accepted: publicPEM(t, k2, k1)}
	state := rotation.State{Phase: rotation.Verifying, OldKID: k1.ID, NewKID: k2.ID}
	first, last, err := plan.GiveUp(state, files)
	if err != nil {
		t.Fatal(err)
	}
	files = apply(files, first)
	if !files.Stored(state) {
		t.Error("the new key is removed before that is written down")
	}
	files = apply(files, last)
	if diff := cmp.Diff([]string{k1.ID}, document.IDs(known(t, files))); diff != "" || files.Stored(state) {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// TestKnown: a file that cannot be read hides none of the others, and is named.
func TestKnown(t *testing.T) {
	t.Parallel()
	next, k2 := newKey(t)
	_, k1 := newKey(t)
	files := plan.Files{plan.Accepted: publicPEM(t, k1, k2), plan.Next: next, plan.Signing: []byte("no key")}
	keys, err := files.Known()
	if diff := cmp.Diff([]string{k2.ID, k1.ID}, document.IDs(keys)); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
	if unreadable, ok := errors.AsType[*plan.Unreadable](err); !ok || unreadable.Name != "sa.key" {
		t.Errorf("what cannot be read: %v", err)
	}
	for _, missing := range []rotation.Phase{rotation.Published, rotation.Verifying, rotation.Retiring} {
		_, err := plan.Enter(rotation.State{Phase: missing, OldKID: k1.ID, NewKID: k2.ID}, plan.Files{plan.Next: next})
		if unreadable, ok := errors.AsType[*plan.Unreadable](err); !ok || unreadable.Name != "sa.pub" ||
			!errors.Is(err, plan.ErrMissing) {
			t.Errorf("%s without sa.pub: %v", missing, err)
		}
	}
	_, err = plan.Enter(rotation.State{Phase: rotation.Verifying, OldKID: k1.ID, NewKID: k2.ID},
		plan.Files{plan.Accepted: publicPEM(t, k1)})
	if unreadable, ok := errors.AsType[*plan.Unreadable](err); !ok || unreadable.Name != "next.key" {
		t.Errorf("Verifying without next.key: %v", err)
	}
}

// TestFolderAndSecretAgree: what a folder holds in a phase and what a Secret holds in it
// lets API servers accept the same keys and sign with the same one, and both know every
// key that is published, whatever else the API servers accept.
func TestFolderAndSecretAgree(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // the same choices every time
	old, k1 := newKey(t)
	next, k2 := newKey(t)
	for range 200 {
		served := []token.PublicKey{k1}
		for range random.IntN(3) {
			_, other := newKey(t)
			served = append(served, other)
		}
		folder := plan.Files{plan.Signing: old, plan.Next: next, plan.Accepted: publicPEM(t, served...)}
		secret := plan.Files{plan.Signing: old, plan.Next: next}
		phases := rotation.Phases()[2:]
		emergency := random.IntN(2) == 0
		if emergency { // as rotation goes on then
			phases = []rotation.Phase{rotation.Published, rotation.Signing, rotation.Retiring}
		}
		signs := k1.ID
		for _, phase := range phases {
			state := rotation.State{Phase: phase, OldKID: k1.ID, NewKID: k2.ID, Emergency: emergency}
			changes, err := plan.Enter(state, folder)
			if err != nil {
				t.Fatal(err)
			}
			folder = apply(folder, changes)
			if secret, err = plan.Secret(state, secret, served); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ids(t, folder), ids(t, secret)); diff != "" {
				t.Fatalf("%s accepts (-folder +Secret):\n%s", phase, diff)
			}
			if string(folder[plan.Signing]) != string(secret[plan.Signing]) {
				t.Fatalf("%s: another key signs", phase)
			}
			facts := rotation.Facts{Servers: []rotation.Server{{Name: "a", Serves: document.IDs(served), Signs: signs}}}
			for name, files := range map[string]plan.Files{"folder": folder, "Secret": secret} {
				if _, err := plan.Keys(state, facts, served, known(t, files)); err != nil {
					t.Fatalf("%s, published from the %s: %v", phase, name, err)
				}
			}
			if random.IntN(3) > 0 || phase == rotation.Signing { // API servers are rolled
				if served, err = folder.Accepts(); err != nil {
					t.Fatal(err)
				}
				key, err := token.ParsePrivateKey(folder[plan.Signing])
				if err != nil {
					t.Fatal(err)
				}
				signs = key.ID()
			}
		}
	}
}

func ids(t *testing.T, files plan.Files) []string {
	t.Helper()
	accepted, err := files.Accepts()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(document.IDs(accepted)))
}

func publicPEM(t *testing.T, keys ...token.PublicKey) []byte {
	t.Helper()
	text, err := token.PublicPEM(keys)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
