package awsapi

import (
	"os"
	"path/filepath"
	"testing"
	"time"

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
