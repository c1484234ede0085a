package httpserve_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/test/pipes"
)

// TestDrain: a request that is being answered when the server is told to stop
// gets its answer.
func TestDrain(t *testing.T) {
	t.Parallel()
	listener, err := httpserve.Listen(t.Context(), "127.0.0.1:0", false, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	entered, goOn := make(chan struct{}), make(chan struct{})
	server := httpserve.Server{
		Name: "test",
		Log:  slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-goOn
			if r.Context().Err() == nil {
				_, _ = io.WriteString(w, "done")
			}
		}),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	answered := make(chan string, 1)
	go func() {
		request, _ := http.NewRequestWithContext(
			context.WithoutCancel(ctx), http.MethodGet, "http://"+listener.Addr().String(), nil,
		)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = response.Body.Close() }()
		text, _ := io.ReadAll(response.Body)
		answered <- string(text)
	}()
	<-entered
	stop()
	close(goOn)
	if got := <-answered; got != "done" {
		t.Errorf("answer %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// TestUnusedConnections: a connection that an API server opens and does not use
// takes a request up to the time when the API server closes it.
func TestUnusedConnections(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		limits httpserve.Limits
		want   bool
	}{{"of an API server", httpserve.CalledByAPIServers(), true}, {"of others", httpserve.Limits{}, false}} {
		synctest.Test(t, func(t *testing.T) {
			server := httpserve.Server{
				Name:   "test",
				Log:    slog.New(slog.DiscardHandler),
				Limits: row.limits,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(w, r.Body)
				}),
			}
			listener := pipes.NewListener()
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(ctx, listener) }()
			client := listener.Connect()
			time.Sleep(91 * time.Second)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
				time.Sleep(time.Second)
				_, _ = io.WriteString(client, "body")
			}()
			response, err := http.ReadResponse(bufio.NewReader(client), nil)
			if (err == nil) != row.want {
				t.Errorf("%s: %v", row.name, err)
			}
			if err == nil {
				if body, err := io.ReadAll(response.Body); err != nil || string(body) != "body" {
					t.Errorf("%s: %q %v", row.name, body, err)
				}
				_ = response.Body.Close()
			}
			_ = client.Close()
			<-sent
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	taken, err := httpserve.Listen(t.Context(), "127.0.0.1:0", false, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, row := range []struct {
		name, address string
		want          fault.Kind
	}{
		{"in use", taken.Addr().String(), fault.Conflict},
		{"everywhere", ":0", fault.Usage},
		{"all addresses", "0.0.0.0:0", fault.Usage},
		{"another machine's", "192.0.2.1:0", fault.Usage},
		{"no port", "127.0.0.1", fault.Usage},
	} {
		listener, err := httpserve.Listen(t.Context(), row.address, false, "--public")
		if err == nil {
			_ = listener.Close()
		}
		if fault.KindOf(err) != row.want || len(fault.HintsOf(err)) == 0 {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestCertificateReload: a renewed pair is served without restart, a broken one
// is not.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	_, err := httpserve.LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("missing files: %v", err)
	}
	writePair(t, certFile, keyFile, "first.example", time.Unix(1000, 0))
	files, err := httpserve.LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	served := func() string {
		certificate, err := files.TLSConfig().GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return certificate.Leaf.DNSNames[0]
	}
	if got := served(); got != "first.example" {
		t.Errorf("serves %s", got)
	}
	writePair(t, certFile, keyFile, "second.example", time.Unix(2000, 0))
	if got := served(); got != "second.example" {
		t.Errorf("after renewal: serves %s", got)
	}
	if err := os.WriteFile(certFile, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "second.example" {
		t.Errorf("with a broken file: serves %s", got)
	}
}

func writePair(t *testing.T, certFile, keyFile, name string, at time.Time) {
	t.Helper()
	pair, err := newAuthority(t).Serving(time.Now(), time.Hour, name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "EC PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
}
