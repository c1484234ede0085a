// Package fault is the product's one type of error: a kind that a program can
// branch on, one sentence for a person, and hints that say what to type next.
//
// It does not know wire protocols. Each server maps kinds to its own codes in
// one table; AWS error codes are in local AWS.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of failure an error is. The zero value is Internal, so
// that an error nobody classified is never mistaken for the caller's fault.
type Kind int

// The kinds of failure, in no order.
const (
	Internal    Kind = iota // a defect, or a failure of our own machinery
	Usage                   // the command line is wrong
	Invalid                 // the input is not valid
	NotFound                // what was named does not exist
	Denied                  // understood, and refused
	Conflict                // it already exists, or has changed in the meantime
	Throttled               // too many, try again
	Unavailable             // a server or file cannot be reached
)

// Error is a classified error. Its text is one lower-case line without hints.
type Error struct {
	Kind Kind
	// Text says what was wrong and where. It never contains secrets.
	Text string
	// Hints are complete sentences or commands, shown one per line.
	Hints []string
	// Cause is wrapped, if there is one.
	Cause error
}

// Error returns the text, and after a colon the cause's text.
func (e *Error) Error() string {
	switch {
	case e.Cause == nil:
		return e.Text
	case e.Text == "":
		return e.Cause.Error()
	default:
		return e.Text + ": " + e.Cause.Error()
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New returns an error of the given kind. The format works as in fmt.Errorf,
// %w included.
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	if cause := errors.Unwrap(err); cause != nil {
		return &Error{Kind: kind, Cause: err}
	}
	return &Error{Kind: kind, Text: err.Error()}
}

// Hint adds a hint and returns the same error, so that calls can be chained.
func (e *Error) Hint(format string, args ...any) *Error {
	e.Hints = append(e.Hints, fmt.Sprintf(format, args...))
	return e
}

// Quote returns a string as one word of a shell command, for hints.
func Quote(text string) string {
	if text != "" &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+=,") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// KindOf returns the kind of the outermost classified error in err's chain,
// Internal if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// HintsOf returns the hints of every classified error in err's chain, the
// outermost first.
func HintsOf(err error) []string {
	var hints []string
	for {
		var e *Error
		if !errors.As(err, &e) {
			return hints
		}
		hints = append(hints, e.Hints...)
		err = e.Cause
	}
}

// ExitCode is the process exit code for err: 0 for nil, 2 for wrong usage, 1
// for everything else.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case KindOf(err) == Usage:
		return 2
	default:
		return 1
	}
}
