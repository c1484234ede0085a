package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

// TestKeysUnasked: without a word of the API servers, what they were told to accept is
// published, and what the rotation wants of its two keys.
func TestKeysUnasked(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	_, k2 := newKey(t)
	_, other := newKey(t)
	known := []token.PublicKey{k2, k1, other}
	for _, row := range []struct {
		name     string
		state    rotation.State
		accepted []token.PublicKey
		want     []string
	}{
		{
			"no rotation",
			rotation.State{Phase: rotation.Stable},
			[]token.PublicKey{k1, other},
			[]string{k1.ID, other.ID},
		},
		{
			"a new key that nobody may use yet",
			rotation.State{Phase: rotation.KeyCreated, OldKID: k1.ID, NewKID: k2.ID},
			[]token.PublicKey{k1, other},
			[]string{k1.ID, other.ID},
		},
		{
			"both keys of a rotation",
			rotation.State{Phase: rotation.Verifying, OldKID: k1.ID, NewKID: k2.ID},
			[]token.PublicKey{k2, k1, other},
			[]string{k2.ID, k1.ID, other.ID},
		},
		{
			"an old key that API servers drop",
			rotation.State{Phase: rotation.Retiring, OldKID: k1.ID, NewKID: k2.ID},
			[]token.PublicKey{k2, other},
			[]string{k2.ID, k1.ID, other.ID},
		},
		{
			"an old key that has leaked",
			rotation.State{Phase: rotation.Retiring, OldKID: k1.ID, NewKID: k2.ID, Emergency: true},
			[]token.PublicKey{k2, k1, other},
			[]string{k2.ID, other.ID},
		},
	} {
		keys, err := plan.KeysUnasked(row.state, row.accepted, known)
		if diff := cmp.Diff(row.want, document.IDs(keys)); diff != "" || err != nil {
			t.Errorf("%s (-want +got):\n%s%v", row.name, diff, err)
		}
	}
	lost := rotation.State{Phase: rotation.Verifying, OldKID: k1.ID, NewKID: "lost"}
	if keys, err := plan.KeysUnasked(lost, known, known); err == nil {
		t.Errorf("without the new key %q are published", document.IDs(keys))
	}
}

// TestKeysNeedAll: a key that is wanted and that nobody has is an error, not left out.
func TestKeysNeedAll(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	_, k2 := newKey(t)
	state := rotation.State{Phase: rotation.Published, OldKID: k1.ID, NewKID: k2.ID}
	facts := rotation.Facts{Servers: []rotation.Server{{Name: "a", Serves: []string{k1.ID}, Signs: k1.ID}}}
	if keys, err := plan.Keys(state, facts, []token.PublicKey{k1}, nil); err == nil {
		t.Errorf("without the new key %q are published", document.IDs(keys))
	}
	keys, err := plan.Keys(state, facts, []token.PublicKey{k1}, []token.PublicKey{k2})
	if diff := cmp.Diff([]string{k2.ID, k1.ID}, document.IDs(keys)); diff != "" || err != nil {
		t.Errorf("newest first (-want +got):\n%s%v", diff, err)
	}
}

// TestDropped: a key that is published and would go is found.
func TestDropped(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	_, k2 := newKey(t)
	both, err := token.MarshalKeys([]token.PublicKey{k2, k1}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name      string
		published string
		keys      []token.PublicKey
		want      string
	}{
		{"all stay", string(both), []token.PublicKey{k1, k2}, ""},
		{"one goes", string(both), []token.PublicKey{k2}, k1.ID},
		{"what is there serves nobody", "<html>", nil, ""},
	} {
		if got := plan.Dropped([]byte(row.published), row.keys); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}
