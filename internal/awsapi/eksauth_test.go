package awsapi_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
)

// clean removes what the machine's own configuration could say.
func clean(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID":           "AKIANODE",
		"AWS_SECRET_ACCESS_KEY":       "node-secret",
		"AWS_SESSION_TOKEN":           "",
		"AWS_REGION":                  "eu-west-1",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_ENDPOINT_URL":            "",
		"AWS_ENDPOINT_URL_EKS_AUTH":   "",
		"AWS_PROFILE":                 "",
		"AWS_DEFAULT_REGION":          "",
	} {
		t.Setenv(name, value)
	}
}

// TestEKSAuthEndpoint: which endpoint counts, and the region's own.
func TestEKSAuthEndpoint(t *testing.T) {
	for _, row := range []struct {
		name, env, value string
		config           awsapi.EKSAuthConfig
		want, err        string
	}{
		{name: "region", want: "https://eks-auth.eu-west-1.api.aws"},
		{
			name:   "parameter region",
			config: awsapi.EKSAuthConfig{Region: "us-gov-west-1"},
			want:   "https://eks-auth.us-gov-west-1.api.aws",
		},
		{
			name:   "China",
			config: awsapi.EKSAuthConfig{Region: "cn-north-1"},
			want:   "https://eks-auth.cn-north-1.api.amazonwebservices.com.cn",
		},
		{
			name:   "isolated",
			config: awsapi.EKSAuthConfig{Region: "us-iso-east-1"},
			want:   "https://eks-auth.us-iso-east-1.api.aws.ic.gov",
		},
		{
			name:   "isolated, b",
			config: awsapi.EKSAuthConfig{Region: "us-isob-east-1"},
			want:   "https://eks-auth.us-isob-east-1.api.aws.scloud",
		},
		{
			name:  "service variable",
			env:   "AWS_ENDPOINT_URL_EKS_AUTH",
			value: "https://broker.example/",
			want:  "https://broker.example",
		},
		{
			name:  "general variable",
			env:   "AWS_ENDPOINT_URL",
			value: "http://127.0.0.1:4566",
			want:  "http://127.0.0.1:4566",
		},
		{
			name:   "parameter",
			env:    "AWS_ENDPOINT_URL_EKS_AUTH",
			value:  "https://x",
			config: awsapi.EKSAuthConfig{Endpoint: "https://y/z/"},
			want:   "https://y/z",
		},
		{name: "no URL", config: awsapi.EKSAuthConfig{Endpoint: "broker"}, err: "must be an http or https URL"},
		{name: "no region", env: "AWS_REGION", value: "", err: "no region"},
		{name: "broker without endpoint", config: awsapi.EKSAuthConfig{BearerFile: "token"}, err: "needs an endpoint"},
	} {
		t.Run(row.name, func(t *testing.T) {
			clean(t)
			if row.env != "" {
				t.Setenv(row.env, row.value)
			}
			row.config.Now = time.Now
			service, err := awsapi.NewEKSAuth(t.Context(), row.config)
			switch {
			case row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)):
				t.Errorf("error %v, want %s", err, row.err)
			case row.err == "" && err != nil:
				t.Error(err)
			case err == nil && service.Endpoint() != row.want:
				t.Errorf("endpoint %s, want %s", service.Endpoint(), row.want)
			}
		})
	}
}

// TestEKSAuthBroker: a broker is sent the agent's own token, the newest, and no
// signature.
func TestEKSAuthBroker(t *testing.T) {
	clean(t)
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"__type":"ThrottlingException","message":"slow"}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	service, err := awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
		Endpoint:   server.URL,
		BearerFile: file,
		Now:        time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Ready(t.Context()); !errors.Is(err, awsapi.ErrNoCredentials) {
		t.Errorf("without a token: %v", err)
	}
	for _, own := range []string{"one", "two"} {
		if err := os.WriteFile(file, []byte(own+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := service.AssumeRoleForPodIdentity(t.Context(), "prod", credential.NewSecret("a.b.c"))
		answer, ok := errors.AsType[*awsapi.Error](err)
		if !ok || answer.Code != "ThrottlingException" || answer.RetryAfter != 7*time.Second {
			t.Errorf("got %v", err)
		}
		if seen != "Bearer "+own {
			t.Errorf("sent %q", seen)
		}
	}
}

// TestEKSAuthRotates: keys that something else replaces in the file are seen
// within a minute.
func TestEKSAuthRotates(t *testing.T) {
	clean(t)
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "credentials")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	now := time.Now()
	write := func(id string) {
		t.Helper()
		if err := os.WriteFile(
			file, []byte("[default]\naws_access_key_id = "+id+"\naws_secret_access_key = s\n"), 0o600,
		); err != nil {
			t.Fatal(err)
		}
	}
	write("AKIAOLD")
	service, err := awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
		Endpoint:   server.URL,
		RotateFile: true,
		Now:        func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id string) {
		t.Helper()
		_, _ = service.AssumeRoleForPodIdentity(t.Context(), "prod", credential.NewSecret("a.b.c"))
		if !strings.Contains(seen, "Credential="+id+"/") {
			t.Errorf("signed %q, want the key %s", seen, id)
		}
	}
	ask("AKIAOLD")
	write("AKIANEW")
	ask("AKIAOLD")
	// The SDK's cache has no clock of ours: keys that are a minute old by the
	// wall clock are what it sees when they were read two minutes ago.
	now = now.Add(-2 * time.Minute)
	service, err = awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
		Endpoint:   server.URL,
		RotateFile: true,
		Now:        func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	ask("AKIANEW")
	write("AKIANEWER")
	ask("AKIANEWER")
}
