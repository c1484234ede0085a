package httpserve_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/test/lockedbuffer"
	"github.com/rolecall/rolecall/test/pipes"
)

// TestHandshakeFails: who does not get in is found in the log, with the reason, and
// however many there are the log does not fill.
func TestHandshakeFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own, other := newAuthority(t), newAuthority(t)
		serving, err := own.ServingConfig(time.Now(), time.Hour, "server.example")
		if err != nil {
			t.Fatal(err)
		}
		serving.ClientAuth, serving.ClientCAs = tls.RequireAndVerifyClientCert, own.Pool()
		foreign, err := other.Serving(time.Now(), time.Hour, "client.example")
		if err != nil {
			t.Fatal(err)
		}
		said := &strings.Builder{} // read while nobody writes
		listener := pipes.NewListener()
		server := httpserve.Server{
			Name:    "test",
			TLS:     serving,
			Handler: http.NotFoundHandler(),
			Log:     slog.New(slog.NewJSONHandler(said, nil)),
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(ctx, listener) }()
		// connect has a client speak, and returns what the server logs.
		connect := func(speak func(net.Conn)) []map[string]any {
			t.Helper()
			synctest.Wait()
			said.Reset()
			client := listener.Connect()
			speak(client)
			_ = client.Close()
			synctest.Wait()
			var lines []map[string]any
			for text := range strings.Lines(said.String()) {
				var line map[string]any
				if err := json.Unmarshal([]byte(text), &line); err != nil {
					t.Fatal(err)
				}
				lines = append(lines, line)
			}
			return lines
		}
		shake := func(config *tls.Config) func(net.Conn) {
			return func(client net.Conn) {
				config.MinVersion, config.ServerName = tls.VersionTLS12, "server.example"
				_, _ = io.Copy(io.Discard, tls.Client(client, config))
			}
		}
		plain := func(client net.Conn) {
			_, _ = io.WriteString(client, "GET / HTTP/1.0\r\n\r\n")
			if response, err := http.ReadResponse(bufio.NewReader(client), nil); err == nil {
				_ = response.Body.Close()
			}
		}
		for _, row := range []struct {
			name   string
			speak  func(net.Conn)
			reason string // none if it is not logged
		}{
			{
				"the client does not know the server's authority",
				shake(&tls.Config{RootCAs: other.Pool()}),
				"bad certificate",
			},
			{"no certificate", shake(&tls.Config{RootCAs: own.Pool()}), "didn't provide a certificate"},
			{
				"a certificate of another authority",
				shake(&tls.Config{
					RootCAs: own.Pool(),
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
						return &foreign, nil
					},
				}),
				"unknown authority",
			},
			{"no TLS", plain, "HTTP request to an HTTPS server"},
			{"somebody who only connects", func(net.Conn) {}, ""},
		} {
			lines := connect(row.speak)
			if row.reason == "" {
				if len(lines) != 0 {
					t.Errorf("%s: %v", row.name, lines)
				}
				continue
			}
			if len(lines) != 1 {
				t.Errorf("%s: %v", row.name, lines)
				continue
			}
			line := lines[0]
			reason, _ := line["reason"].(string)
			if line["level"] != "WARN" || line["server"] != "test" || line["remote"] != "pipe" ||
				line["notLogged"] != 0.0 ||
				!strings.Contains(reason, row.reason) {
				t.Errorf("%s: %v", row.name, line)
			}
		}
		logged := 0
		for range 100 { // the fifth, and no more
			logged += len(connect(plain))
		}
		time.Sleep(10 * time.Second)
		last := connect(plain)
		if logged != 1 || len(last) != 1 || last[0]["notLogged"] != 99.0 {
			t.Errorf("%d lines of 100, then %v", logged, last)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestPanic: a handler that panics is found in the log, whatever the protocol.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http", "https"} {
		synctest.Test(t, func(t *testing.T) {
			authority := newAuthority(t)
			serving, err := authority.ServingConfig(time.Now(), time.Hour, "server.example")
			if err != nil {
				t.Fatal(err)
			}
			said := &lockedbuffer.Buffer{}
			server := httpserve.Server{
				Name:    "test",
				Log:     slog.New(slog.NewTextHandler(said, nil)),
				Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh") }),
			}
			if protocol == "https" {
				server.TLS = serving
			}
			listener := pipes.NewListener()
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(ctx, listener) }()
			transport := &http.Transport{
				DialContext: func(context.Context, string, string) (net.Conn, error) {
					return listener.Connect(), nil
				},
				TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool()},
				ForceAttemptHTTP2: true,
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, protocol+"://server.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if response, err := transport.RoundTrip(request); err == nil {
				t.Errorf("%s: status %d", protocol, response.StatusCode)
				_ = response.Body.Close()
			}
			synctest.Wait() // it is told before it is logged
			transport.CloseIdleConnections()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if text := said.String(); strings.Count(text, "level=ERROR msg=\"handler panicked\" server=test "+
				"text=\"pipe: oh") != 1 {
				t.Errorf("%s: says %s", protocol, text)
			}
		})
	}
}

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}
