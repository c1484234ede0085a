package wire

import (
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

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

// Has reports whether a parameter is present, even if empty.
func (q *Query) Has(name string) bool { return q.form.Has(name) }

// Constraint limits a text parameter.
type Constraint struct {
	Min, Max  int // in characters; Max 0 is no limit
	Pattern   *lazyregexp.Regexp
	Sensitive bool // its value is not repeated in messages
	Optional  bool
}

// Text returns a parameter and notes what is wrong with it.
func (q *Query) Text(name string, limit Constraint) string {
	field := fieldOf(name)
	if !q.form.Has(name) {
		if !limit.Optional {
			q.violations = append(
				q.violations, "Value null at '"+field+"' failed to satisfy constraint: Member must not be null",
			)
		}
		return ""
	}
	text := q.form.Get(name)
	violate := func(format string, args ...any) {
		shown := "Value '" + text + "' at '" + field + "'"
		if limit.Sensitive || utf8.RuneCountInString(text) > 256 {
			shown = "Value at '" + field + "'"
		}
		q.violations = append(
			q.violations, shown+" failed to satisfy constraint: Member must "+fmt.Sprintf(format, args...),
		)
	}
	length := utf8.RuneCountInString(text)
	if limit.Max > 0 && length > limit.Max {
		violate("have length less than or equal to %d", limit.Max)
	}
	if length < limit.Min {
		violate("have length greater than or equal to %d", limit.Min)
	}
	if limit.Pattern != nil && !limit.Pattern.MatchString(text) {
		violate(
			"satisfy regular expression pattern: %s",
			strings.TrimSuffix(strings.TrimPrefix(limit.Pattern.String(), "^"), "$"),
		)
	}
	return text
}

var integer = lazyregexp.New(`^[+-]?[0-9]{1,10}$`)

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
		q.violations = append(
			q.violations,
			fmt.Sprintf(
				"Value '%d' at '%s' failed to satisfy constraint: Member must have value %s %d", value,
				lowerFirst(name), word, bound,
			),
		)
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
		return Errorf(
			http.StatusBadRequest, "ValidationError", "%d validation errors detected: %s", n,
			strings.Join(q.violations, "; "),
		)
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

// memberField is a field of a list's member.
var memberField = lazyregexp.New(`^(\w+)\.member\.([0-9]+)\.(\w+)$`)

// fieldOf is a parameter's name in messages: Tags.member.1.Key is
// tags.1.member.key there.
func fieldOf(name string) string {
	if parts := memberField.FindStringSubmatch(name); parts != nil {
		return lowerFirst(parts[1]) + "." + parts[2] + ".member." + lowerFirst(parts[3])
	}
	return lowerFirst(name)
}

func lowerFirst(text string) string { return strings.ToLower(text[:1]) + text[1:] }
