package issuer

import (
	"testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/token"
)

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
