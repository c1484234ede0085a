package token

import (
	"crypto"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// MarshalJWKS returns the JWKS document for public keys, in the given order
// (by custom newest first). An empty set and keys AWS would not accept are
// refused, so that what is published never locks anybody out (spec
// issuer-and-sts §3.2).
func MarshalJWKS(keys []crypto.PublicKey) ([]byte, error) {
	named := make([]PublicKey, 0, len(keys))
	for _, key := range keys {
		one, err := NewPublicKey(key)
		if err != nil {
			return nil, fmt.Errorf("refuse to publish: %w", err)
		}
		named = append(named, one)
	}
	return MarshalKeys(named, false)
}

// KeySet is a set of verification keys by key id.
type KeySet struct {
	keys map[string]verificationKey
}

type verificationKey struct {
	public    crypto.PublicKey
	algorithm string // as published; empty if the document does not say
}

// NewKeySet returns the set of the given keys under the ids Kubernetes gives
// them.
func NewKeySet(keys ...crypto.PublicKey) (*KeySet, error) {
	document, err := MarshalJWKS(keys)
	if err != nil {
		return nil, err
	}
	return ParseJWKS(document)
}

// ParseJWKS reads a JWKS document for verifying. Entries without kid, for a use
// other than signatures, or of a kind of key other than RSA and EC are left
// out; private or symmetric key material anywhere, or two entries with one kid,
// is an error.
func ParseJWKS(document []byte) (*KeySet, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &raw); err != nil {
		return nil, fmt.Errorf("parse JWKS: %w", err)
	}
	set := &KeySet{keys: make(map[string]verificationKey, len(raw.Keys))}
	for i, entry := range raw.Keys {
		if err := set.add(entry); err != nil {
			return nil, fmt.Errorf("parse JWKS: keys[%d]: %w", i, err)
		}
	}
	return set, nil
}

func (s *KeySet) add(entry json.RawMessage) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(entry, &members); err != nil {
		return err
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, found := members[private]; found {
			return fmt.Errorf("holds the private member %q", private)
		}
	}
	var kind string
	if err := json.Unmarshal(members["kty"], &kind); err != nil || (kind != "RSA" && kind != "EC") {
		return nil //nolint:nilerr // a kind of key this set does not hold is left out, not an error
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(entry); err != nil {
		return err
	}
	if key.KeyID == "" || (key.Use != "" && key.Use != "sig") {
		return nil
	}
	if _, err := algorithmFor(key.Key); err != nil {
		return err
	}
	if _, found := s.keys[key.KeyID]; found {
		return fmt.Errorf("a second key with the kid %q", key.KeyID)
	}
	s.keys[key.KeyID] = verificationKey{public: key.Key, algorithm: key.Algorithm}
	return nil
}

// Len returns how many keys the set holds.
func (s *KeySet) Len() int { return len(s.keys) }

// Discovery returns the OpenID Connect discovery document of an issuer whose
// keys are published at jwksURI, with the members of spec issuer-and-sts §4.1.
func Discovery(issuer, jwksURI string, keys []crypto.PublicKey) ([]byte, error) {
	if err := CheckIssuer(issuer); err != nil {
		return nil, err
	}
	var algorithms []string
	seen := map[jose.SignatureAlgorithm]bool{}
	for _, key := range keys {
		algorithm, err := algorithmFor(key)
		if err != nil {
			return nil, err
		}
		if !seen[algorithm] {
			seen[algorithm] = true
			algorithms = append(algorithms, string(algorithm))
		}
	}
	return json.Marshal(discovery{
		Issuer:                issuer,
		JWKSURI:               jwksURI,
		AuthorizationEndpoint: "urn:kubernetes:programmatic_authorization",
		ResponseTypes:         []string{"id_token"},
		SubjectTypes:          []string{"public"},
		Algorithms:            algorithms,
		Claims:                []string{"sub", "iss", "aud", "iat", "exp"},
	})
}

type discovery struct {
	Issuer                string   `json:"issuer"`
	JWKSURI               string   `json:"jwks_uri"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	ResponseTypes         []string `json:"response_types_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
	Claims                []string `json:"claims_supported"`
}

// dualStack is the host by which EKS serves the keys of a cluster over IPv6 too: tokens name
// the other one, on every cluster.
var dualStack = lazyregexp.New(`(?i)^oidc-eks\.([a-z0-9-]+)\.api\.(?:aws|amazonwebservices\.com\.cn)(?::443)?$`)

// CheckTokenIssuer is CheckIssuer for an issuer that tokens are expected to name.
func CheckTokenIssuer(issuer string) error {
	if err := CheckIssuer(issuer); err != nil {
		return err
	}
	host, path, _ := strings.Cut(strings.TrimPrefix(issuer, "https://"), "/")
	found := dualStack.FindStringSubmatch(host)
	if found == nil {
		return nil
	}
	region, suffix := strings.ToLower(found[1]), "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		suffix += ".cn"
	}
	return fmt.Errorf("issuer %q: no token has this issuer, which is the dual-stack address of the keys; tokens have "+
		"https://oidc.eks.%s.%s/%s", issuer, region, suffix, path)
}

// CheckIssuer reports what is wrong with an issuer URL for use with AWS: it
// must be https with a host, without user, query, fragment or a port other than
// 443, and at most 255 characters (spec issuer-and-sts §4.2).
func CheckIssuer(issuer string) error {
	rest, https := strings.CutPrefix(issuer, "https://")
	authority, _, _ := strings.Cut(rest, "/")
	host, port, hasPort := strings.Cut(authority, ":")
	switch {
	case !https:
		return fmt.Errorf("issuer %q: must begin with https://", issuer)
	case len(issuer) > 255:
		return fmt.Errorf("issuer of %d characters: AWS accepts at most 255", len(issuer))
	case strings.ContainsAny(rest, "?#"):
		return fmt.Errorf("issuer %q: must not have a query or fragment", issuer)
	case strings.Contains(authority, "@"):
		return fmt.Errorf("issuer %q: must not name a user", issuer)
	case strings.ContainsFunc(issuer, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("issuer %q: must be printable ASCII without blanks", issuer)
	case host == "":
		return fmt.Errorf("issuer %q: names no host", issuer)
	case hasPort && port != "443":
		return fmt.Errorf("issuer %q: AWS accepts no port but 443", issuer)
	}
	return nil
}
