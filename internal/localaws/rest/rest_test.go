package rest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	routes := rest.NewRoutes(`
GET /things ListThings
GET /things/{name} GetThing
POST /things/{name}/parts/{part} AddPart
`)
	for _, row := range []struct {
		method, path, want string
		segments           map[string]string
	}{
		{"GET", "/things", "ListThings", map[string]string{}},
		{"GET", "/things/", "", nil},
		{"GET", "/things/a", "GetThing", map[string]string{"name": "a"}},
		{"GET", "/things/a%2Fb%3A", "GetThing", map[string]string{"name": "a/b:"}},
		{"GET", "/things/%zz", "", nil},
		{"PUT", "/things/a", "", nil},
		{"POST", "/things/a/parts/arn:aws:x", "AddPart", map[string]string{"name": "a", "part": "arn:aws:x"}},
		{"POST", "/things/a/parts/b/c", "", nil},
		{"GET", "//things", "", nil},
	} {
		call := &service.Call{
			HTTP: httptest.NewRequestWithContext(t.Context(), row.method, "http://x/", http.NoBody),
			Path: row.path,
		}
		got := routes.Find(call)
		if got != row.want {
			t.Errorf("%s %s: got %q, want %q", row.method, row.path, got, row.want)
		}
		if diff := cmp.Diff(row.segments, call.Segments); diff != "" {
			t.Errorf("%s %s: segments mismatch (-want +got):\n%s", row.method, row.path, diff)
		}
	}
}

// FuzzPage: whatever the token, no item is lost before the end of a page.
func FuzzPage(f *testing.F) {
	f.Add("maxResults=2&nextToken=")
	f.Add("nextToken=IAphIGI")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", http.NoBody)
		r.URL.RawQuery = query
		onPage, next, problem := rest.Page(&service.Call{HTTP: r}, []string{
			"a", "b",
			"c",
		}, func(s string) string { return s })
		if problem != "" && (onPage != nil || next != "") {
			t.Errorf("%q: %v, %q, %q", query, onPage, next, problem)
		}
	})
}
