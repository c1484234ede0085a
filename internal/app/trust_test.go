package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/pki"
)

// TestTrustDiscovery: the issuer is what the live document says, and a document
// that names another one, or cannot be read, is refused.
func TestTrustDiscovery(t *testing.T) {
	t.Parallel()
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := authority.ServingConfig(time.Now(), time.Hour, "oidc.example.com")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isDiscovery := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration")
		switch {
		case !isDiscovery:
			http.NotFound(w, r)
		case name == "/slash":
			fmt.Fprint(w, `{"issuer":"https://oidc.example.com/slash/"}`)
		case name == "/none":
			fmt.Fprint(w, `{}`)
		case name == "/away":
			http.NotFound(w, r)
		default:
			fmt.Fprintf(w, `{"issuer":"https://oidc.example.com%s"}`, name)
		}
	}))
	server.TLS = tls
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(arguments ...string) (code int, stdout, stderr string) {
		var out, errors bytes.Buffer
		sys := app.NewSystem()
		sys.Stdout, sys.Stderr = &out, &errors
		arguments = append(
			[]string{
				"trust", "generate", "--account", "111122223333", "--service-account", "app/api",
				"--issuer-endpoint", "oidc.example.com=" + server.Listener.Addr().String(),
			},
			arguments...)
		code = app.Run(t.Context(), sys, arguments)
		return code, out.String(), errors.String()
	}
	for _, row := range []struct {
		url  string
		code int
		want string
	}{
		{"https://oidc.example.com/Prod", 0, `"oidc.example.com/Prod:sub":"system:serviceaccount:app:api"`},
		{
			"https://oidc.example.com/Prod/.well-known/openid-configuration",
			0,
			`"oidc.example.com/Prod:sub":"system:serviceaccount:app:api"`,
		},
		{"https://oidc.example.com/slash", 1, "names the issuer https://oidc.example.com/slash/"},
		{"https://oidc.example.com/none", 1, "names no issuer"},
		{"https://oidc.example.com/away", 1, "status 404"},
		{"http://oidc.example.com/Prod", 1, "not an https URL"},
	} {
		code, stdout, stderr := run("--issuer-ca", ca, "--discovery", row.url)
		if code != row.code || !strings.Contains(stdout+stderr, row.want) || (code != 0 && stdout != "") {
			t.Errorf("%s: %d\n%s%s", row.url, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := run("--discovery",
		"https://oidc.example.com/Prod"); code != 1 || stdout != "" || !strings.Contains(stderr, "--issuer-ca") {
		t.Errorf("unknown authority: %d\n%s%s", code, stdout, stderr)
	}
}

// TestTrustLintIssuer: lint, as generate, takes no address of the keys for the issuer of
// tokens, however it is said; other mistakes are left to be found in the document.
func TestTrustLintIssuer(t *testing.T) {
	t.Parallel()
	const dual = "oidc-eks.eu-west-1.api.aws/id/A1"
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"--issuer", "https://" + dual}, "tokens have https://oidc.eks.eu-west-1.amazonaws.com/id/A1"},
		{
			[]string{"--oidc-provider-arn", "arn:aws:iam::111122223333:oidc-provider/" + dual},
			"tokens have https://oidc.eks.eu-west-1.amazonaws.com/id/A1",
		},
		{[]string{"--issuer", "https://oidc.eks.eu-west-1.amazonaws.com/id/A1"}, ""},
		{[]string{"--issuer", "https://kubernetes.default.svc"}, ""},
	} {
		var out, errors bytes.Buffer
		sys := app.NewSystem()
		sys.Stdin, sys.Stdout, sys.Stderr = strings.NewReader(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
			"Principal": {"AWS": "arn:aws:iam::111122223333:role/a"}, "Action": "sts:AssumeRole"}]}`), &out, &errors
		code := app.Run(t.Context(), sys, append([]string{"trust", "lint", "--account", "111122223333", "-"}, row.args...))
		if (code == 2) != (row.want != "") || !strings.Contains(errors.String(), row.want) {
			t.Errorf("%v: %d %s", row.args, code, errors.String())
		}
	}
}
