package signer

import (
	"math"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/rawjson"
	"github.com/rolecall/rolecall/internal/token"
)

// maxClaims is the longest encoded payload that is signed, in bytes. Nothing
// accepts longer tokens: STS stops at 20,000 bytes, HTTP servers near 64 KiB.
const maxClaims = 48 << 10

// tolerance is how far a token's expiry may exceed the longest life, for clocks
// that differ.
const tolerance = time.Minute

// summary is what the log says of a payload.
type summary struct {
	issuer, subject, id string
	expires             time.Time
}

// readClaims checks a payload before it is signed: unpadded base64url of one
// JSON object, no member twice at its top level, with an issuer, a subject and
// an expiry that is no further away than the longest life of a token. A key
// goes when the last of its tokens has expired, so a token without an expiry
// must not be signed. Errors contain nothing of the payload.
func readClaims(payload string, now time.Time, longest time.Duration) (summary, error) {
	if len(payload) > maxClaims {
		return summary{}, invalid("claims of %d bytes: want at most %d", len(payload), maxClaims)
	}
	text, err := token.DecodeSegment(payload)
	if err != nil {
		return summary{}, invalid("claims are not unpadded base64url")
	}
	read, err := readObject(text)
	if err != nil {
		return summary{}, err
	}
	switch {
	case read.issuer == "":
		return summary{}, invalid("claim iss is missing or empty")
	case read.subject == "":
		return summary{}, invalid("claim sub is missing or empty")
	case read.expires.IsZero():
		return summary{}, invalid("claim exp is missing: a token that never expires outlives its key")
	case read.expires.After(now.Add(longest + tolerance)):
		return summary{}, invalid("claim exp is further away than %s", longest).
			Hint("restart the API server, which asks for the longest life only when it starts, or raise --max-token-expiration")
	}
	return read, nil
}

// readObject fails with an error text of our own: the parser's would quote the
// input.
func readObject(text []byte) (summary, error) {
	var read summary
	seen := map[string]bool{}
	reader := rawjson.NewReader(text)
	if reader.Kind() != '{' {
		return read, invalid("claims are not a JSON object")
	}
	twice := false
	err := reader.Object(func(name []byte) error {
		claim := string(name)
		twice = twice || seen[claim]
		seen[claim] = true
		return read.take(claim, reader)
	})
	switch {
	case twice:
		return read, invalid("claims name a member twice")
	case err != nil || reader.End() != nil:
		return read, invalid("claims are not a JSON object with strings in iss, sub and jti and whole seconds in exp")
	}
	return read, nil
}

func (s *summary) take(claim string, reader *rawjson.Reader) error {
	var err error
	switch claim {
	case "iss":
		s.issuer, err = reader.String()
	case "sub":
		s.subject, err = reader.String()
	case "jti":
		s.id, err = reader.String()
	case "exp":
		raw, rawErr := reader.Raw()
		if rawErr != nil {
			return rawErr
		}
		seconds, numberErr := strconv.ParseInt(string(raw), 10, 64)
		if numberErr != nil || seconds <= 0 || seconds > math.MaxInt32*4 {
			return invalid("claim exp is not a time in whole seconds")
		}
		s.expires = time.Unix(seconds, 0)
	default:
		err = reader.Skip()
	}
	return err
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...)
}
