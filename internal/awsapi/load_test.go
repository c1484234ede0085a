package awsapi_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/awsapi"
)

// TestSDKLogsNothing: the SDK's own log lines, such as its warning of an object without a
// checksum, are not on standard error.
func TestSDKLogsNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "x",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	said, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = said // the SDK takes it when it loads its configuration
	t.Cleanup(func() { os.Stderr = before })
	account, err := awsapi.OpenAccount(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := account.Bucket("keys", "", "111122223333").Read(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(said.Name()); err != nil || len(text) > 0 {
		t.Errorf("standard error: %s, %v", text, err)
	}
}

// TestOneConfiguration: nobody loads a configuration past the one function that keeps the
// SDK silent.
func TestOneConfiguration(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "LoadDefaultConfig(") && file != "load.go" && file != "load_test.go" {
			t.Errorf("%s: load the configuration with load", file)
		}
	}
}
