// Package callerid reads presigned GetCallerIdentity tokens and STS's answers to
// them: the tokens with which people, pipelines and nodes prove their IAM
// identity to a cluster (spec authenticator §2, §3).
//
// It does not sign, ask STS, or know what an identity may do.
package callerid

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
)

// Prefix is what every token begins with.
const Prefix = "k8s-aws-v1."

// ClusterHeader is the signed header that ties a token to one cluster. A
// verifier sends the name of its own cluster in it, never the token's.
const ClusterHeader = "x-k8s-aws-id"

// Lifetime is how long after X-Amz-Date STS accepts a token; Advertised is what
// clients are told, so that none is used in its last minute.
const (
	Lifetime   = 15 * time.Minute
	Advertised = 14 * time.Minute
)

// SignedExpires is the value of X-Amz-Expires in tokens made here, in seconds.
// STS uses Lifetime whatever it says; servers of 2018 require this value.
const SignedExpires = "60"

// Encode makes a token of a presigned URL.
func Encode(presignedURL string) credential.Secret {
	return credential.NewSecret(Prefix + base64.RawURLEncoding.EncodeToString([]byte(presignedURL)))
}

// Presigned is a token that passed all checks but STS's. Nothing it says is proven
// before STS has answered.
type Presigned struct {
	// Host is STS's: one of the policy's partition.
	Host string
	// Region is the host's, or global.
	Region string
	// AccessKeyID is the key that is said to have signed it; it may be empty.
	AccessKeyID string
	// Date is when it was signed.
	Date time.Time
	// Query is what follows the ? of the URL, byte for byte. It is as secret as the
	// token.
	Query     credential.Secret
	partition string
	session   [sha256.Size]byte
}

// Claims is a name for the credentials that are said to have signed it: the access key
// and, of temporary ones, their session token, which is a secret that only their holder
// can name.
func (p *Presigned) Claims() string { return p.AccessKeyID + " " + string(p.session[:]) }

// Expires is when STS stops accepting it.
func (p *Presigned) Expires() time.Time { return p.Date.Add(Lifetime) }

// Key is a name for the token that can be kept and compared: the SHA-256 of its URL.
func (p *Presigned) Key() [sha256.Size]byte {
	return sha256.Sum256([]byte("https://" + p.Host + "/?" + p.Query.Reveal()))
}

// String names the key and the host, and no secret.
func (p *Presigned) String() string {
	return fmt.Sprintf("token of %q for %s, signed at %s", p.AccessKeyID, p.Host, p.Date.Format(time.RFC3339))
}

// Format writes the same as String for every verb.
func (p *Presigned) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue is String.
func (p *Presigned) LogValue() slog.Value { return slog.StringValue(p.String()) }

// malformed begins the errors about a token itself.
func malformed(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "input token was not properly formatted: "+format, args...)
}

// Unreachable is the error of a request that STS did not answer. cause must not
// contain the URL, which is the token.
func (p *Presigned) Unreachable(cause error) error {
	return fault.New(
		fault.Unavailable,
		"sts getCallerIdentity failed: error during GET: %w on %s endpoint",
		cause,
		p.Region,
	)
}
