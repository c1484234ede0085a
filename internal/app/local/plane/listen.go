package plane

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/rolecall/rolecall/internal/httpserve"
)

// place is where one server listens, before there is a server.
type place struct {
	listener net.Listener
	address  netip.AddrPort
	served   bool
}

// places are where all of a plane's servers listen.
type places struct{ issuer, webhook, aws, agent place }

func listenAll(ctx context.Context, aws string) (*places, error) {
	at := &places{}
	for _, one := range []struct {
		place   *place
		address string
	}{{&at.issuer, loopback + ":0"}, {&at.webhook, loopback + ":0"}, {&at.agent, loopback + ":0"}, {&at.aws, aws}} {
		listener, err := httpserve.Listen(ctx, one.address, false, "")
		if err != nil {
			at.closeUnserved()
			return nil, err
		}
		one.place.listener = listener
		bound, ok := listener.Addr().(*net.TCPAddr)
		if !ok {
			at.closeUnserved()
			return nil, errors.New("listen on " + one.address + ": no TCP address")
		}
		one.place.address = bound.AddrPort()
	}
	return at, nil
}

// closeUnserved leaves no listener behind that no server will close.
func (at *places) closeUnserved() {
	for _, one := range []*place{&at.issuer, &at.webhook, &at.aws, &at.agent} {
		if one.listener != nil && !one.served {
			_ = one.listener.Close()
		}
	}
}

// serve serves in the background.
func (p *Plane) serve(ctx context.Context, at *place, server *httpserve.Server) {
	at.served = true
	p.servers.Go(func() error { return server.Serve(ctx, at.listener) })
}
