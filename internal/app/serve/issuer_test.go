package serve

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/test/pipes"
)

// TestServeIssuerBounds: readers of an issuer's documents have a bounded time and size for
// each request, and a bounded number of connections.
func TestServeIssuerBounds(t *testing.T) {
	t.Parallel()
	const head = "GET / HTTP/1.1\r\nHost: a\r\n"
	for _, row := range []struct {
		name, sent string
		after      time.Duration // is the connection closed
		status     string        // empty: no answer
	}{
		{"nothing is sent", "", 5 * time.Second, ""},
		{"half of the headers are sent", head, 5 * time.Second, ""},
		{"nothing more is sent", head + "\r\n", 10 * time.Second, "HTTP/1.1 200 OK"},
		{
			"large headers", head + "X: " + strings.Repeat("x", 17<<10) + "\r\n\r\n", 0,
			"HTTP/1.1 431 Request Header Fields Too Large",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := issuerReader(t)()
			began := time.Now()
			go func() { _, _ = io.WriteString(client, row.sent) }()
			answer, _ := bufio.NewReader(client).ReadString('\n')
			_, _ = io.Copy(io.Discard, client)
			if took := time.Since(began); took.Truncate(time.Second) != row.after || strings.TrimSpace(answer) != row.status {
				t.Errorf("%s: got %q after %s, want %q after %s", row.name, answer, took, row.status, row.after)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		connect := issuerReader(t)
		open := 0
		for range 300 {
			client := connect()
			go func() {
				_, _ = io.Copy(io.Discard, client)
				open--
			}()
			open++
			synctest.Wait()
		}
		if open != 256 {
			t.Errorf("%d connections of one address are open, want 256", open)
		}
	})
}

// issuerReader returns what connects to a server of an issuer.
func issuerReader(t *testing.T) func() net.Conn {
	t.Helper()
	server := issuerServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	server.Log = slog.New(slog.DiscardHandler)
	listener := pipes.NewListener()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(t.Context(), listener) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		client := listener.Connect()
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
}
