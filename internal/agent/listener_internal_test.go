package agent

import (
	"fmt"
	"net"
	"testing"
)

// callers is a listener of connections that wait to be accepted.
type callers struct{ waiting []*caller }

// caller is a connection by where it comes from.
type caller struct {
	net.Conn
	from   string
	closed bool
}

func (c *caller) RemoteAddr() net.Addr {
	address, err := net.ResolveTCPAddr("tcp", c.from)
	if err != nil {
		panic(err)
	}
	return address
}

func (c *caller) Close() error { c.closed = true; return nil }

func (l *callers) Accept() (net.Conn, error) {
	if len(l.waiting) == 0 {
		return nil, net.ErrClosed
	}
	first := l.waiting[0]
	l.waiting = l.waiting[1:]
	return first, nil
}

func (*callers) Close() error   { return nil }
func (*callers) Addr() net.Addr { return &net.TCPAddr{} }

// call has so many connections come from an address, and returns those that are held.
func (l *callers) call(limited net.Listener, from string, times int) (held []net.Conn) {
	for range times {
		l.waiting = append(l.waiting, &caller{from: from})
	}
	all := l.waiting
	for {
		connection, err := limited.Accept()
		if err != nil {
			break
		}
		held = append(held, connection)
	}
	closed := 0
	for _, one := range all {
		if one.closed {
			closed++
		}
	}
	if closed != times-len(held) {
		panic("a connection that is not accepted stays open")
	}
	return held
}

// TestConnectionsOfOneAddress: an address may hold 256, however it is written, and
// another one as soon as one of them ends.
func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	l := &callers{}
	limited := LimitConnections(l)
	held := l.call(limited, "10.0.0.1:1000", 300)
	if len(held) != 256 {
		t.Errorf("%d connections of one address, want 256", len(held))
	}
	if more := l.call(limited, "[::ffff:10.0.0.1]:1000", 1); len(more) != 0 {
		t.Error("the address is taken for another in its long form")
	}
	if more := l.call(limited, "10.0.0.2:1000", 1); len(more) != 1 {
		t.Error("another address is kept out")
	}
	for range 2 { // the second time gives nothing back
		_ = held[0].Close()
	}
	if more := l.call(limited, "10.0.0.1:1000", 2); len(more) != 1 {
		t.Errorf("%d connections after one has ended, want 1", len(more))
	}
}

// TestConnectionsInAll: all addresses together may hold 1,024.
func TestConnectionsInAll(t *testing.T) {
	t.Parallel()
	l := &callers{}
	limited := LimitConnections(l)
	var held []net.Conn
	for i := range 12 {
		held = append(held, l.call(limited, fmt.Sprintf("10.0.0.%d:1000", i), 100)...)
	}
	if len(held) != 1024 {
		t.Errorf("%d connections, want 1024", len(held))
	}
	_ = held[0].Close()
	if more := l.call(limited, "10.0.1.1:1000", 2); len(more) != 1 {
		t.Errorf("%d connections after one has ended, want 1", len(more))
	}
}
