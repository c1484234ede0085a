package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
)

// DefaultLeeway is how far clocks may differ: kube-apiserver's own minute.
const DefaultLeeway = time.Minute

// Verifier checks service-account tokens of one issuer. All fields but Leeway
// are required; a Verifier without audience or keys accepts nothing.
type Verifier struct {
	Issuer string
	// Audiences: the token must be meant for at least one of them.
	Audiences []string
	Keys      *KeySet
	// Leeway widens exp and nbf.
	Leeway time.Duration
}

// Reasons why a token is not accepted; errors of Verify wrap one of them,
// ErrMalformed or ErrSignature.
var (
	ErrIssuer     = errors.New("wrong issuer")
	ErrAudience   = errors.New("wrong audience")
	ErrExpired    = errors.New("token expired")
	ErrNotYet     = errors.New("token not yet valid")
	ErrUnknownKey = errors.New("signed by an unknown key")
)

// Verify checks kid, algorithm, signature, issuer, audience and times, in this
// order, so that nothing of an unsigned payload decides anything, and returns
// the claims. Error texts never contain the token.
func (v *Verifier) Verify(raw credential.Secret, now time.Time) (*Claims, error) {
	decoded, err := Decode(raw.Reveal())
	if err != nil {
		return nil, err
	}
	key, found := v.Keys.keys[decoded.Header.KeyID]
	if !found || decoded.Header.KeyID == "" {
		return nil, fmt.Errorf("%w: kid %q", ErrUnknownKey, decoded.Header.KeyID)
	}
	if key.algorithm != "" && key.algorithm != decoded.Header.Algorithm {
		return nil, fmt.Errorf("%w: alg %q, the key is published for %q", ErrSignature, decoded.Header.Algorithm, key.algorithm)
	}
	if err := decoded.VerifySignature(key.public); err != nil {
		return nil, err
	}
	claims, err := decoded.projected()
	if err != nil {
		return nil, err
	}
	if err := v.check(claims, now); err != nil {
		return nil, err
	}
	return claims, nil
}

func (v *Verifier) check(claims *Claims, now time.Time) error {
	shared := func(audience string) bool { return slices.Contains(v.Audiences, audience) }
	switch {
	case v.Issuer == "" || claims.Issuer != v.Issuer:
		return fmt.Errorf("%w: %q, want %q", ErrIssuer, claims.Issuer, v.Issuer)
	case !slices.ContainsFunc(claims.Audiences, shared):
		return fmt.Errorf("%w: %q, want one of %q", ErrAudience, claims.Audiences, v.Audiences)
	case !now.Before(claims.Expiry.Add(v.Leeway)):
		return fmt.Errorf("%w at %s", ErrExpired, claims.Expiry.Format(time.RFC3339))
	case now.Add(v.Leeway).Before(claims.NotBefore), now.Add(v.Leeway).Before(claims.IssuedAt):
		return fmt.Errorf("%w: valid from %s", ErrNotYet, claims.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// ServiceAccount reads the claims of a service-account token. Nothing of them may
// be believed before VerifySignature.
func (t *JWT) ServiceAccount() (*Claims, error) { return t.projected() }

// projected reads the claims of a service-account token.
func (t *JWT) projected() (*Claims, error) {
	// The members are put together again rather than decoding the payload
	// twice, so that both readings agree on repeated members, and exact names
	// count: encoding/json would read "ISS" as "iss".
	known := wireClaims{}
	for _, member := range []struct {
		name string
		into any
	}{
		{"aud", &known.Audience},
		{"exp", &known.Expiry},
		{"iat", &known.IssuedAt},
		{"iss", &known.Issuer},
		{"jti", &known.ID},
		{"kubernetes.io", &known.Workload},
		{"nbf", &known.NotBefore},
		{"sub", &known.Subject},
	} {
		text, found := t.Claims[member.name]
		if !found {
			continue
		}
		if err := json.Unmarshal(text, member.into); err != nil {
			return nil, fmt.Errorf("%w: claim %q has the wrong type", ErrMalformed, member.name)
		}
	}
	claims, err := known.claims()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return claims, nil
}
