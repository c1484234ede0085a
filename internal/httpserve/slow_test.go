package httpserve_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/test/pipes"
)

// TestSlowClients: a client that does not send what it began, does not take their answer,
// or does nothing more, is let go after a time that does not depend on them.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: a\r\n"
	for _, row := range []struct {
		name, sent string
		takes      bool          // the answer
		after      time.Duration // is the connection closed
	}{
		{"nothing is sent", "", true, 5 * time.Second},
		{"half of the headers are sent", head, true, 5 * time.Second},
		{"half of the body is sent", head + "Content-Length: 4\r\n\r\nbo", true, 15 * time.Second},
		{"the answer is not taken", head + "Content-Length: 4\r\n\r\nbody", false, 30 * time.Second},
		{"nothing more is sent", head + "Content-Length: 4\r\n\r\nbody", true, 2 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, closed := connect(t, httpserve.Limits{})
			began := time.Now()
			if _, err := io.WriteString(client, row.sent); err != nil {
				t.Fatalf("%s: %v", row.name, err)
			}
			if row.takes {
				_, _ = io.Copy(io.Discard, client)
			}
			if <-closed; time.Since(began) != row.after {
				t.Errorf("%s: closed after %s, want %s", row.name, time.Since(began), row.after)
			}
		})
	}
}

// TestLargeHeaders: headers of 64 KiB are read, whatever else there is, and not those
// that are much larger.
func TestLargeHeaders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ bytes, status int }{
		{64 << 10, http.StatusOK}, {72 << 10, http.StatusRequestHeaderFieldsTooLarge},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, _ := connect(t, httpserve.Limits{})
			go func() {
				const head = "GET / HTTP/1.1\r\nHost: a\r\nX: "
				_, _ = io.WriteString(client, head+strings.Repeat("x", row.bytes-len(head)-4)+"\r\n\r\n")
			}()
			response, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _ = response.Body.Close(); response.StatusCode != row.status {
				t.Errorf("headers of %d bytes: status %d, want %d", row.bytes, response.StatusCode, row.status)
			}
		})
	}
}

// told says when the server closes its end.
type told struct {
	net.Conn
	tell func()
}

func (c told) Close() error {
	c.tell()
	return c.Conn.Close()
}

// tells wraps what is accepted.
type tells struct {
	*pipes.Listener
	closed chan struct{}
}

func (l tells) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return told{connection, sync.OnceFunc(func() { close(l.closed) })}, nil
}

// connect returns a connection to a server that answers with much, and what is closed
// when the server closes its end.
func connect(t *testing.T, limits httpserve.Limits) (net.Conn, <-chan struct{}) {
	t.Helper()
	server := httpserve.Server{
		Name: "test", Log: slog.New(slog.DiscardHandler), Limits: limits,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		}),
	}
	listener := tells{pipes.NewListener(), make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(t.Context(), listener) }()
	client := listener.Connect()
	t.Cleanup(func() {
		_ = client.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return client, listener.closed
}
