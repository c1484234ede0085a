// Package hungpeer stands between clients and servers, and lets a server seem to hang: its
// connections stay, what is sent is taken, and nothing comes back.
//
// It does not know what is sent.
package hungpeer

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Front is what the clients of several servers connect to, as a Service is. It passes new
// connections on to the target, and old ones until they are frozen.
type Front struct {
	net.Listener
	mu     sync.Mutex
	target string
	frozen chan struct{} // of the connections made so far
	made   int
}

// New listens on loopback until the test ends.
func New(t testing.TB, target string) *Front {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Front{Listener: listener, target: target, frozen: make(chan struct{})}
	t.Cleanup(func() { f.Close() })
	go func() {
		for {
			client, err := f.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			target, frozen := f.target, f.frozen
			f.made++
			f.mu.Unlock()
			server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			t.Cleanup(func() { client.Close(); server.Close() })
			go pass(client, server, frozen)
			go pass(server, client, frozen)
		}
	}()
	return f
}

// pass copies until it is frozen; from then on it swallows what comes, as the kernel does for a
// process that hangs.
func pass(from, to net.Conn, frozen chan struct{}) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			to.Close()
			return
		}
		select {
		case <-frozen:
		default:
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
}

// Hang makes the connections that there are hang, and new ones go elsewhere.
func (f *Front) Hang(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.frozen)
	f.target, f.frozen = target, make(chan struct{})
}

// Connections is how many were made.
func (f *Front) Connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made
}
