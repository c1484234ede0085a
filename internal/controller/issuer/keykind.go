package issuer

import (
	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/token"
)

// newKeyOf makes a key of the kind that an object asks for.
func newKeyOf(kind v1alpha1.KeyKind) (*token.Key, error) {
	of, err := token.KindOfObject(string(kind))
	if err != nil {
		return nil, err
	}
	return token.Generate(of)
}

// isKind tells a next key that waits from one of before the kind was changed.
func isKind(key token.PublicKey, kind v1alpha1.KeyKind) bool {
	of, err := token.KindOfObject(string(kind))
	return err == nil && key.Algorithm() == of.Algorithm()
}
