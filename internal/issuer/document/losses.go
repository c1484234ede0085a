package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Found is what can be kept of documents that lie in a place already.
type Found struct {
	// JWKSPath is where the discovery document says that the keys are, below the issuer URL;
	// empty if they are somewhere else.
	JWKSPath string
	// JWKSURI is the same as it is written.
	JWKSURI string
}

// jwksPath is what an Issuer may name.
var jwksPath = lazyregexp.New(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)

// Look reads where a stored discovery document has the keys; nothing if it is not of the
// issuer.
func Look(issuer string, discovery Object) Found {
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if discovery.Version == "" || json.Unmarshal(discovery.Text, &document) != nil || document.Issuer != issuer {
		return Found{}
	}
	found := Found{JWKSURI: document.JWKSURI}
	path, below := strings.CutPrefix(document.JWKSURI, strings.TrimSuffix(issuer, "/")+"/")
	if below && len(path) <= 200 && jwksPath.MatchString(path) && path != DiscoveryPath &&
		!slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return strings.Trim(s, ".") == "" }) {
		found.JWKSPath = path
	}
	return found
}

// HasEmptyIDs reports whether a stored key set has entries with an empty kid.
func HasEmptyIDs(jwks Object) bool {
	return slices.ContainsFunc(keyEntries(jwks.Text), func(members map[string]json.RawMessage) bool {
		return string(members["kid"]) == `""`
	})
}

func keyEntries(text []byte) []map[string]json.RawMessage {
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil {
		return nil
	}
	return set.Keys
}

// Losses says what writing documents over stored ones drops or changes, but for keys (see
// Removed) and for what changes with every key; nil if nothing is.
func Losses(documents Documents, stored Stored) []string {
	var lost []string
	if stored.Discovery.Version != "" {
		lost = append(lost, discoveryLosses(documents, stored.Discovery)...)
	}
	if stored.JWKS.Version == "" {
		return lost
	}
	var there, ours map[string]json.RawMessage
	_ = json.Unmarshal(stored.JWKS.Text, &there)
	_ = json.Unmarshal(documents.JWKS.Text, &ours)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if _, kept := ours[name]; !kept {
			lost = append(lost, fmt.Sprintf("member %q of the key set", name))
		}
	}
	if HasEmptyIDs(stored.JWKS) && !HasEmptyIDs(documents.JWKS) {
		lost = append(lost, "the entries with an empty kid")
	}
	return append(lost, entryLosses(documents, stored.JWKS)...)
}

func discoveryLosses(documents Documents, stored Object) []string {
	var lost []string
	var there, ours map[string]json.RawMessage
	if json.Unmarshal(stored.Text, &there) != nil {
		return []string{"what is there instead of a discovery document"}
	}
	_ = json.Unmarshal(documents.Discovery.Text, &ours)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		old, now := there[name], ours[name]
		var before, after []string
		switch {
		case now == nil:
			lost = append(lost, fmt.Sprintf("member %q of the discovery document", name))
		case name == "id_token_signing_alg_values_supported", sameJSON(old, now):
			// the first follows the keys
		case json.Unmarshal(old, &before) == nil && json.Unmarshal(now, &after) == nil:
			for _, one := range before {
				if !slices.Contains(after, one) {
					lost = append(lost, fmt.Sprintf("%q in %s of the discovery document", one, name))
				}
			}
		default:
			lost = append(lost, fmt.Sprintf("%s of the discovery document, which is %s and becomes %s", name, old, now))
		}
	}
	return lost
}

// entryLosses are members of keys that stay.
func entryLosses(documents Documents, stored Object) []string {
	var lost []string
	now := map[string]map[string]json.RawMessage{}
	for _, entry := range keyEntries(documents.JWKS.Text) {
		now[string(entry["kid"])] = entry
	}
	for _, entry := range keyEntries(stored.Text) {
		stays := now[string(entry["kid"])]
		if stays == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(entry)) {
			if _, kept := stays[name]; !kept {
				lost = append(lost, fmt.Sprintf("member %q of key %s", name, entry["kid"]))
			}
		}
	}
	return lost
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}
