// Package credential has the types that secrets are passed around in. If they
// are printed, logged or encoded by accident, the result is REDACTED.
//
// It does not sign, verify or store anything.
package credential

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"time"
)

const redacted = "REDACTED"

// Secret is a string that must not be shown: a secret key, a session token, a
// service-account token. Reveal is the only way to it.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the secret text. Each call deserves a review.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether it is empty.
func (s Secret) IsZero() bool { return s.text == "" }

// Equal compares in a time that does not depend on the contents of the strings.
func (s Secret) Equal(other Secret) bool {
	a, b := sha256.Sum256([]byte(s.text)), sha256.Sum256([]byte(other.text))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Fingerprint is the first 16 hex digits of the SHA-256 of the text: enough to
// tell two secrets apart in a log, useless for finding the secret.
func (s Secret) Fingerprint() string {
	sum := sha256.Sum256([]byte(s.text))
	return hex.EncodeToString(sum[:8])
}

// Format writes REDACTED for every verb, %d and %x included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns REDACTED.
func (s Secret) String() string { return redacted }

// LogValue returns REDACTED.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns REDACTED; encoders of JSON, YAML and XML use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// AWS is a set of AWS credentials. A long-term key has no session token and no
// expiry.
type AWS struct {
	AccessKeyID  string
	SecretKey    Secret
	SessionToken Secret
	Expires      time.Time
}
