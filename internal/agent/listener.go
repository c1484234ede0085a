package agent

import (
	"net"
	"net/netip"
	"sync"
)

// Bounds of open connections of one listener. Connections above them are closed
// at once rather than kept waiting: a client that holds connections open must
// not keep others out.
const (
	maxConnections          = 1024
	maxConnectionsPerSource = 256
)

// LimitConnections bounds the open connections of a listener, in all and of one
// address.
func LimitConnections(listener net.Listener) net.Listener {
	return &limitedListener{Listener: listener, open: map[netip.Addr]int{}}
}

type limitedListener struct {
	net.Listener
	mu   sync.Mutex
	all  int
	open map[netip.Addr]int
}

// Accept returns the next connection within the bounds.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := addressOf(connection)
		if l.take(source) {
			return &limitedConnection{Conn: connection, done: sync.OnceFunc(func() { l.giveBack(source) })}, nil
		}
		_ = connection.Close()
	}
}

func (l *limitedListener) take(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxConnections || l.open[source] >= maxConnectionsPerSource {
		return false
	}
	l.all++
	l.open[source]++
	return true
}

func (l *limitedListener) giveBack(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.open[source]--; l.open[source] == 0 {
		delete(l.open, source)
	}
}

func addressOf(connection net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(connection.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

type limitedConnection struct {
	net.Conn
	done func()
}

// Close gives the place back once.
func (c *limitedConnection) Close() error {
	c.done()
	return c.Conn.Close()
}
