package sts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// publishedKey is one entry of a JWKS.
type publishedKey struct {
	public crypto.PublicKey
	// unusable says why a signature by this key is never accepted.
	unusable string
}

// keyIndex holds keys as AWS picks them (spec issuer-and-sts §10.6).
type keyIndex struct {
	byID map[string]*publishedKey
	// count is the number of entries by key type.
	count map[string]int
}

func newKeyIndex(document []byte) (keyIndex, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return keyIndex{}, fmt.Errorf("the JWKS is not JSON: %w", err)
	}
	index := keyIndex{byID: map[string]*publishedKey{}, count: map[string]int{}}
	for _, entry := range set.Keys {
		index.add(entry)
	}
	return index, nil
}

// add skips entries that AWS does not index; a later entry with the same kid
// replaces an earlier one.
func (x keyIndex) add(entry json.RawMessage) {
	var members struct {
		Kty    string          `json:"kty"`
		Kid    string          `json:"kid"`
		Use    *string         `json:"use"`
		KeyOps json.RawMessage `json:"key_ops"`
		N      string          `json:"n"`
		X      string          `json:"x"`
	}
	if json.Unmarshal(entry, &members) != nil {
		return
	}
	x.count[members.Kty]++
	if members.Kid == "" || (members.Use != nil && *members.Use != "sig") || (members.N == "" && members.X == "") {
		return
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(entry); err != nil || !key.IsPublic() {
		return
	}
	switch key.Key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
	default:
		return
	}
	published := &publishedKey{public: key.Key}
	if members.KeyOps != nil {
		published.unusable = "the published key has a key_ops member"
	}
	x.byID[members.Kid] = published
}

func (x keyIndex) find(kid string, hasKid bool, kind string) (*publishedKey, error) {
	if n := x.count[kind]; n > maxKeysOfKind {
		return nil, fmt.Errorf("the JWKS holds %d %s keys, AWS reads at most %d", n, kind, maxKeysOfKind)
	}
	if !hasKid {
		if len(x.byID) == 1 {
			for _, only := range x.byID {
				return only, nil
			}
		}
		return nil, fmt.Errorf("the token names no kid and the JWKS has %d usable keys", len(x.byID))
	}
	if key, found := x.byID[kid]; found {
		return key, nil
	}
	return nil, fmt.Errorf("the JWKS has no usable key with the token's kid %q", kid)
}
