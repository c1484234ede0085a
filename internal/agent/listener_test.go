package agent_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/httpserve"
)

// TestConnectionsHeld: a client that opens connections and sends nothing, from one
// address, loses them, and does not keep another address out (spec podidentity row H12).
func TestConnectionsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, &fakeUpstream{}, nil)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	server := httpserve.Server{
		Name:    "agent",
		Handler: r,
		Log:     slog.New(slog.DiscardHandler),
		Limits:  httpserve.Limits{Header: 5 * time.Second, Drain: time.Millisecond},
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, agent.LimitConnections(listener)) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	from := func(address string) *net.Dialer {
		return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 5 * time.Second}
	}
	var held []net.Conn
	for range 400 {
		connection, err := from("127.0.0.9").DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, connection)
		defer connection.Close()
	}
	client := &http.Client{Transport: &http.Transport{DialContext: from("127.0.0.8").DialContext}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(
		t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/v1/credentials", nil,
	)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", cart(time.Now()).mint(t))
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("another address got %d", response.StatusCode)
	}
	// All are closed by the server: those over the bound at once, the others
	// when they have not sent a header in time.
	for i, connection := range held {
		_ = connection.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, connection); err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // as net returns it
				t.Fatalf("connection %d is still open", i)
			}
		}
	}
}
