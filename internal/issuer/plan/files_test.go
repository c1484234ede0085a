package plan_test

import (
	"crypto/elliptic"
	"maps"
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
	_, err = plan.Secret(rotation.State{Phase: rotation.Signing, OldKID: k1.ID, NewKID: "other"}, plan.Files{plan.Next: next}, both)
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
		t.Error(diff)
	}
}
