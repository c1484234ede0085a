package httpserve

import (
	"net"
	"net/netip"
	"sync"
)

// LimitConnections bounds the open connections of a listener, in all and of one
// address. Connections above the bounds are closed at once rather than kept waiting: a
// client that holds connections open must not keep others out.
func LimitConnections(listener net.Listener, all, ofOne int) net.Listener {
	return limited(listener, all, ofOne, addressOf)
}

func limited(listener net.Listener, all, ofOne int, of func(net.Conn) netip.Addr) net.Listener {
	return &limitedListener{Listener: listener, of: of, maxAll: all, maxOfOne: ofOne, open: map[netip.Addr]int{}}
}

type limitedListener struct {
	net.Listener
	of               func(net.Conn) netip.Addr
	maxAll, maxOfOne int

	mu   sync.Mutex // guards the rest
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
		source := l.of(connection)
		if l.take(source) {
			return &limitedConnection{Conn: connection, done: sync.OnceFunc(func() { l.giveBack(source) })}, nil
		}
		_ = connection.Close()
	}
}

func (l *limitedListener) take(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.maxAll || l.open[source] >= l.maxOfOne {
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

// callerOf is a caller's address, of IPv6 the first of the network that one host has: its
// owner may call from each of it.
func callerOf(connection net.Conn) netip.Addr {
	address := addressOf(connection)
	if !address.Is6() {
		return address
	}
	network, _ := address.WithZone("").Prefix(64) // 64 is never too long
	return network.Addr()
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
