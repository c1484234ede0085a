package issuer

import (
	"crypto/elliptic"
	"fmt"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/token"
)

// newKeyOf makes a key; without a kind, as objects from before there was one, of
// RSA.
func newKeyOf(kind v1alpha1.KeyKind) (*token.Key, error) {
	switch kind {
	case v1alpha1.P256:
		return token.GenerateEC(elliptic.P256())
	case v1alpha1.RSA, "":
		return token.GenerateRSA(token.MinRSABits)
	}
	return nil, fmt.Errorf("kind of key %q: want %s or %s", kind, v1alpha1.RSA, v1alpha1.P256)
}

// isKind tells a next key that waits from one of before the kind was changed.
func isKind(key token.PublicKey, kind v1alpha1.KeyKind) bool {
	algorithm := "RS256"
	if kind == v1alpha1.P256 {
		algorithm = "ES256"
	}
	return key.Algorithm() == algorithm
}
