// Package wire is the AWS Query protocol as servers see it: form parameters in,
// XML or JSON out, errors in AWS's envelope.
//
// It does not know which operations there are or who may call them.
package wire

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxBody is the largest request body that is read, in bytes.
const MaxBody = 256 << 10

// Error is a refusal in AWS's words. Reason is what AWS does not tell: it goes
// to the log and to the diagnosis, never to the caller.
type Error struct {
	Status        int
	Code, Message string
	Reason        string
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Because sets the hidden reason and returns the error.
func (e *Error) Because(format string, args ...any) *Error {
	e.Reason = fmt.Sprintf(format, args...)
	return e
}

// Errorf returns an error without a hidden reason.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Query are an operation's parameters. Reading one that breaks a constraint
// notes a violation; Check returns all of them in one ValidationError, as AWS
// does (spec issuer-and-sts §9.1).
type Query struct {
	form       url.Values
	violations []string
}

// ParseQuery reads the URL's query and a form body. A parameter given twice is
// refused, so that nobody can sign one value and mean another.
func ParseQuery(r *http.Request, body []byte) (*Query, error) {
	malformed := func(format string, args ...any) error {
		return Errorf(http.StatusBadRequest, "MalformedQueryString", format, args...)
	}
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, malformed("The query string cannot be parsed.")
	}
	fromBody, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, malformed("The form in the body cannot be parsed.")
	}
	for name, values := range fromBody {
		form[name] = append(form[name], values...)
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, malformed("The parameter %q is given more than once.", name)
		}
	}
	return &Query{form: form}, nil
}

// Get returns a parameter without any check; empty if absent.
func (q *Query) Get(name string) string { return q.form.Get(name) }

// Has reports whether a parameter is there, even empty.
func (q *Query) Has(name string) bool { return q.form.Has(name) }

// Constraint limits a text parameter.
type Constraint struct {
	Min, Max  int // in characters; Max 0 is no limit
	Pattern   *regexp.Regexp
	Sensitive bool // its value is not repeated in messages
	Optional  bool
}

// Text returns a parameter and notes what is wrong with it.
func (q *Query) Text(name string, limit Constraint) string {
	field := lowerFirst(name)
	if !q.form.Has(name) {
		if !limit.Optional {
			q.violations = append(q.violations, "Value null at '"+field+"' failed to satisfy constraint: Member must not be null")
		}
		return ""
	}
	text := q.form.Get(name)
	violate := func(format string, args ...any) {
		shown := "Value '" + text + "' at '" + field + "'"
		if limit.Sensitive || utf8.RuneCountInString(text) > 256 {
			shown = "Value at '" + field + "'"
		}
		q.violations = append(q.violations, shown+" failed to satisfy constraint: Member must "+fmt.Sprintf(format, args...))
	}
	length := utf8.RuneCountInString(text)
	if limit.Max > 0 && length > limit.Max {
		violate("have length less than or equal to %d", limit.Max)
	}
	if length < limit.Min {
		violate("have length greater than or equal to %d", limit.Min)
	}
	if limit.Pattern != nil && !limit.Pattern.MatchString(text) {
		violate("satisfy regular expression pattern: %s", strings.TrimSuffix(strings.TrimPrefix(limit.Pattern.String(), "^"), "$"))
	}
	return text
}

var integer = regexp.MustCompile(`^[+-]?[0-9]{1,10}$`)

// Int returns an integer parameter, or fallback if it is absent.
func (q *Query) Int(name string, fallback, low, high int) (int, error) {
	if !q.form.Has(name) {
		return fallback, nil
	}
	text := q.form.Get(name)
	value, err := strconv.ParseInt(text, 10, 32)
	if err != nil || !integer.MatchString(text) {
		return 0, Errorf(http.StatusBadRequest, "MalformedInput", "%s must be an integer", lowerFirst(name))
	}
	bound, word := low, "greater than or equal to"
	if int(value) > high {
		bound, word = high, "less than or equal to"
	}
	if int(value) < low || int(value) > high {
		q.violations = append(q.violations, fmt.Sprintf("Value '%d' at '%s' failed to satisfy constraint: Member must have value %s %d", value, lowerFirst(name), word, bound))
	}
	return int(value), nil
}

// Violate notes a violation that no Constraint covers.
func (q *Query) Violate(format string, args ...any) {
	q.violations = append(q.violations, fmt.Sprintf(format, args...))
}

// Check returns the ValidationError for all violations noted so far, or nil.
func (q *Query) Check() error {
	switch n := len(q.violations); n {
	case 0:
		return nil
	case 1:
		return Errorf(http.StatusBadRequest, "ValidationError", "1 validation error detected: %s", q.violations[0])
	default:
		return Errorf(http.StatusBadRequest, "ValidationError", "%d validation errors detected: %s", n, strings.Join(q.violations, "; "))
	}
}

// Members returns the indices N of NAME.member.N or NAME.member.N.FIELD in
// ascending order; gaps are tolerated.
func (q *Query) Members(name string) []string {
	numbers := map[int]bool{}
	for parameter := range q.form {
		rest, found := strings.CutPrefix(parameter, name+".member.")
		if !found {
			continue
		}
		index, _, _ := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(index); err == nil && n > 0 && strconv.Itoa(n) == index {
			numbers[n] = true
		}
	}
	sorted := make([]int, 0, len(numbers))
	for n := range numbers {
		sorted = append(sorted, n)
	}
	sort.Ints(sorted)
	members := make([]string, len(sorted))
	for i, n := range sorted {
		members[i] = name + ".member." + strconv.Itoa(n)
	}
	return members
}

// List returns the texts of NAME.member.N.
func (q *Query) List(name string) []string {
	var texts []string
	for _, m := range q.Members(name) {
		texts = append(texts, q.form.Get(m))
	}
	return texts
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

// Answer writes answers of one request.
type Answer struct {
	Writer    http.ResponseWriter
	RequestID string
	Namespace string // of the service's XML
	JSON      bool
}

// faultNamespace is that of errors which belong to no service.
const faultNamespace = "http://webservices.amazon.com/AWSFault/2005-15-09"

// OK writes the result of an operation; a nil result is an operation without
// one.
func (a *Answer) OK(operation string, result any) error {
	if a.JSON {
		body := map[string]any{"ResponseMetadata": map[string]string{"RequestId": a.RequestID}}
		body[operation+"Result"] = result
		return a.write(http.StatusOK, "application/json", func(w http.ResponseWriter) error {
			return json.NewEncoder(w).Encode(map[string]any{operation + "Response": body})
		})
	}
	return a.write(http.StatusOK, "text/xml", func(w http.ResponseWriter) error {
		encoder := xml.NewEncoder(w)
		envelope := xml.StartElement{Name: xml.Name{Local: operation + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: a.Namespace}}}
		if err := encoder.EncodeToken(envelope); err != nil {
			return err
		}
		if result != nil {
			if err := encoder.EncodeElement(result, xml.StartElement{Name: xml.Name{Local: operation + "Result"}}); err != nil {
				return err
			}
		}
		metadata := struct{ RequestId string }{a.RequestID}
		if err := encoder.EncodeElement(metadata, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}); err != nil {
			return err
		}
		if err := encoder.EncodeToken(envelope.End()); err != nil {
			return err
		}
		return encoder.Flush()
	})
}

type errorBody struct {
	Type, Code, Message string
}

// Fail writes an error.
func (a *Answer) Fail(e *Error) error {
	body := errorBody{"Sender", e.Code, e.Message}
	if e.Status >= http.StatusInternalServerError {
		body.Type = "Receiver"
	}
	if a.JSON {
		return a.write(e.Status, "application/json", func(w http.ResponseWriter) error {
			return json.NewEncoder(w).Encode(map[string]any{"Error": body, "RequestId": a.RequestID})
		})
	}
	namespace := a.Namespace
	if namespace == "" || e.Code == "InvalidAction" {
		namespace = faultNamespace
	}
	return a.write(e.Status, "text/xml", func(w http.ResponseWriter) error {
		return xml.NewEncoder(w).Encode(struct {
			XMLName   xml.Name  `xml:"ErrorResponse"`
			Namespace string    `xml:"xmlns,attr"`
			Error     errorBody `xml:"Error"`
			RequestID string    `xml:"RequestId"`
		}{Namespace: namespace, Error: body, RequestID: a.RequestID})
	})
}

func (a *Answer) write(status int, contentType string, body func(http.ResponseWriter) error) error {
	a.Writer.Header().Set("Content-Type", contentType)
	a.Writer.Header().Set("X-Amzn-Requestid", a.RequestID)
	a.Writer.WriteHeader(status)
	return body(a.Writer)
}

func lowerFirst(text string) string { return strings.ToLower(text[:1]) + text[1:] }
