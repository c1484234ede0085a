package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/credential"
)

// MaxSize is the longest token that is read, in bytes: STS's own limit.
const MaxSize = 20000

// ErrMalformed says that a text is not a JWT.
var ErrMalformed = errors.New("not a valid JWT")

// ErrSignature says that a token's signature does not verify with a key,
// or that the token's algorithm does not fit the key.
var ErrSignature = errors.New("signature does not verify")

// algorithms are the only ones AWS accepts, so the only ones anything here
// verifies. Neither "none" nor a symmetric algorithm can ever be among them.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// Header is a token's protected header.
type Header struct {
	Algorithm string
	KeyID     string
	HasKeyID  bool // kid is present, perhaps empty
	Critical  bool // crit is present: extensions that nothing here understands
}

// JWT is a decoded token whose signature has NOT been verified. Nothing of it
// may be believed before VerifySignature.
type JWT struct {
	Header Header
	// Claims are the payload's members; of a repeated member the last one
	// counts, as at AWS (spec issuer-and-sts §10.3).
	Claims map[string]json.RawMessage

	signed    credential.Secret // header and payload as they were sent
	signature []byte
}

// Decode takes a compact JWT apart: three parts of unpadded base64url, header
// and payload JSON objects. It checks no claim and no signature. Errors wrap
// ErrMalformed and contain nothing of the token.
func Decode(raw string) (*JWT, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxSize)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: %d parts separated by dots, want 3", ErrMalformed, len(parts))
	}
	var header map[string]json.RawMessage
	if err := decodePart(parts[0], &header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	token := &JWT{signed: credential.NewSecret(parts[0] + "." + parts[1])}
	if err := decodePart(parts[1], &token.Claims); err != nil {
		return nil, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	var err error
	if token.signature, err = decodeBase64(parts[2]); err != nil {
		return nil, fmt.Errorf("%w: signature: %w", ErrMalformed, err)
	}
	if err := token.Header.fill(header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	return token, nil
}

func (h *Header) fill(members map[string]json.RawMessage) error {
	if members == nil {
		return errors.New("null")
	}
	if err := json.Unmarshal(members["alg"], &h.Algorithm); err != nil || h.Algorithm == "" {
		return errors.New("alg is missing or not a string")
	}
	if kid, found := members["kid"]; found {
		h.HasKeyID = true
		if err := json.Unmarshal(kid, &h.KeyID); err != nil {
			return errors.New("kid is not a string")
		}
	}
	_, h.Critical = members["crit"]
	return nil
}

// VerifySignature checks the signature with one public key. The header's alg
// must be one AWS accepts and fit the key's type and curve. Errors wrap
// ErrSignature.
func (t *JWT) VerifySignature(public crypto.PublicKey) error {
	if t.Header.Critical {
		return fmt.Errorf("%w: the header has a crit member", ErrSignature)
	}
	if !fits(t.Header.Algorithm, public) {
		return fmt.Errorf("%w: alg %q does not fit the key", ErrSignature, t.Header.Algorithm)
	}
	hash := hashOf(t.Header.Algorithm)
	digest := hash.New()
	_, _ = io.WriteString(digest, t.signed.Reveal()) // a hash never fails
	verified := false
	switch key := public.(type) {
	case *rsa.PublicKey:
		verified = rsa.VerifyPKCS1v15(key, hash, digest.Sum(nil), t.signature) == nil
	case *ecdsa.PublicKey:
		verified = verifyECDSA(key, digest.Sum(nil), t.signature)
	}
	if !verified {
		return ErrSignature
	}
	return nil
}

// hashOf an algorithm that fits some key: RS256, ES384, …
func hashOf(alg string) crypto.Hash {
	switch alg[len("RS"):] {
	case "256":
		return crypto.SHA256
	case "384":
		return crypto.SHA384
	}
	return crypto.SHA512
}

// verifyECDSA: r and s stand one after the other, each as long as the curve's
// order (RFC 7518 §3.4).
func verifyECDSA(key *ecdsa.PublicKey, digest, signature []byte) bool {
	size := (key.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(key, digest, r, s)
}

// SupportedAlgorithm reports whether tokens signed with alg can be verified.
func SupportedAlgorithm(alg string) bool {
	return slices.Contains(algorithms, jose.SignatureAlgorithm(alg))
}

// fits pins an algorithm to the one type of key, and the one curve, that it is
// for.
func fits(alg string, public crypto.PublicKey) bool {
	switch jose.SignatureAlgorithm(alg) {
	case jose.RS256, jose.RS384, jose.RS512:
		_, ok := public.(*rsa.PublicKey)
		return ok
	case jose.ES256:
		return onCurve(public, elliptic.P256())
	case jose.ES384:
		return onCurve(public, elliptic.P384())
	case jose.ES512:
		return onCurve(public, elliptic.P521())
	default: // everything else, "none" and symmetric ones among them
		return false
	}
}

func onCurve(public crypto.PublicKey, curve elliptic.Curve) bool {
	key, ok := public.(*ecdsa.PublicKey)
	return ok && key.Curve == curve
}

// decodePart reads one part as a JSON object.
func decodePart(part string, into *map[string]json.RawMessage) error {
	text, err := decodeBase64(part)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return errors.New("not a JSON object")
	}
	if *into == nil {
		return errors.New("null, want a JSON object")
	}
	return nil
}

// decodeBase64 is stricter than the standard decoder, which skips line ends.
func decodeBase64(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("a line end inside")
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("not unpadded base64url")
	}
	return decoded, nil
}
