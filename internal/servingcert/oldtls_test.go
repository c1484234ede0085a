package servingcert_test

import (
	"crypto/tls"
	"testing"

	"github.com/rolecall/rolecall/internal/servingcert"
)

// TestOldTLSIsRefused: the certificate that replicas share is served as every
// other is, with TLS 1.2 or later.
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	if got := (&servingcert.Keeper{}).TLSConfig().MinVersion; got < tls.VersionTLS12 {
		t.Errorf("the oldest version is %s, want TLS 1.2", tls.VersionName(got))
	}
}
