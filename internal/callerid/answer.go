package callerid

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/rawjson"
)

// MaxAnswer is how much of an answer is worth reading, in bytes.
const MaxAnswer = 64 << 10

// maxMessage is how much of STS's own words is repeated, in bytes.
const maxMessage = 256

// throttles are codes that ask the caller to slow down. Any text with the word
// Throttling in it does, too.
var throttles = []string{"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"}

// ReadAnswer reads what STS answered to a token, and says whose it is (spec
// authenticator §3.3, §3.4). Errors are fault.Throttled if STS asks to slow down,
// fault.Unavailable if it could not decide, else fault.Denied. Of a refusal they
// repeat code, message and request id: the rest may contain the token.
func ReadAnswer(p *Presigned, status int, body []byte) (*Identity, error) {
	if len(body) > MaxAnswer {
		return nil, refused(fault.Denied, "the answer is longer than %d bytes", MaxAnswer)
	}
	if status != statusOK {
		return nil, readRefusal(p, status, body)
	}
	var inner struct{ account, arn, userID string }
	err := readObject(
		body,
		map[string]any{"GetCallerIdentityResponse": map[string]any{"GetCallerIdentityResult": map[string]any{
			"Account": &inner.account, "Arn": &inner.arn, "UserId": &inner.userID,
		}}},
	)
	if err != nil {
		return nil, refused(fault.Denied, "the answer cannot be read: %w", err)
	}
	return p.identify(inner.arn, inner.account, inner.userID)
}

// The statuses that count; this package knows no HTTP.
const (
	statusOK          = 200
	statusTooMany     = 429
	statusInternal    = 500
	statusUnavailable = 503
)

func refused(kind fault.Kind, format string, args ...any) error {
	return fault.New(kind, "sts getCallerIdentity failed: "+format, args...)
}

func readRefusal(p *Presigned, status int, body []byte) error {
	var said struct{ code, message, requestID string }
	err := readObject(
		body,
		map[string]any{
			"Error":     map[string]any{"Code": &said.code, "Message": &said.message},
			"RequestId": &said.requestID,
		},
	)
	words := &STSError{}
	if err == nil && said.code != "" {
		words.Code, words.message, words.requestID = printable(said.code), printable(said.message), printable(said.requestID)
	}
	// STS repeats words of the request in what it says: only where its code cannot be read
	// does the word count that the peer looks for.
	isThrottle := status == statusTooMany || status == statusUnavailable || slices.Contains(throttles, said.code) ||
		words.Code == "" && strings.Contains(string(body), "Throttling")
	switch {
	case isThrottle:
		return fault.New(fault.Throttled, "sts getCallerIdentity was throttled: %w", words)
	case status >= statusInternal:
		return refused(
			fault.Unavailable,
			"error from AWS (expected 200, got %d) on %s endpoint. Body: %w",
			status,
			p.Region,
			words,
		)
	}
	return refused(
		fault.Denied,
		"error from AWS (expected 200, got %d) on %s endpoint. Body: %w",
		status,
		p.Region,
		words,
	)
}

// STSError is what STS said instead of who a caller is.
type STSError struct {
	// Code is STS's own, such as SignatureDoesNotMatch; empty if there was none.
	Code               string
	message, requestID string
}

// Error is what it said, without what may be the token.
func (e *STSError) Error() string {
	if e.Code == "" {
		return "not an error in the form of STS"
	}
	return e.Code + ": " + e.message + " (request " + e.requestID + ")"
}

// printable is the first line of STS's words: what follows may be the request as
// it should have been signed, with the session token in it.
func printable(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > maxMessage {
		text = text[:maxMessage]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
}

var errTwice = errors.New("a member is repeated")

// readObject reads one JSON value into texts, named by objects within objects. No
// object may have a member twice: a reader of the other one would see a different
// answer.
func readObject(text []byte, into map[string]any) error {
	reader := rawjson.NewReader(text)
	if reader.Kind() != '{' {
		return errors.New("it is not a JSON object")
	}
	if err := readMembers(reader, into); err != nil {
		return err
	}
	return reader.End()
}

func readMembers(reader *rawjson.Reader, into map[string]any) error {
	seen := map[string]bool{}
	return reader.Object(func(name []byte) error {
		if seen[string(name)] {
			return errTwice
		}
		seen[string(name)] = true
		switch target := into[string(name)].(type) {
		case map[string]any:
			if reader.Kind() != '{' {
				return reader.Skip() // null: its members are missing
			}
			return readMembers(reader, target)
		case *string:
			if reader.Kind() != '"' {
				return reader.Skip()
			}
			read, err := reader.String()
			*target = read
			return err
		}
		return reader.Skip()
	})
}
