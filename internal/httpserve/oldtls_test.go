package httpserve_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/httpserve"
)

// TestOldTLSIsRefused: no server speaks a version before TLS 1.2, whichever
// certificate it has.
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, certFile, keyFile, "server.example", time.Now())
	files, err := httpserve.LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	made, err := newAuthority(t).ServingConfig(time.Now(), time.Hour, "server.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{"of files": files.TLSConfig(), "of an authority": made} {
		for version, accepted := range map[uint16]bool{
			tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
		} {
			here, there := net.Pipe()
			server := make(chan error, 1)
			go func() { server <- tls.Server(there, config).HandshakeContext(t.Context()) }()
			client := tls.Client(here, &tls.Config{
				MinVersion: version, MaxVersion: version,
				InsecureSkipVerify: true, //nolint:gosec // which version is spoken is what is asked
			})
			err := client.HandshakeContext(t.Context())
			if (err == nil) != accepted {
				t.Errorf("certificate %s, %s: got %v, want accepted %t", name, tls.VersionName(version), err, accepted)
			}
			_ = here.Close()
			<-server
		}
	}
}
