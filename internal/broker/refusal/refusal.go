// Package refusal holds the one error of the broker's AWS-shaped APIs: a code of
// AWS's with its HTTP status, and how it goes on the wire (spec podidentity
// §12.3, §13.3).
//
// It does not decide anything.
package refusal

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// Code is an error code of EKS Auth or EKS.
type Code string

// The codes of EKS Auth, of the signing layer, and of the EKS operations on
// associations and tags.
const (
	InvalidRequest     Code = "InvalidRequestException"
	InvalidParameter   Code = "InvalidParameterException"
	InvalidToken       Code = "InvalidTokenException"
	ExpiredToken       Code = "ExpiredTokenException"
	AccessDenied       Code = "AccessDeniedException"
	NotFound           Code = "ResourceNotFoundException"
	Throttled          Code = "ThrottlingException"
	Internal           Code = "InternalServerException"
	Unavailable        Code = "ServiceUnavailableException"
	MissingToken       Code = "MissingAuthenticationTokenException"
	UnrecognizedClient Code = "UnrecognizedClientException"
	InvalidSignature   Code = "InvalidSignatureException"
	IncompleteSigned   Code = "IncompleteSignatureException"

	InUse         Code = "ResourceInUseException"
	LimitExceeded Code = "ResourceLimitExceededException"
	Server        Code = "ServerException"
	BadRequest    Code = "BadRequestException"
	TagNotFound   Code = "NotFoundException"
)

// statuses are those that are not 400.
var statuses = map[Code]int{
	NotFound:           http.StatusNotFound,
	TagNotFound:        http.StatusNotFound,
	Throttled:          http.StatusTooManyRequests,
	Internal:           http.StatusInternalServerError,
	Server:             http.StatusInternalServerError,
	Unavailable:        http.StatusServiceUnavailable,
	MissingToken:       http.StatusForbidden,
	UnrecognizedClient: http.StatusForbidden,
	InvalidSignature:   http.StatusForbidden,
	IncompleteSigned:   http.StatusForbidden,
	InUse:              http.StatusConflict,
}

// Error is a refusal. Its text never holds a token or a key.
type Error struct {
	Code Code
	// Message is what the caller is told: one sentence, perhaps one of advice.
	Message string
	// Status is the HTTP status; that of the code if zero.
	Status int
	// Cause is for the log and the audit record only.
	Cause error
	// Members are further members of the body.
	Members map[string]string
	// AWSRequestID is that of the call of AWS that was refused, if one was.
	AWSRequestID string
}

// New returns a refusal.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Because adds what callers are not told.
func (e *Error) Because(cause error) *Error {
	e.Cause = cause
	return e
}

// With adds a member to the body.
func (e *Error) With(name, value string) *Error {
	if e.Members == nil {
		e.Members = map[string]string{}
	}
	e.Members[name] = value
	return e
}

// Error returns code, message and cause.
func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Message
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// HTTPStatus is what the answer has.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 {
		return e.Status
	}
	if status, found := statuses[e.Code]; found {
		return status
	}
	return http.StatusBadRequest
}

// Of returns the refusal in err's chain. What nobody classified is internal, and
// its text is for the log only.
func Of(err error) *Error {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused
	}
	return New(Internal, "The request could not be served.").Because(err)
}

// Write answers with a refusal, as AWS does. No answer of these APIs may be kept.
func Write(w http.ResponseWriter, requestID string, e *Error) {
	body := map[string]string{"message": e.Message}
	maps.Copy(body, e.Members)
	text, _ := json.Marshal(body) // strings are always valid
	header := w.Header()
	header.Set("X-Amzn-Errortype", string(e.Code))
	header.Set("X-Amzn-Requestid", requestID)
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(e.HTTPStatus())
	_, _ = w.Write(append(text, '\n'))
}

// Sentence is an error's line as a message: with a capital letter and a full stop.
func Sentence(err error) string {
	text := err.Error()
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// Advice joins a sentence and advice, both of which may be empty.
func Advice(sentence, advice string) string {
	return strings.TrimSpace(sentence + " " + advice)
}
