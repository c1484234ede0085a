// Package pipes is a listener without a network, for servers on a clock that a test
// moves.
//
// It does not buffer: who writes waits until the other end reads.
package pipes

import "net"

// Listener gives a server the connections that a test opens.
type Listener struct {
	connections chan net.Conn
	closed      chan struct{}
}

// NewListener has no connections yet.
func NewListener() *Listener { return &Listener{make(chan net.Conn), make(chan struct{})} }

// Connect returns the client's end of a connection that the server has accepted.
func (l *Listener) Connect() net.Conn {
	client, server := net.Pipe()
	l.connections <- server
	return client
}

// Accept returns the server's end of the next connection, net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case connection := <-l.connections:
		return connection, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. It is called once.
func (l *Listener) Close() error {
	close(l.closed)
	return nil
}

// Addr is no address: there is none.
func (l *Listener) Addr() net.Addr { return &net.TCPAddr{} }
