// Package nodenet gives a node the addresses that pods ask for credentials, and
// listens there.
//
// It makes no firewall rules, changes nothing of the pods' own networks and
// touches no link but its own and lo. Who is no pod of the node loses the connection
// after it was made.
package nodenet

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/rolecall/rolecall/internal/fault"
)

// LinkName is the protocol's; AWS's agent uses it too.
const LinkName = "pod-id-link0"

// Request says which addresses the node is to have.
type Request struct {
	Addresses []netip.Addr
	// RequireIPv6 makes an IPv6 address that cannot be added an error rather
	// than a warning.
	RequireIPv6 bool
	Log         *slog.Logger
}

// Setup is what was found or made.
type Setup struct {
	// LinkType is "dummy", "bridge", or "lo" when the kernel has neither.
	LinkType string
	// Missing are the IPv6 addresses that this node cannot have.
	Missing []netip.Addr

	made made
}

// Listen opens one TCP listener. With reuse another process may listen there at
// the same time, so that an old agent and a new one overlap without a gap: the one that
// was there first gets all connections until it hands over or ends.
func Listen(ctx context.Context, host netip.Addr, port int, reuse bool) (net.Listener, error) {
	return ListenAt(ctx, net.JoinHostPort(host.String(), strconv.Itoa(port)), reuse)
}

// ListenAt is Listen for HOST:PORT.
func ListenAt(ctx context.Context, address string, reuse bool) (net.Listener, error) {
	config := net.ListenConfig{}
	if reuse {
		config.Control = reusePort
		config.SetMultipathTCP(false) // its sockets cannot be handed over
	}
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Conflict, "listen on %s: %w", address, err).
			Hint(
				"another agent runs on this node, without --reuse-port in both, or something listens on that port of all " +
					"addresses (an ingress controller on the host's network?)",
			)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fault.New(fault.Unavailable, "listen on %s: %w", address, err).
			Hint("the node does not have the address: run `rolecall serve agent initialize` first, or leave --init on")
	case errors.Is(err, syscall.EACCES):
		return nil, fault.New(fault.Denied, "listen on %s: %w", address, err).Hint(
			"ports below 1024 need the capability NET_BIND_SERVICE",
		)
	case err != nil:
		return nil, fault.New(fault.Unavailable, "listen on %s: %w", address, err)
	}
	if !reuse {
		return listener, nil
	}
	sharing, err := share(listener)
	if err != nil {
		err = fault.New(fault.Unavailable, "share %s with another agent: %w", address, err)
		return nil, errors.Join(err, listener.Close())
	}
	return sharing, nil
}

// NoAddress reports whether a listener failed because the node does not have
// the address, or not its family.
func NoAddress(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}
