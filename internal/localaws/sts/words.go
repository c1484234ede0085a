package sts

import (
	"fmt"
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// Errors is the wording in which web identities are refused. AWS changed it in
// the middle of 2026 (spec issuer-and-sts §10.4); codes and status are the same.
type Errors int

// The words.
const (
	// CurrentErrors is the present wording: one text for anything that is wrong
	// with provider, audience or signature.
	CurrentErrors Errors = iota
	// LegacyErrors is the former wording, which says what is wrong.
	LegacyErrors
)

// ParseErrors reads current or legacy.
func ParseErrors(text string) (Errors, error) {
	switch text {
	case "current":
		return CurrentErrors, nil
	case "legacy":
		return LegacyErrors, nil
	}
	return 0, fmt.Errorf("%q: want current or legacy", text)
}

const (
	genericRefusal = "The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity " +
		"documentation for requirements."
	notAJWT = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
)

// hidden is a refusal whose reason the current wording does not give.
func (e Errors) hidden(legacy string, args ...any) *wire.Error {
	if e == LegacyErrors {
		return invalidToken(legacy, args...)
	}
	return invalidToken(genericRefusal)
}

func (e Errors) noProvider(issuer string) *wire.Error {
	return e.hidden("No OpenIDConnect provider found in your account for %s", issuer)
}

func (e Errors) wrongAudience() *wire.Error { return e.hidden("Incorrect token audience") }

func (e Errors) badSignature() *wire.Error { return e.hidden("Token signature invalid") }

func (e Errors) expired(now, expiry int64) *wire.Error {
	blank := " "
	if e == LegacyErrors {
		blank = ""
	}
	return wire.Errorf(
		http.StatusBadRequest, "ExpiredTokenException",
		"Token expired: current date/time %d must be before the expiration date/time%s%d", now, blank, expiry,
	)
}

func invalidToken(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, "InvalidIdentityToken", format, args...)
}

// noKey is a refusal because the issuer's key is missing. If fetching it took
// too long, the code says that the call may be tried again.
func noKey(reason error) *wire.Error {
	if isCommunication(reason) {
		return wire.Errorf(
			http.StatusBadRequest, "IDPCommunicationError",
			"There was an error communicating with the identity provider",
		).Because("%s", reason)
	}
	return invalidToken(
		"Couldn't retrieve verification key from your identity provider,  please reference "+
			"AssumeRoleWithWebIdentity documentation for requirements",
	).
		Because("%s", reason)
}

func accessDenied(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusForbidden, "AccessDenied", format, args...)
}

func validationError(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, "ValidationError", format, args...)
}
