package awsapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/rolecall/rolecall/internal/pki"
)

// TestRolesKeepConnections: the transport that is changed is the one that is used,
// with and without certificates of one's own.
func TestRolesKeepConnections(t *testing.T) {
	for _, bundle := range []string{"", filepath.Join(t.TempDir(), "ca.pem")} {
		if bundle != "" {
			authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
			if err != nil || os.WriteFile(bundle, authority.PEM(), 0o600) != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("AWS_CA_BUNDLE", bundle)
		roles, err := NewRoles(t.Context(), RolesConfig{Region: "eu-west-1"})
		if err != nil {
			t.Fatal(err)
		}
		used, ok := roles.client.Options().HTTPClient.(*awshttp.BuildableClient)
		if !ok || used.GetTransport().MaxIdleConnsPerHost != rolesIdle {
			t.Errorf(
				"AWS_CA_BUNDLE %q: %T does not keep %d connections",
				bundle,
				roles.client.Options().HTTPClient,
				rolesIdle,
			)
		}
	}
}

// TestRolesLookForNobody: without Own the SDK's chain of credentials is not opened: neither
// the files of profiles nor the instance's metadata are looked at.
func TestRolesLookForNobody(t *testing.T) {
	var asked atomic.Int32
	metadata := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(metadata.Close)
	broken := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(broken, []byte("[profile x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": broken, "AWS_SHARED_CREDENTIALS_FILE": broken, "AWS_PROFILE": "missing",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.URL, "AWS_EC2_METADATA_DISABLED": "false",
		"AWS_ACCESS_KEY_ID": "AKIASTRANGER000000001", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.URL, "AWS_ENDPOINT_URL_STS": "https://sts.example.com",
	} {
		t.Setenv(name, value)
	}
	roles, err := NewRoles(t.Context(), RolesConfig{Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := roles.Own(t.Context()); !errors.Is(err, ErrNoCredentials) {
		t.Errorf("own: %v", err)
	}
	if _, err := roles.Assume(t.Context(), RoleRequest{RoleARN: "arn:aws:iam::111122223333:role/r"}); !errors.Is(
		err, ErrNoCredentials,
	) {
		t.Errorf("assume: %v", err)
	}
	if got := aws.ToString(roles.client.Options().BaseEndpoint); got != "https://sts.example.com" {
		t.Errorf("the environment's endpoint is not used: %q", got)
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests for credentials", asked.Load())
	}
	if _, err := NewRoles(t.Context(), RolesConfig{Region: "eu-west-1", Own: true}); err == nil {
		t.Error("with Own the broken file was not read either")
	}
}
