// Package inspect says what is wrong with what an issuer publishes, as AWS STS would
// notice it, and what to do about it (spec issuer-and-sts §4-§6, §16).
//
// It fetches nothing, asks nobody and reads no clock: it is told what was seen (see
// observe) and fixes nothing.
package inspect

import (
	"time"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/token"
)

// Observation is what was seen of an issuer from outside, and what is known
// from inside. What was not looked at is left out, and Inspect says so.
type Observation struct {
	Issuer string
	Now    time.Time
	// Discovery was fetched from below the issuer URL, JWKS from where the
	// discovery document says.
	Discovery, JWKS Fetched
	// Servers are the cluster's API servers; none if they were not asked.
	Servers []ServerKeys
	// Rotation are the kids that a rotation under way wants published, or will; RotationErr
	// says why that is not known.
	Rotation    []string
	RotationErr string
	// Leaked are the kids of keys that are known to have leaked.
	Leaked []string
	// Known are the keys of the folder's files, and JWKSURI is where its keys are published;
	// nil and empty if there is no folder.
	Known   []token.PublicKey
	JWKSURI string
	// BucketErr is why the keys could not be read from the bucket by its owner's name, and
	// BucketDenied says that S3 refused it; empty if they were, or if there is no bucket.
	BucketErr    string
	BucketDenied bool
	// Providers are the OIDC providers of the accounts that were asked.
	Providers []Provider
	// Audiences are those that tokens will be made for.
	Audiences []string
	// RoleARN is a role that tokens are to be exchanged for; empty if none is
	// known.
	RoleARN string
	// Token is one to be checked, its signature not yet verified; nil if none
	// was given.
	Token *token.JWT
	// TokenBlanks says that blanks stand around it where it was read.
	TokenBlanks bool
}

// Fetched is one anonymous GET.
type Fetched struct {
	URL  string
	Done bool // it was tried
	// Err says why there was no answer; TLS problems are in Certificate.
	Err          string
	Status       int
	ContentType  string
	CacheControl string
	Text         []byte
	// Date is the server's clock; zero if it does not say.
	Date        time.Time
	Certificate Certificate
	// Redirected is the URL that answered in the end; empty if it was this one.
	Redirected string
}

// Certificate is what the server's TLS certificate is worth.
type Certificate struct {
	// Err says why the authorities that AWS trusts do not vouch for it.
	Err string
	// Untrusted says that only the authority is not known, which a registered
	// thumbprint makes up for: the name and the dates are right.
	Untrusted bool
	// Thumbprint is the SHA-1 of the last certificate the server presents, as
	// IAM compares it.
	Thumbprint string
}

// ServerKeys is one API server.
type ServerKeys struct {
	Name string
	Keys []token.PublicKey
	// Issuer is what its tokens say, Signs their kid; empty if none was asked
	// for.
	Issuer, Signs string
	Err           string
}

// Provider is what IAM says in one account.
type Provider struct {
	Account, ARN string
	// URL is without scheme, as IAM returns it; empty if there is no provider.
	URL                    string
	ClientIDs, Thumbprints []string
	// Near are other providers of the account, for a hint at a slip.
	Near []string
	Err  string
}

// What STS says; the texts are AWS's.
const (
	cannotRetrieve = "InvalidIdentityToken: Couldn't retrieve verification key from your identity provider"
	generic        = "InvalidIdentityToken: The web identity token provided could not be validated"

	thumbprintDiffers = "InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match configured " +
		"thumbprint"
)

// report collects findings.
type report struct{ findings []finding.Finding }

func (r *report) add(severity finding.Severity, rule, aws, fix, message string) {
	r.findings = append(r.findings, finding.Finding{
		Severity: severity,
		Rule:     rule,
		Message:  message,
		AWS:      aws,
		Advice:   fix,
	})
}
