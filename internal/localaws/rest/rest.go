// Package rest has what the rooms of REST-JSON services share: finding the
// operation by method and path, bodies, constraints and pages.
//
// It knows no service's operations and no codes of its own: a room says how it
// refuses.
package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// Routes finds operations.
type Routes []route

type route struct {
	method, operation string
	segments          []string // a variable is {name}
}

// NewRoutes reads a table with a line for each operation: METHOD
// /path/{variable} Name.
func NewRoutes(table string) Routes {
	var routes Routes
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) == 3 {
			routes = append(routes, route{fields[0], fields[2], strings.Split(fields[1], "/")})
		}
	}
	return routes
}

// Find returns the operation of a call, empty if there is none, and sets the
// call's Segments.
func (r Routes) Find(q *service.Call) string {
	path := strings.Split(q.Path, "/")
	for _, candidate := range r {
		if segments, ok := candidate.match(q.HTTP.Method, path); ok {
			q.Segments = segments
			return candidate.operation
		}
	}
	return ""
}

func (r route) match(method string, path []string) (map[string]string, bool) {
	if method != r.method || len(path) != len(r.segments) {
		return nil, false
	}
	segments := map[string]string{}
	for i, want := range r.segments {
		if !strings.HasPrefix(want, "{") {
			if path[i] != want {
				return nil, false
			}
			continue
		}
		text, err := url.PathUnescape(path[i])
		if err != nil || text == "" {
			return nil, false
		}
		segments[strings.Trim(want, "{}")] = text
	}
	return segments, true
}

// Names are the operations that there are, sorted.
func (r Routes) Names() []string {
	var names []string
	for _, one := range r {
		names = append(names, one.operation)
	}
	slices.Sort(names)
	return names
}

// Decode reads the body, a JSON object, as a value of T. No body is an empty
// object.
func Decode[T any](q *service.Call) (*T, error) {
	into := new(T)
	if len(q.Body) == 0 {
		return into, nil
	}
	if err := json.Unmarshal(q.Body, into); err != nil || !strings.HasPrefix(strings.TrimSpace(string(q.Body)), "{") {
		return nil, wire.Errorf(
			http.StatusBadRequest, "SerializationException", "The request body is not of the form of %s.", q.Operation,
		).Because("%v", err)
	}
	return into, nil
}

// Digest is equal for two calls that ask for the same thing, whatever their
// idempotency tokens.
func Digest(q *service.Call) string {
	var members map[string]any
	_ = json.Unmarshal(q.Body, &members) // Decode has refused what is not an object
	delete(members, "clientRequestToken")
	canonical, _ := json.Marshal(members) // members in the order of their names
	sum := sha256.Sum256([]byte(q.HTTP.Method + " " + q.Path + "\n" + string(canonical)))
	return hex.EncodeToString(sum[:])
}

// Violations are broken constraints of a service model, in AWS's words.
type Violations []string

// Text notes what is wrong with a text member. A maximum of 0 is no limit.
func (v *Violations) Text(name, text string, shortest, longest int, pattern *lazyregexp.Regexp) {
	note := func(format string, args ...any) {
		*v = append(
			*v,
			fmt.Sprintf(
				"Value '%s' at '%s' failed to satisfy constraint: Member must %s", text, name,
				fmt.Sprintf(format, args...),
			),
		)
	}
	length := utf8.RuneCountInString(text)
	if longest > 0 && length > longest {
		text = text[:min(len(text), longest)] + "…"
		note("have length less than or equal to %d", longest)
		return
	}
	if length < shortest {
		note("have length greater than or equal to %d", shortest)
	}
	if pattern != nil && !pattern.MatchString(text) {
		note("satisfy regular expression pattern: %s", strings.TrimSuffix(pattern.String(), "$"))
	}
}

// OneOf notes a member that is not one of an enumeration's values.
func (v *Violations) OneOf(name, text string, values ...string) {
	if !slices.Contains(values, text) {
		*v = append(
			*v,
			fmt.Sprintf(
				"Value '%s' at '%s' failed to satisfy constraint: Member must satisfy enum value set: [%s]", text, name,
				strings.Join(values, ", "),
			),
		)
	}
}

// Present notes a required member that is missing.
func (v *Violations) Present(name string, there bool) {
	if !there {
		*v = append(*v, "Value null at '"+name+"' failed to satisfy constraint: Member must not be null")
	}
}

// Error is what AWS says of the violations; empty if there are none.
func (v *Violations) Error() string {
	switch n := len(*v); n {
	case 0:
		return ""
	case 1:
		return "1 validation error detected: " + (*v)[0]
	default:
		return fmt.Sprintf("%d validation errors detected: %s", n, strings.Join(*v, "; "))
	}
}

// maxPage is the most items on a page, and the default.
const maxPage = 100

// Page cuts a list that is sorted by name by the request's maxResults and
// nextToken. The token names the last item of the page before, so that items may
// be added and removed between two pages. The problem says what is wrong with
// the parameters.
func Page[T any](q *service.Call, items []T, name func(T) string) (onPage []T, next, problem string) {
	asked, size := q.HTTP.URL.Query(), maxPage
	if asked.Has("maxResults") {
		n, err := strconv.Atoi(asked.Get("maxResults"))
		if err != nil || n < 1 || n > maxPage {
			bound := "greater than or equal to 1"
			if n > maxPage {
				bound = "less than or equal to 100"
			}
			return nil, "", fmt.Sprintf(
				"1 validation error detected: Value '%s' at 'maxResults' failed to satisfy constraint: Member must "+
					"have value %s",
				asked.Get("maxResults"), bound,
			)
		}
		size = n
	}
	prefix := q.Operation + " " + q.Path + "\n"
	if token := asked.Get("nextToken"); token != "" {
		text, err := base64.RawURLEncoding.DecodeString(token)
		last, ours := strings.CutPrefix(string(text), prefix)
		if err != nil || !ours {
			return nil, "", "The nextToken is not valid."
		}
		first := slices.IndexFunc(items, func(item T) bool { return name(item) > last })
		if first < 0 {
			first = len(items)
		}
		items = items[first:]
	}
	if len(items) > size {
		items = items[:size]
		next = base64.RawURLEncoding.EncodeToString([]byte(prefix + name(items[size-1])))
	}
	return items, next, ""
}
