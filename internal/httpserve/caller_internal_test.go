package httpserve

import (
	"net"
	"net/netip"
	"testing"
)

type from struct {
	net.Conn
	remote netip.AddrPort
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(f.remote) }

func (f from) Close() error { return nil }

// comers accepts one connection of each address.
type comers struct {
	net.Listener
	left []string
}

func (c *comers) Accept() (net.Conn, error) {
	if len(c.left) == 0 {
		return nil, net.ErrClosed
	}
	one := c.left[0]
	c.left = c.left[1:]
	return from{remote: netip.AddrPortFrom(netip.MustParseAddr(one), 1000)}, nil
}

// TestOneHostIsOneCaller: a host has all addresses of a network /64 of IPv6, and is one
// caller by whichever of them it comes; addresses of IPv4 are hosts.
func TestOneHostIsOneCaller(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		addresses []string
		want      int
	}{
		{[]string{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:3", "2001:db8::4%eth0"}, 2},
		{[]string{"2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"}, 3},
		{[]string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, 3},
		{[]string{"::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1", "192.0.2.1"}, 3},
	} {
		listener := limited(&comers{left: row.addresses}, 100, 2, callerOf)
		got := 0
		for {
			if _, err := listener.Accept(); err != nil {
				break
			}
			got++
		}
		if got != row.want {
			t.Errorf("%q: %d are let in, want %d", row.addresses, got, row.want)
		}
	}
}
