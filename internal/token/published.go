package token

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// PublicKey is a verification key under the id it is published as. External
// signers may choose ids of their own.
type PublicKey struct {
	ID     string
	Public crypto.PublicKey
}

// NewPublicKey returns a key under the id Kubernetes gives it.
func NewPublicKey(public crypto.PublicKey) (PublicKey, error) {
	if _, err := algorithmFor(public); err != nil {
		return PublicKey{}, err
	}
	id, err := KeyID(public)
	return PublicKey{ID: id, Public: public}, err
}

// Algorithm returns the JWS algorithm that tokens of the key have.
func (k PublicKey) Algorithm() string {
	algorithm, _ := algorithmFor(k.Public)
	return string(algorithm)
}

// ReadJWKS reads the keys of a document in its order. Entries that MarshalKeys
// would not write and that verification ignores are left out: those with an
// empty kid, for other uses or of other kinds of key. Errors are those of
// ParseJWKS.
func ReadJWKS(document []byte) ([]PublicKey, error) {
	set, err := ParseJWKS(document)
	if err != nil {
		return nil, err
	}
	var raw struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(document, &raw); err != nil {
		return nil, fmt.Errorf("parse JWKS: %w", err)
	}
	keys := make([]PublicKey, 0, set.Len())
	for _, entry := range raw.Keys {
		key, found := set.keys[entry.ID]
		seen := slices.ContainsFunc(keys, func(k PublicKey) bool { return k.ID == entry.ID })
		if found && !seen {
			keys = append(keys, PublicKey{ID: entry.ID, Public: key.public})
		}
	}
	return keys, nil
}

// MarshalKeys is MarshalJWKS for keys with ids of their own. With emptyIDs each
// key is listed a second time under an empty kid, for tokens of API servers
// before 1.16, which name no key (spec issuer-and-sts §3.3).
func MarshalKeys(keys []PublicKey, emptyIDs bool) ([]byte, error) {
	if len(keys) == 0 {
		return nil, errors.New("refuse to publish a key set without keys")
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	for i, key := range keys {
		if key.ID == "" || slices.ContainsFunc(keys[:i], func(k PublicKey) bool { return k.ID == key.ID }) {
			return nil, fmt.Errorf("refuse to publish: kid %q is empty or used twice", key.ID)
		}
		entry, err := newJWK(key)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, entry)
		if emptyIDs {
			entry.ID = ""
			set.Keys = append(set.Keys, entry)
		}
	}
	return json.Marshal(set)
}

// jwk is an entry as kube-apiserver writes it, members in its order; the kid is
// written even if it is empty.
type jwk struct {
	Use       string `json:"use"`
	Kind      string `json:"kty"`
	ID        string `json:"kid"`
	Curve     string `json:"crv,omitempty"`
	Algorithm string `json:"alg"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

func newJWK(key PublicKey) (jwk, error) {
	algorithm, err := algorithmFor(key.Public)
	if err != nil {
		return jwk{}, fmt.Errorf("refuse to publish: %w", err)
	}
	text, err := json.Marshal(jose.JSONWebKey{Key: key.Public, KeyID: key.ID, Algorithm: string(algorithm), Use: "sig"})
	if err != nil {
		return jwk{}, fmt.Errorf("encode key %s: %w", key.ID, err)
	}
	var entry jwk
	if err := json.Unmarshal(text, &entry); err != nil {
		return jwk{}, fmt.Errorf("encode key %s: %w", key.ID, err)
	}
	return entry, nil
}

// PublicPEM returns keys as PEM blocks of type PUBLIC KEY, for
// --service-account-key-file.
func PublicPEM(keys []PublicKey) ([]byte, error) {
	var text []byte
	for _, key := range keys {
		block, err := publicBlock(key.Public)
		if err != nil {
			return nil, fmt.Errorf("encode public key %s: %w", key.ID, err)
		}
		text = append(text, block...)
	}
	return text, nil
}
