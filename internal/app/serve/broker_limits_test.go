package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/test/pipes"
)

// limitedBroker is what `serve broker` serves, without a cluster: what is asked
// here is refused before one is needed.
func limitedBroker(c *brokerConfig) *brokerParts {
	p := &brokerParts{runner: newRunner(slog.New(slog.DiscardHandler)), routes: http.NewServeMux()}
	broker.New(broker.Config{
		Cluster: &c.cluster, Agents: &broker.Agents{Mode: broker.NoAuthentication}, Limits: broker.DefaultLimits(),
		Audit: door.NewAudit(io.Discard, func(error) {}), Metrics: p.registry, Log: p.log, Now: time.Now,
	}).Routes(p.routes, p.draining)
	return p
}

// TestBrokerLimits is spec podidentity §19.2: how large headers and bodies may be.
func TestBrokerLimits(t *testing.T) {
	t.Parallel()
	authority := newTestAuthority(t)
	c := &brokerConfig{cluster: association.Cluster{Name: "prod"}}
	c.certificates.CertFile, c.certificates.KeyFile = writePairFiles(t, authority, t.TempDir())
	p := limitedBroker(c)
	if err := c.serving(cli.NewSystem(), p); err != nil {
		t.Fatal(err)
	}
	c.listen, c.probeListen, c.metricsListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	ctx, stop := context.WithCancel(t.Context())
	ended, listening := make(chan error, 1), make(chan net.Addr, 1)
	go func() {
		ended <- p.run(ctx, func(ctx context.Context) error {
			err := c.serve(ctx, p)
			listening <- p.closers[0].(closeOnce).Addr()
			return err
		})
	}()
	address := (<-listening).String()

	first := "POST /clusters/prod/assume-role-for-pod-identity HTTP/1.1\r\nHost: b\r\n"
	const token = `{"token":""}`
	for _, row := range []struct {
		name          string
		headers, body int // bytes
		status        int
		code          string
		closed        bool
	}{
		{"headers of 15 KiB", 15 << 10, len(token), http.StatusBadRequest, "InvalidParameterException", false},
		{"headers of 16 KiB", 16 << 10, len(token), http.StatusBadRequest, "InvalidParameterException", false},
		{"one byte more", 16<<10 + 1, len(token), http.StatusRequestHeaderFieldsTooLarge, "", true},
		{"headers of 17 KiB", 17 << 10, len(token), http.StatusRequestHeaderFieldsTooLarge, "", true},
		{"headers of 1 MiB", 1 << 20, len(token), http.StatusRequestHeaderFieldsTooLarge, "", true},
		{"a body of 32 KiB", 1 << 10, 32 << 10, http.StatusBadRequest, "InvalidParameterException", false},
		{"a body of one byte more", 1 << 10, 32<<10 + 1, http.StatusBadRequest, "InvalidParameterException", true},
	} {
		length := fmt.Sprintf("Content-Length: %d\r\n", row.body)
		padding := "X-Padding: " + strings.Repeat("x",
			row.headers-len(first)-len(length)-len("X-Padding: \r\n")) + "\r\n"
		status, code, said, closed := speak(t, authority, address,
			first+length+padding+"\r\n"+token+strings.Repeat(" ", row.body-len(token)))
		if status != row.status || code != row.code || closed != row.closed {
			t.Errorf("%s: %d %s, closed %t: %s", row.name, status, code, closed, said)
		}
		if tooLarge := strings.Contains(said, "body is too large"); tooLarge != (row.body > 32<<10) {
			t.Errorf("%s: %s", row.name, said)
		}
	}
	over2(t, authority, address)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// speak sends a request of HTTP/1 on a connection of its own, and says whether it
// was closed after the answer.
func speak(
	t *testing.T, authority *pki.Authority, address, request string,
) (status int, code, said string, closed bool) {
	t.Helper()
	dialer := tls.Dialer{
		Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool(), NextProtos: []string{"http/1.1"}},
	}
	connection, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	go func() { _, _ = io.WriteString(connection, request) }()
	answers := bufio.NewReader(connection)
	response, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.Close {
		_, _ = io.Copy(io.Discard, answers) // until it is
	}
	return response.StatusCode, response.Header.Get("X-Amzn-Errortype"), string(text), response.Close
}

// over2 asks by HTTP/2, as agents do: a client is told of the limit, and sends no
// more.
func over2(t *testing.T, authority *pki.Authority, address string) {
	t.Helper()
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool()},
			ForceAttemptHTTP2: true,
		},
	}
	defer client.CloseIdleConnections()
	for _, headers := range []int{15 << 10, 17 << 10} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"https://"+address+"/clusters/prod/assume-role-for-pod-identity", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Padding", strings.Repeat("x", headers))
		response, err := client.Do(request)
		if headers > 16<<10 {
			if err == nil || !strings.Contains(err.Error(), "limit") {
				t.Errorf("%d bytes of headers: %v", headers, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d bytes of headers: %v", headers, err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest || response.ProtoMajor != 2 {
			t.Errorf("%d bytes of headers by %s: status %d", headers, response.Proto, response.StatusCode)
		}
	}
}

// TestBrokerSlowBody: a body that does not arrive holds a request for no longer
// than the five seconds that a handler may take.
func TestBrokerSlowBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &brokerConfig{cluster: association.Cluster{Name: "prod"}}
		broker, p := pipes.NewListener(), limitedBroker(c)
		p.addServer(p.server(), broker)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.run(ctx, func(context.Context) error { return nil }) }()
		client := broker.Connect()
		began := time.Now()
		const half = "POST /clusters/prod/assume-role-for-pod-identity HTTP/1.1\r\nHost: b\r\n" +
			"Content-Length: 100\r\n\r\n{"
		if _, err := io.WriteString(client, half); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if took := time.Since(began); took != 5*time.Second || response.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d after %v", response.StatusCode, took)
		}
		_ = client.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
