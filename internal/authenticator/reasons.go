package authenticator

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/identify"
)

// Reason is why a question was answered with no: a stable word for logs, metrics and
// scripts. Those that mappings have are package access's.
type Reason string

// The reasons.
const (
	ReasonRequest     Reason = "malformed_request" // the question is none
	ReasonMalformed   Reason = "malformed_token"
	ReasonExpired     Reason = "expired"
	ReasonFuture      Reason = "future"
	ReasonSignature   Reason = "bad_signature"       // STS computes another signature
	ReasonCredentials Reason = "credentials_invalid" // STS does not know the access key, or no longer
	ReasonSTS         Reason = "sts_refused"         // STS says no otherwise, or what it says cannot be used
	ReasonThrottled   Reason = "throttled"           // STS is asked too often
	ReasonOverloaded  Reason = "overloaded"          // this server is
	ReasonUnavailable Reason = "sts_unavailable"
)

// Refusal is one no.
type Refusal struct {
	Reason Reason
	// Text is one line for those who run the server, without anything of a token.
	Text  string
	Hints []string

	outcome outcome
	// final: the token can never become good.
	final bool
}

// RefusedBy is the refusal for a reason of the mappings.
func RefusedBy(reason access.Reason, hints []string, format string, args ...any) *Refusal {
	return &Refusal{Reason: Reason(reason), Text: fmt.Sprintf(format, args...), Hints: hints, outcome: outcomeUser}
}

// code is the HTTP status (spec authenticator §4.3). API servers ask again, five times in
// all, after 429, 500 and 504, and after no other: what this server cannot do for being
// asked too much is 503.
func (r *Refusal) code() int {
	switch r.Reason {
	case ReasonThrottled:
		return http.StatusTooManyRequests
	case ReasonOverloaded:
		return http.StatusServiceUnavailable
	default:
		return http.StatusForbidden
	}
}

// whyUnknown is the refusal of a token whose signer is not known.
func (s *Server) whyUnknown(err error) *Refusal {
	refused := &Refusal{Reason: ReasonUnavailable, Text: err.Error(), Hints: hintsOf(err), outcome: outcomeSTS}
	failed, ok := errors.AsType[*identify.Error](err)
	if !ok {
		return refused
	}
	switch failed.Result {
	case identify.Malformed:
		refused.Reason, refused.outcome, refused.final = ReasonMalformed, outcomeToken, true
		if off, ok := errors.AsType[*callerid.TimeError](err); ok {
			refused.Reason = ReasonExpired
			if off.Age < 0 {
				refused.Reason, refused.final = ReasonFuture, false
			}
		}
	case identify.Limited:
		refused.Reason, refused.outcome = ReasonOverloaded, outcomeThrottled
	case identify.Throttled:
		refused.Reason, refused.outcome = ReasonThrottled, outcomeThrottled
	case identify.Refused:
		s.whyRefused(err, refused)
	case identify.Known, identify.Verified, identify.Stale, identify.Unavailable:
	}
	return refused
}

// whyRefused reads the words of STS.
func (s *Server) whyRefused(err error, refused *Refusal) {
	refused.Reason = ReasonSTS
	said, ok := errors.AsType[*callerid.STSError](err)
	if !ok {
		return
	}
	switch said.Code {
	case "SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignatureException":
		refused.Reason = ReasonSignature
		refused.Hints = append(refused.Hints, fmt.Sprintf(
			"the three usual causes: the token was made for another cluster than %q, which is this server's id; the clock "+
				"where it was made is wrong; it was signed for another host or region than it names", s.Cluster))
	case "InvalidClientTokenId", "UnrecognizedClientException":
		refused.Reason = ReasonCredentials
		refused.Hints = append(refused.Hints,
			"the access key was deleted or deactivated, its session revoked, or its role or user deleted")
	case "ExpiredToken", "ExpiredTokenException":
		refused.Reason = ReasonCredentials
		refused.Hints = append(refused.Hints, "the session that signed the token is over: log in to AWS again")
	}
}
