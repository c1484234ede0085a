package app_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// startAdministratedAWS serves a local AWS; the environment has its
// administrator's key.
func startAdministratedAWS(t *testing.T) (url string) {
	t.Helper()
	accounts, err := account.NewSet(account.NewMemory(), []string{"111122223333"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := accounts.Default().AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	aws := httptest.NewServer(localaws.New(localaws.Config{
		Accounts: accounts,
		Now:      time.Now,
		Log:      slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(aws.Close)
	for name, text := range map[string]string{
		"AWS_ENDPOINT_URL": aws.URL, "AWS_ENDPOINT_URL_STS": aws.URL, "AWS_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": admin.AccessKeyID, "AWS_SECRET_ACCESS_KEY": admin.SecretKey.Reveal(),
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, text)
	}
	return aws.URL
}

// TestIssuerInitOnLocalAWS makes bucket, documents and provider by the real SDK
// in an AWS that checks every call; what is published is public, what is not is
// not.
func TestIssuerInitOnLocalAWS(t *testing.T) {
	url := startAdministratedAWS(t)
	var out, problems bytes.Buffer
	system := app.NewSystem()
	system.Stdout, system.Stderr = &out, &problems
	dir := t.TempDir()
	for range 2 { // it can be called again
		if code := app.Run(t.Context(), system, []string{
			"issuer", "init", "--name", "prod", "--bucket", "example-oidc",
			"--region", "eu-west-1", "--for", "kubeadm", "--dir", dir, "--read-back", "0",
		}); code != 0 {
			t.Fatalf("exit %d: %s", code, &problems)
		}
	}
	want := "provider: arn:aws:iam::111122223333:oidc-provider/example-oidc.s3.eu-west-1.amazonaws.com"
	if strings.Count(out.String(), want) != 2 {
		t.Errorf("want twice %q:\n%s", want, &out)
	}
	for path, want := range map[string]string{
		"/example-oidc/.well-known/openid-configuration": `{"issuer":"https://example-oidc.s3.eu-west-1.amazonaws.com"`,
		"/example-oidc/openid/v1/jwks":                   `{"keys":[{`,
		"/example-oidc":                                  "AccessDenied",
	} {
		if got := public(t, url+path); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestBrokerGuideStart: the broker's guide begins with commands that work as they
// stand there, the second as far as it can without a cluster.
func TestBrokerGuideStart(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide/broker.md")
	if err != nil {
		t.Fatal(err)
	}
	command := func(beginning string) []string {
		_, rest, found := strings.Cut(strings.ReplaceAll(string(guide), "\\\n", " "), "\nrolecall "+beginning)
		line, _, _ := strings.Cut(rest, "\n")
		if !found {
			t.Fatalf("the guide has no rolecall %s", beginning)
		}
		return strings.Fields(beginning + line)
	}
	startAdministratedAWS(t)
	t.Chdir(t.TempDir())
	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{
			append(command("issuer init"), "--read-back", "0"), 0,
			"issuer: https://my-issuers.s3.eu-west-1.amazonaws.com/broker",
		},
		// the last that is looked at
		{append(command("serve broker"), "--kubeconfig", "missing"), 2, "find the API server"},
	} {
		var out bytes.Buffer
		system := app.NewSystem()
		system.Stdout, system.Stderr = &out, &out
		if code := app.Run(t.Context(), system, row.args); code != row.code ||
			!strings.Contains(out.String(), row.want) {
			t.Errorf("%v: exit %d, want %d and %q: %s", row.args, code, row.code, row.want, &out)
		}
	}
}

func public(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
