package document

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/internal/token"
)

// Keys returns the public halves of the keys and certificates in a PEM file, each once,
// and why others of it cannot be used.
func Keys(text []byte) ([]token.PublicKey, error) {
	public, err := token.ParsePublicKeys(text)
	if err != nil {
		return nil, err
	}
	var keys []token.PublicKey
	var wrong []error
	for _, one := range public {
		key, err := token.NewPublicKey(one)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		keys = append(keys, key)
	}
	keys, err = Union(keys)
	return keys, errors.Join(append(wrong, err)...)
}

// IDs returns the kids in the order of the keys.
func IDs(keys []token.PublicKey) []string {
	ids := make([]string, 0, len(keys))
	for _, key := range keys {
		ids = append(ids, key.ID)
	}
	return ids
}

// Union joins key sets, the first named first; a kid that names two different
// keys is an error.
func Union(sets ...[]token.PublicKey) ([]token.PublicKey, error) {
	var union []token.PublicKey
	for _, set := range sets {
		for _, key := range set {
			at := slices.IndexFunc(union, func(k token.PublicKey) bool { return k.ID == key.ID })
			if at < 0 {
				union = append(union, key)
				continue
			}
			if known, ok := union[at].Public.(interface{ Equal(crypto.PublicKey) bool }); !ok ||
				!known.Equal(key.Public) {
				return nil, fmt.Errorf("two different keys have the kid %s", key.ID)
			}
		}
	}
	return union, nil
}

// Pick returns the keys of the given kids, in that order.
func Pick(keys []token.PublicKey, kids []string) ([]token.PublicKey, error) {
	picked := make([]token.PublicKey, 0, len(kids))
	for _, kid := range kids {
		at := slices.IndexFunc(keys, func(k token.PublicKey) bool { return k.ID == kid })
		if at < 0 {
			return nil, fmt.Errorf("the public key of kid %s is not known", kid)
		}
		picked = append(picked, keys[at])
	}
	return picked, nil
}

// EntryKey is the public key of a key set's entry, whatever else it says of its use or its
// kid; nil if it is not one.
func EntryKey(members map[string]json.RawMessage) crypto.PublicKey {
	bare := map[string]any{"kid": "x"}
	for _, name := range []string{"kty", "crv", "n", "e", "x", "y"} {
		if value, found := members[name]; found {
			bare[name] = value
		}
	}
	one, err := json.Marshal(map[string]any{"keys": []any{bare}})
	if err != nil {
		return nil
	}
	keys, err := token.ReadJWKS(one)
	if err != nil || len(keys) != 1 {
		return nil
	}
	return keys[0].Public
}

// Hidden returns the keys of a published key set that stand under no kid, or under that of
// one of known, and are none of these. They are named as Kubernetes would name them.
func Hidden(published []byte, known []token.PublicKey) []string {
	var hidden []string
	for _, members := range keyEntries(published) {
		var kid string
		_ = json.Unmarshal(members["kid"], &kid) // no string is as good as empty
		public := EntryKey(members)
		if public == nil || kid != "" && !slices.Contains(IDs(known), kid) {
			continue
		}
		own, err := token.KeyID(public)
		if err != nil {
			continue
		}
		same := func(k token.PublicKey) bool {
			one, comparable := k.Public.(interface{ Equal(crypto.PublicKey) bool })
			return comparable && (kid == "" || k.ID == kid) && one.Equal(public)
		}
		if !slices.ContainsFunc(known, same) && !slices.Contains(hidden, own) {
			hidden = append(hidden, own)
		}
	}
	return hidden
}

// Removed returns the kids of a published key set that keys do not have, also those of
// entries that cannot be used, and the keys that are hidden there.
func Removed(published []byte, keys []token.PublicKey) []string {
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if json.Unmarshal(published, &set) != nil {
		return nil
	}
	var removed []string
	for _, entry := range set.Keys {
		if entry.ID != "" && !slices.Contains(IDs(keys), entry.ID) && !slices.Contains(removed, entry.ID) {
			removed = append(removed, entry.ID)
		}
	}
	for _, own := range Hidden(published, keys) {
		if !slices.Contains(removed, own) {
			removed = append(removed, own)
		}
	}
	return removed
}
