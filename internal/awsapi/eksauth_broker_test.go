package awsapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
)

// pair makes a self-signed certificate of 127.0.0.1, for servers and clients,
// and the PEM of it with its key, as kubelet keeps its own.
func pair(t *testing.T, name string) (certificate tls.Certificate, certPEM, both []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name, Organization: []string{"system:nodes"}},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	both = append(append([]byte{}, certPEM...), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	certificate, err = tls.X509KeyPair(both, both)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, certPEM, both
}

// tlsBroker serves over TLS, with a certificate that can be exchanged.
func tlsBroker(t *testing.T, config *tls.Config, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.SetKeepAlivesEnabled(false) // each call makes a new handshake
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

const brokerSession = `{"subject":{"namespace":"shop","serviceAccount":"cart"},` +
	`"podIdentityAssociation":{"associationId":"a-1"},` +
	`"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/x/y"},"credentials":{"accessKeyId":"ASIA",` +
	`"secretAccessKey":"s","sessionToken":"t","expiration":4102444800}}`

// TestBrokerTrust: the broker's certificate must come from the file, which is
// followed: a new authority needs no restart, and the old one is no longer
// trusted. A file that is broken for a while changes nothing.
func TestBrokerTrust(t *testing.T) {
	for _, by := range []string{"parameter", "AWS_CA_BUNDLE"} {
		t.Run(by, func(t *testing.T) {
			clean(t)
			first, firstPEM, _ := pair(t, "first")
			second, secondPEM, _ := pair(t, "second")
			current := &first
			server := tlsBroker(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{Certificates: []tls.Certificate{*current}, MinVersion: tls.VersionTLS12}, nil
			}},
				func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("X-Rolecall-Association-Version", "7")
					_, _ = io.WriteString(w, brokerSession)
				})
			dir := t.TempDir()
			token, authority := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
			write(t, token, []byte("own-token"))
			write(t, authority, []byte("nothing"))
			config := awsapi.EKSAuthConfig{Endpoint: server.URL, BearerFile: token, CAFile: authority, Now: time.Now}
			if by != "parameter" {
				config.CAFile = ""
				t.Setenv("AWS_CA_BUNDLE", authority)
			}
			if _, err := awsapi.NewEKSAuth(t.Context(), config); err == nil {
				t.Fatal("a file without a certificate is taken")
			}
			write(t, authority, firstPEM)
			service, err := awsapi.NewEKSAuth(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			call := func() error {
				session, err := service.AssumeRoleForPodIdentity(t.Context(), "prod", credential.NewSecret("x"))
				if err == nil && session.Version != 7 {
					t.Errorf("version %d", session.Version)
				}
				return err
			}
			var unknown x509.UnknownAuthorityError
			if err := call(); err != nil {
				t.Fatal(err)
			}
			current = &second
			if err := call(); !errors.As(err, &unknown) {
				t.Errorf("another authority: %v", err)
			}
			write(t, authority, secondPEM)
			if err := call(); err != nil {
				t.Errorf("the file changed: %v", err)
			}
			write(t, authority, nil)
			if err := call(); err != nil {
				t.Errorf("the file is broken: %v", err)
			}
			current = &first
			if err := call(); !errors.As(err, &unknown) {
				t.Errorf("the old authority: %v", err)
			}
		})
	}
}

// TestBrokerRefuses: what could give a token to somebody else.
func TestBrokerRefuses(t *testing.T) {
	clean(t)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, []byte("own-token"))
	for endpoint, good := range map[string]bool{
		"http://broker.example": false, "http://10.0.0.1:8443": false, "http://127.0.0.1.example.com": false,
		"http://127.0.0.1:1": true, "http://[::1]:1": true, "https://broker.example": true,
	} {
		if _, err := awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
			Endpoint:   endpoint,
			BearerFile: token,
			Now:        time.Now,
		}); (err == nil) != good {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	certificate, authority, _ := pair(t, "broker")
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, authority)
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	old := tlsBroker(t, &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MaxVersion:   tls.VersionTLS11,
		MinVersion:   tls.VersionTLS10,
	}, //nolint:gosec // what must be refused
		func(http.ResponseWriter, *http.Request) { elsewhere++ })
	redirecting := tlsBroker(t, &tls.Config{
		Certificates: []tls.Certificate{certificate},
	}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	for name, server := range map[string]*httptest.Server{"TLS 1.1": old, "redirect": redirecting} {
		service, err := awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
			Endpoint:   server.URL,
			BearerFile: token,
			CAFile:     file,
			Now:        time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := service.AssumeRoleForPodIdentity(t.Context(), "prod", credential.NewSecret("x")); err == nil {
			t.Errorf("%s: a session", name)
		}
		if _, _, err := service.Changes(t.Context(), "n1", ""); err == nil {
			t.Errorf("%s: changes", name)
		}
	}
	if elsewhere != 0 {
		t.Errorf("%d requests arrived", elsewhere)
	}
}

// TestBrokerClientCertificate: instead of a token the node's own certificate,
// the newest of its file.
func TestBrokerClientCertificate(t *testing.T) {
	clean(t)
	serving, authority, _ := pair(t, "broker")
	_, firstPEM, first := pair(t, "system:node:n1")
	_, secondPEM, second := pair(t, "system:node:n2")
	nodes := x509.NewCertPool()
	nodes.AppendCertsFromPEM(firstPEM)
	nodes.AppendCertsFromPEM(secondPEM)
	var who []string
	server := tlsBroker(t, &tls.Config{
		Certificates: []tls.Certificate{serving},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    nodes,
	}, func(w http.ResponseWriter, r *http.Request) {
		who = append(who, r.TLS.PeerCertificates[0].Subject.CommonName+r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, brokerSession)
	})
	dir := t.TempDir()
	own, trusted := filepath.Join(dir, "kubelet.pem"), filepath.Join(dir, "ca.pem")
	write(t, trusted, authority)
	service, err := awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
		Endpoint:              server.URL,
		ClientCertificateFile: own,
		CAFile:                trusted,
		Now:                   time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Ready(t.Context()); !errors.Is(err, awsapi.ErrNoCredentials) {
		t.Errorf("without the file: %v", err)
	}
	for _, text := range [][]byte{first, second} {
		write(t, own, text)
		if _, err := service.AssumeRoleForPodIdentity(t.Context(), "prod", credential.NewSecret("x")); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"system:node:n1", "system:node:n2"}, who); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
}

// TestChanges is the wire of the long poll (spec podidentity §19.6).
func TestChanges(t *testing.T) {
	clean(t)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, []byte("own-token"))
	answer, status, asked := "", http.StatusOK, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.String() + " " + r.Header.Get("Authorization")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	service, err := awsapi.NewEKSAuth(t.Context(), awsapi.EKSAuthConfig{
		Endpoint:   server.URL,
		BearerFile: token,
		Now:        time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		text   string
		want   []awsapi.AssociationChange
		cursor string // empty: unusable
	}{
		{
			`{"cursor":"17","items":[{"associationId":"a-1","version":3},{"associationId":"a-2","version":4,` +
				`"deleted":true},{"associationId":"a-3","paused":true}]}`,
			[]awsapi.AssociationChange{
				{AssociationID: "a-1", Version: 3},
				{AssociationID: "a-2", Version: 4, Gone: true},
				{AssociationID: "a-3", Gone: true},
			},
			"17",
		},
		{`{"cursor":12345678901234567,"items":null}`, nil, "12345678901234567"},
		{
			`{"cursor":"x","items":[{"associationId":"a-1","version":"5"}]}`,
			[]awsapi.AssociationChange{{AssociationID: "a-1", Version: 5}},
			"x",
		},
		{`{"items":[]}`, nil, ""},
		{`{"cursor":"x","items":[{"version":1}]}`, nil, ""},
		{`{"cursor":{},"items":[]}`, nil, ""},
		{`<html>`, nil, ""},
		{fmt.Sprintf(`{"cursor":"%01000d"}`, 1), nil, ""},
	} {
		answer = row.text
		got, cursor, err := service.Changes(t.Context(), "n/1", "a b")
		if diff := cmp.Diff(row.want, got); diff != "" || cursor != row.cursor ||
			errors.Is(err, awsapi.ErrUnusable) != (row.cursor == "") {
			t.Errorf("%.80s: cursor %q, %v, changes (-want +got):\n%s", row.text, cursor, err, diff)
		}
	}
	if want := "GET /rolecall/v1/changes?node=n%2F1&since=a+b Bearer own-token"; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	status = http.StatusNotFound
	if _, _, err := service.Changes(t.Context(), "n1", ""); err == nil {
		t.Error("404 is no error")
	} else if refused, ok := errors.AsType[*awsapi.Error](err); !ok || refused.Status != http.StatusNotFound {
		t.Errorf("got %v", err)
	}
}
