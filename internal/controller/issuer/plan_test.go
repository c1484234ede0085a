package issuer

import (
	"crypto/elliptic"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/publication"
	"github.com/rolecall/rolecall/internal/rotation"
	"github.com/rolecall/rolecall/internal/token"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

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
		before := map[string][]byte{secretNext: next}
		data, err := secretFor(state, before, row.served)
		if err != nil {
			t.Fatalf("%s: %v", row.phase, err)
		}
		if diff := cmp.Diff(row.names, slices.Sorted(maps.Keys(data))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.phase, diff)
		}
		accepted := publication.IDs(knownKeys(map[string][]byte{secretAccepted: data[secretAccepted]}))
		if diff := cmp.Diff(row.accepted, accepted); diff != "" {
			t.Errorf("%s accepts (-want +got):\n%s", row.phase, diff)
		}
		if got := string(data[secretSigning]) == string(next); got != row.signing {
			t.Errorf("%s: the new key signs: %t", row.phase, got)
		}
		if len(before) != 1 {
			t.Errorf("%s: what was given is changed", row.phase)
		}
	}
	// The last API server has dropped the old key: it must still be known.
	retiring := rotation.State{Phase: rotation.Retiring, OldKID: k1.ID, NewKID: k2.ID}
	data, err := secretFor(retiring, map[string][]byte{secretNext: next}, both)
	if err == nil {
		data, err = secretFor(retiring, data, both[:1])
	}
	if known := publication.IDs(knownKeys(data)); err != nil || !slices.Contains(known, k1.ID) {
		t.Errorf("the old key is forgotten while it is published: %q, %v", known, err)
	}
	_, err = secretFor(rotation.State{Phase: rotation.Signing, OldKID: k1.ID, NewKID: "other"}, map[string][]byte{secretNext: next}, both)
	if err == nil || !strings.Contains(err.Error(), "not the key of this rotation") {
		t.Errorf("a stranger's key: %v", err)
	}
}

// TestStateSurvives: what the status keeps is all that decides.
func TestStateSurvives(t *testing.T) {
	t.Parallel()
	for _, phase := range rotation.Phases() {
		want := rotation.State{Phase: phase, Since: noon, OldKID: "a", NewKID: "b", SeenAt: noon, SwitchedAt: noon.Add(time.Hour)}
		var object v1alpha1.Issuer
		setState(&object.Status, want, rotation.Gate{NotBefore: noon, Waiting: []string{"wait"}}, 2)
		got := StateOf(&object, noon)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", phase, diff)
		}
	}
}

// TestEmergencyIsDeclared: what the spec says has leaked decides, in every phase.
func TestEmergencyIsDeclared(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		phase  rotation.Phase
		leaked string
		want   bool
	}{
		{rotation.Stable, "a", false},
		{rotation.KeyCreated, "a", true},
		{rotation.Verifying, "a", true},
		{rotation.Draining, "a", true},
		{rotation.Verifying, "b", false}, // it is given up
		{rotation.Signing, "b", true},
		{rotation.Draining, "b", true},
		{rotation.Draining, "c", false},
	} {
		object := v1alpha1.Issuer{Spec: v1alpha1.IssuerSpec{Rotation: &v1alpha1.Rotation{Leaked: []string{row.leaked}}}}
		setState(&object.Status, rotation.State{Phase: row.phase, OldKID: "a", NewKID: "b"}, rotation.Gate{}, 0)
		if got := StateOf(&object, noon); got.Emergency != row.want || !slices.Equal(got.Leaked, []string{row.leaked}) {
			t.Errorf("%s, %s has leaked: %+v, want %t", row.phase, row.leaked, got, row.want)
		}
	}
}

// TestSecretWithoutLeaked: a rotation that was given up because its key leaked
// leaves nothing of it for API servers.
func TestSecretWithoutLeaked(t *testing.T) {
	t.Parallel()
	_, k1 := newKey(t)
	next, k2 := newKey(t)
	state := rotation.State{Phase: rotation.Verifying, OldKID: k1.ID, NewKID: k2.ID}
	data, err := secretFor(state, map[string][]byte{secretNext: next}, []token.PublicKey{k1})
	if err != nil || holdsLeaked(data, nil) || !holdsLeaked(data, []string{k2.ID}) {
		t.Fatalf("%v: %s", err, data[secretAccepted])
	}
	state = rotation.State{Phase: rotation.Stable, Leaked: []string{k2.ID}}
	data, err = secretFor(state, data, []token.PublicKey{k2, k1})
	if err != nil || holdsLeaked(data, state.Leaked) {
		t.Errorf("%v: %q", err, publication.IDs(knownKeys(data)))
	}
	if diff := cmp.Diff([]string{k1.ID}, publication.IDs(knownKeys(data))); diff != "" {
		t.Error(diff)
	}
}

// TestKeyKind: keys are of the kind that the spec names, RSA if it names none.
func TestKeyKind(t *testing.T) {
	t.Parallel()
	for kind, want := range map[v1alpha1.KeyKind]string{"": "RS256", v1alpha1.RSA: "RS256", v1alpha1.P256: "ES256"} {
		key, err := newKeyOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		public, err := token.NewPublicKey(key.Public())
		if err != nil || public.Algorithm() != want {
			t.Errorf("%q: %s, %v, want %s", kind, public.Algorithm(), err, want)
		}
		for _, other := range []v1alpha1.KeyKind{v1alpha1.RSA, v1alpha1.P256} {
			if got := isKind(public, other); got != (other == kind || (kind == "" && other == v1alpha1.RSA)) {
				t.Errorf("a key of kind %q is of kind %q: %t", kind, other, got)
			}
		}
	}
	if key, err := newKeyOf("Ed25519"); err == nil {
		t.Errorf("made %v", key)
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	spec := &v1alpha1.IssuerSpec{Rotation: &v1alpha1.Rotation{Every: metav1.Duration{Duration: time.Hour}}}
	status := &v1alpha1.IssuerStatus{Keys: []v1alpha1.KeyStatus{{Role: roleVerifying, FirstSeen: metav1.NewTime(noon.Add(-9 * time.Hour))}, {Role: roleSigning, FirstSeen: metav1.NewTime(noon)}}}
	stable := rotation.New(noon)
	for _, row := range []struct {
		name  string
		spec  *v1alpha1.IssuerSpec
		state rotation.State
		after time.Duration
		want  bool
	}{
		{"young", spec, stable, 59 * time.Minute, false},
		{"old", spec, stable, time.Hour, true},
		{"old, but nobody asked", &v1alpha1.IssuerSpec{}, stable, time.Hour, false},
		{"under way", spec, rotation.State{Phase: rotation.Signing}, time.Hour, false},
	} {
		if got := due(row.spec, status, row.state, noon.Add(row.after)); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}
