// Package wire implements AWS's protocols as servers see them: Query parameters
// in, XML or JSON out, errors in the envelope and the words of each protocol.
//
// It does not know which operations exist or who may call them.
package wire

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/policy"
)

// MaxBody is the largest request body that is read, in bytes, for services
// whose requests are parameters.
const MaxBody = 256 << 10

// Error is a refusal in AWS's words. Reason and Explanation are what AWS does
// not say: they go to the log and to the record of decisions, never to the
// caller.
type Error struct {
	Status        int
	Code, Message string
	Reason        string
	// Members are further members of an error of REST-JSON or S3.
	Members map[string]string
	// Explanation is there when a policy decision refused.
	Explanation *policy.Explanation
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Because sets the hidden reason and returns the error.
func (e *Error) Because(format string, args ...any) *Error {
	e.Reason = fmt.Sprintf(format, args...)
	return e
}

// With adds a member to an error of REST-JSON or S3 and returns it; an empty text adds
// none.
func (e *Error) With(member, text string) *Error {
	if text != "" {
		e.Members = map[string]string{member: text}
	}
	return e
}

// Explained sets the hidden reason to a decision's explanation and returns the
// error.
func (e *Error) Explained(explanation *policy.Explanation) *Error {
	e.Reason, e.Explanation = explanation.Summary(), explanation
	return e
}

// Errorf returns an error without a hidden reason.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Time is a timestamp: text in XML, seconds since the epoch in JSON.
type Time time.Time

// MarshalText writes YYYY-MM-DDTHH:MM:SSZ.
func (t Time) MarshalText() ([]byte, error) {
	return []byte(time.Time(t).UTC().Format("2006-01-02T15:04:05Z")), nil
}

// MarshalJSON writes a number.
func (t Time) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Time(t).Unix(), 10), nil
}

// MilliTime is a timestamp that AWS gives with milliseconds.
type MilliTime time.Time

// MarshalText writes YYYY-MM-DDTHH:MM:SS.mmmZ.
func (t MilliTime) MarshalText() ([]byte, error) {
	return []byte(time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z")), nil
}

// MarshalJSON writes a number.
func (t MilliTime) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Time(t).UnixMilli())/1000, 'f', 3, 64), nil
}

// List is a list as Query services write it: an element for the list, present
// even if it is empty, and one called member for each value.
type List[T any] []T

// MarshalXML writes the list.
func (l List[T]) MarshalXML(encoder *xml.Encoder, start xml.StartElement) error {
	if err := encoder.EncodeToken(start); err != nil {
		return err
	}
	for _, value := range l {
		if err := encoder.EncodeElement(value, xml.StartElement{Name: xml.Name{Local: "member"}}); err != nil {
			return err
		}
	}
	return encoder.EncodeToken(start.End())
}

// Map is a map as Query services write it: an element called entry for each pair,
// here sorted by key.
type Map[T any] map[string]T

// MarshalXML writes the map.
func (m Map[T]) MarshalXML(encoder *xml.Encoder, start xml.StartElement) error {
	if err := encoder.EncodeToken(start); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		entry := struct {
			Key   string `xml:"key"`
			Value T      `xml:"value"`
		}{key, m[key]}
		if err := encoder.EncodeElement(entry, xml.StartElement{Name: xml.Name{Local: "entry"}}); err != nil {
			return err
		}
	}
	return encoder.EncodeToken(start.End())
}
