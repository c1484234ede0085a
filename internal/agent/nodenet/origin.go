package nodenet

import (
	"net"
	"net/netip"
	"time"
)

// Origins says from which links a listener's clients may come. The kernel takes
// packets for each of a node's addresses from all of its links: without this, every
// machine on the node's network that routes 169.254.170.23 through the node is
// answered like a pod.
type Origins struct {
	// Links are patterns of names of links, such as cni0 or eni*. If there are none,
	// the links say by what they are whether pods are behind them; see outside.
	Links []string
	// Refused is told of each connection that is closed: whose, by which link, and
	// why that is not a pod's.
	Refused func(client netip.Addr, link, why string)
	Now     func() time.Time
}

// Guard closes connections from elsewhere than this node and its pods. Only
// addresses that belong to no network are guarded, as the protocol's are: those
// of another kind were chosen by somebody who wants others to reach them.
func Guard(listener net.Listener, origins Origins) (net.Listener, error) {
	at := addressOf(listener.Addr())
	if !at.IsLinkLocalUnicast() && !protocol6.Contains(at) {
		return listener, nil
	}
	links, err := newLinks(origins.Links, origins.Now)
	if err != nil {
		return nil, err
	}
	return &guarded{listener, links, origins.Refused}, nil
}

// protocol6 is where AWS has the addresses of its services on instances.
var protocol6 = netip.MustParsePrefix("fd00:ec2::/64")

type guarded struct {
	net.Listener
	links   *links
	refused func(client netip.Addr, link, why string)
}

// Accept returns the next connection of this node or a pod of it.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		connection, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := addressOf(connection.RemoteAddr())
		link, why := g.links.foreign(client, addressOf(connection.LocalAddr()))
		if why == "" {
			return connection, nil
		}
		if reset, ok := connection.(*net.TCPConn); ok {
			_ = reset.SetLinger(0)
		}
		_ = connection.Close()
		g.refused(client, link, why)
	}
}

func addressOf(address net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}
