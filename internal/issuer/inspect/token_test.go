package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
)

// TestToken: what STS would say of a token, and which token a wrong one is.
func TestToken(t *testing.T) {
	t.Parallel()
	at := func(offset time.Duration) int64 { return noon.Add(offset).Unix() }
	unasked := func(o *inspect.Observation) { o.Providers = nil }
	for _, row := range []struct {
		name   string
		claims map[string]any
		change func(*inspect.Observation)
		want   []string
		says   string // in a message, what AWS says or the advice
	}{
		{"good", nil, nil, nil, ""},
		{"issued four minutes from now", map[string]any{"iat": at(4 * time.Minute), "nbf": at(4 * time.Minute)}, nil, nil, ""},
		{
			"issued in an hour",
			map[string]any{"iat": at(time.Hour), "exp": at(2 * time.Hour)},
			nil,
			[]string{"token-early"},
			"Token issued in the future: ",
		},
		{
			"valid in an hour",
			map[string]any{"nbf": at(time.Hour), "exp": at(2 * time.Hour)},
			nil,
			[]string{"token-early"},
			"Token not yet valid: current date/time ",
		},
		{
			"both",
			map[string]any{"iat": at(301 * time.Second), "nbf": at(301 * time.Second)},
			nil,
			[]string{"token-early", "token-early"},
			"5m1s in the future",
		},
		{"expired 299 seconds ago", map[string]any{"exp": at(-299 * time.Second)}, nil, nil, ""},
		{"expired 300 seconds ago", map[string]any{"exp": at(-300 * time.Second)}, nil, []string{"token-expired"}, ""},
		{"a time in digits", map[string]any{"exp": "1", "nbf": "1"}, nil, []string{"token-expired"}, ""},
		{"a fraction", map[string]any{"iat": 1.5}, nil, []string{"token-time"}, "Invalid timestamp"},
		{"text", map[string]any{"nbf": "soon"}, nil, []string{"token-time"}, "nbf is not a whole number"},
		{"without nbf", map[string]any{"nbf": nil}, nil, nil, ""},
		{
			"of the API server",
			map[string]any{"aud": "https://kubernetes.default.svc"},
			nil,
			[]string{"token-of-api-server"},
			"AWS_WEB_IDENTITY_TOKEN_FILE",
		},
		{
			"of the API server, with its domain",
			map[string]any{"aud": []string{"https://kubernetes.default.svc.cluster.local"}},
			nil,
			[]string{"token-of-api-server"},
			"Do not register",
		},
		{
			"of the API server, by all its issuers",
			map[string]any{"aud": []string{issuer, "https://kubernetes.default.svc"}},
			nil,
			[]string{"token-of-api-server"},
			"more than one audience",
		},
		{"of the API server by its issuer", map[string]any{"aud": issuer}, nil, []string{"token-of-api-server"}, ""},
		{
			"of the API server, IAM not asked",
			map[string]any{"aud": "https://kubernetes.default.svc"},
			unasked,
			[]string{"token-of-api-server"},
			"",
		},
		{"of the API server, registered on purpose", map[string]any{"aud": issuer}, func(o *inspect.Observation) {
			o.Providers[0].ClientIDs = append(o.Providers[0].ClientIDs, issuer)
		}, nil, ""},
		{
			"of Pod Identity",
			map[string]any{"aud": "pods.eks.amazonaws.com"},
			nil,
			[]string{"token-of-pod-identity"},
			"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		},
		{"of somebody else", map[string]any{"aud": "vault"}, nil, []string{"audience-unregistered"}, "--client-id vault"},
		{"of somebody else, IAM not asked", map[string]any{"aud": "vault"}, unasked, []string{"audience-unexpected"}, "vault"},
		{"of no audience", map[string]any{"aud": []string{}}, nil, []string{"token-audiences"}, "not allowed to be empty"},
		{"of an authorized party", map[string]any{"aud": []string{"a", "b"}, "azp": "sts.amazonaws.com"}, nil, nil, ""},
		{"of another authorized party", map[string]any{"azp": "other"}, nil, []string{"audience-unregistered"}, ""},
		{
			"of a Secret",
			map[string]any{"iss": "kubernetes/serviceaccount", "aud": nil, "exp": nil, "iat": nil},
			nil,
			[]string{"token-of-secret"},
			"a Secret's",
		},
	} {
		o, key := sound(t)
		o.Token = tokenOf(t, key, row.claims)
		if row.change != nil {
			row.change(&o)
		}
		findings := inspect.Inspect(o)
		if diff := cmp.Diff(row.want, rules(findings, finding.Error, finding.Warning)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
		said := ""
		for _, f := range findings {
			said += f.Message + "\n" + f.AWS + "\n" + f.Advice + "\n"
		}
		if !strings.Contains(said, row.says) {
			t.Errorf("%s: nothing says %q:\n%s", row.name, row.says, said)
		}
	}
}

// TestNotToken: what people have in hand instead of a token is named, and nothing of it
// shown.
func TestNotToken(t *testing.T) {
	t.Parallel()
	o, key := sound(t)
	_ = o
	for _, row := range []struct{ text, want string }{
		{"", "empty"},
		{" \n", "empty"},
		{"k8s-aws-v1.aHR0cHM6Ly9zdHMuYW1hem9uYXdzLmNvbS8", "aws eks get-token"},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n", "PEM"},
		{`{"kind":"ExecCredential","status":{"token":"x"}}`, "JSON"},
		{`"eyJhbGciOiJSUzI1NiJ9.e30.c2ln"`, "in quotes"},
		{"'eyJhbGciOiJSUzI1NiJ9.e30.c2ln'", "in quotes"},
		{"Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "Bearer"},
		{"bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "Bearer"},
		{"eyJhbGciOiJSUzI1NiJ9.e30\n.c2ln", "several lines"},
		{"AKIAIOSFODNN7EXAMPLE", "access key"},
		{"ASIAIOSFODNN7EXAMPLE", "access key"},
		{"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "secret access key"},
		{"IQoJb3JpZ2luX2VjEBsaCXVzLWVhc3QtMSJ", "session token"},
		{"eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d", "JWE"},
		{"/var/run/secrets/token", "path"},
		{"eyJhbGciOiJSUzI1NiJ9.e30.c2ln", ""},
		{"eyJhbGciOiJSUzI1NiJ9.e30.c2ln\n", ""},
	} {
		got := inspect.NotToken(row.text)
		if !strings.Contains(got, row.want) || (got == "") != (row.want == "") {
			t.Errorf("%q: %q, want %q", row.text, got, row.want)
		}
		if bare := strings.TrimSpace(row.text); len(bare) > 10 && strings.Contains(got, bare[:10]) &&
			!strings.HasPrefix(bare, "k8s") {
			t.Errorf("%q is shown: %q", row.text, got)
		}
	}
	if raw := key.ID(); inspect.NotToken(raw+"."+raw+"."+raw) != "" {
		t.Error("three parts are no token")
	}
}

// FuzzNotToken: whatever is given for a token, no panic, and a signed token is not taken for
// something else.
func FuzzNotToken(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
	f.Add("\"")
	f.Fuzz(func(t *testing.T, text string) {
		if what := inspect.NotToken(text); what != "" && strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2 &&
			!strings.ContainsAny(text, "-\r\n") {
			t.Errorf("%q: %s", text, what)
		}
	})
}
