package inspect_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
)

// TestCheckNamed: an issuer counts only if its own document, read with a certificate that
// holds, names it.
func TestCheckNamed(t *testing.T) {
	t.Parallel()
	const issuer = "https://oidc.example.com/prod"
	for _, row := range []struct {
		name    string
		fetched inspect.Fetched
		kind    fault.Kind
		want    string // empty: it does
	}{
		{"its own", inspect.Fetched{Status: 200, Text: []byte(`{"issuer":"` + issuer + `"}`)}, fault.Internal, ""},
		{
			"another's",
			inspect.Fetched{Status: 200, Text: []byte(`{"issuer":"` + issuer + `/"}`)},
			fault.Conflict, "names the issuer " + issuer + "/",
		},
		{"none", inspect.Fetched{Status: 200, Text: []byte(`{}`)}, fault.Invalid, "names no issuer"},
		{"a page", inspect.Fetched{Status: 200, Text: []byte(`<html>`)}, fault.Invalid, "names no issuer"},
		{
			"not there",
			inspect.Fetched{Status: 404, Text: []byte(`{"issuer":"` + issuer + `"}`)},
			fault.Unavailable, "status 404",
		},
		{"no answer", inspect.Fetched{Err: "no such host"}, fault.Unavailable, "no such host"},
		{
			"a certificate of nobody's",
			inspect.Fetched{
				Status: 200, Text: []byte(`{"issuer":"` + issuer + `"}`),
				Certificate: inspect.Certificate{Err: "unknown authority"},
			},
			fault.Denied, "unknown authority",
		},
	} {
		err := inspect.CheckNamed(issuer, row.fetched)
		switch {
		case row.want == "" && err != nil:
			t.Errorf("%s: %v", row.name, err)
		case row.want == "":
		case err == nil || fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.want):
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}
