package serve

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/pki"
)

// TestBrokerClientAuthorities: with --agent-auth mtls a client's certificate
// counts if it is of the newest authorities in the file; who has none, such as a
// caller of the EKS API, is let in without a name.
func TestBrokerClientAuthorities(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serving := newTestAuthority(t)
	certFile, keyFile := writePairFiles(t, serving, dir)
	first, second := newTestAuthority(t), newTestAuthority(t)
	file := filepath.Join(dir, "clients.pem")
	write := func(text []byte, at int64) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	c := &brokerConfig{
		certificates: flags.Certificates{CertFile: certFile, KeyFile: keyFile},
		agentAuth:    "mtls",
		clientCA:     file,
	}
	log := &bytes.Buffer{}
	parts := &brokerParts{runner: newRunner(slog.New(slog.NewTextHandler(log, nil)))}
	if err := c.serving(cli.NewSystem(), parts); fault.KindOf(err) != fault.Invalid {
		t.Fatalf("without authorities: %v", err)
	}
	write(first.PEM(), 1000)
	if err := c.serving(cli.NewSystem(), parts); err != nil {
		t.Fatal(err)
	}
	shake := func(client *tls.Certificate) (verified bool, err error) {
		t.Helper()
		server, other := net.Pipe()
		defer server.Close()
		defer other.Close()
		config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: serving.Pool(), ServerName: "127.0.0.1"}
		if client != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return client, nil
			}
		}
		go func() {
			connection := tls.Client(other, config)
			_, _ = io.Copy(io.Discard, connection) // the handshake, and its end
		}()
		accepted := tls.Server(server, parts.tls)
		err = accepted.HandshakeContext(t.Context())
		return len(accepted.ConnectionState().VerifiedChains) > 0, err
	}
	certificate := func(a *pki.Authority) *tls.Certificate {
		pair, err := a.Serving(time.Now(), time.Hour, "node")
		if err != nil {
			t.Fatal(err)
		}
		// It is a server's, so that a client's extended usage is not there.
		return &pair
	}
	if verified, err := shake(nil); verified || err != nil {
		t.Errorf("no certificate: %t, %v", verified, err)
	}
	if verified, err := shake(certificate(second)); verified || err == nil {
		t.Errorf("of another authority: %t, %v", verified, err)
	}
	if verified, err := shake(certificate(first)); verified || err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("a server's certificate: %t, %v", verified, err)
	}
	pool := func() *x509.CertPool {
		config, err := parts.tls.GetConfigForClient(nil)
		if err != nil {
			t.Fatal(err)
		}
		return config.ClientCAs
	}
	before := pool()
	write(second.PEM(), 2000)
	if pool().Equal(before) || !pool().Equal(second.Pool()) {
		t.Error("changed authorities are not read")
	}
	write([]byte("junk"), 3000)
	if !pool().Equal(second.Pool()) || !strings.Contains(log.String(),
		"its old content stays\" of=\"authorities of client certificates\"") {
		t.Errorf("junk: %s", log)
	}
}

func newTestAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// writePairFiles makes a serving certificate for 127.0.0.1.
func writePairFiles(t *testing.T, authority *pki.Authority, dir string) (certFile, keyFile string) {
	t.Helper()
	pair, err := authority.Serving(time.Now(), time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		keyFile:  {Type: "EC PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}
