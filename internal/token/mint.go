package token

import (
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/credential"
)

// Mint signs claims with a key, with only alg and kid in the header, as
// kube-apiserver does. Claims without issuer, subject, audience or lifetime are
// refused.
func Mint(key *Key, claims *Claims) (credential.Secret, error) {
	if err := claims.check(); err != nil {
		return credential.Secret{}, fmt.Errorf("mint token: %w", err)
	}
	payload, err := json.Marshal(claims.wire())
	if err != nil {
		return credential.Secret{}, fmt.Errorf("mint token: %w", err)
	}
	return Sign(key, payload)
}

// Sign signs any payload. Mint is for tokens that leave the product; this is
// for what Mint refuses, such as the hostile tokens of a test.
func Sign(key *Key, payload []byte) (credential.Secret, error) { return sign(key, key.id, payload) }

// SignWithoutKeyID is Sign with a header that names no key, as API servers
// before 1.16 wrote it.
func SignWithoutKeyID(key *Key, payload []byte) (credential.Secret, error) {
	return sign(key, "", payload)
}

func sign(key *Key, id string, payload []byte) (credential.Secret, error) {
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: key.algorithm,
		Key:       jose.JSONWebKey{Key: key.private, KeyID: id},
	}, nil)
	if err != nil {
		return credential.Secret{}, fmt.Errorf("sign token with %s: %w", key, err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return credential.Secret{}, fmt.Errorf("sign token with %s: %w", key, err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return credential.Secret{}, fmt.Errorf("sign token with %s: %w", key, err)
	}
	return credential.NewSecret(compact), nil
}
