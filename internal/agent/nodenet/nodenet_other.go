//go:build !linux

package nodenet

import (
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

type made struct{}

// Prepare is for Linux only.
func Prepare(Request) (*Setup, error) { return nil, unsupported() }

// Remove has nothing to remove.
func (s *Setup) Remove() error { return nil }

// RemoveAll is for Linux only.
func RemoveAll([]netip.Addr) error { return unsupported() }

func unsupported() error {
	return fault.New(fault.Unavailable, "addresses of a node cannot be set on %s", runtime.GOOS).
		Hint("add --init=false, and bind to an address that exists with --bind-hosts 127.0.0.1")
}

func reusePort(_, _ string, _ syscall.RawConn) error { return nil }

func share(listener net.Listener) (net.Listener, error) { return listener, nil }

// HandOver does nothing: only Linux says who gets new connections.
func HandOver(net.Listener) error { return nil }

// Refuse does nothing, as HandOver.
func Refuse(net.Listener) error { return nil }

type links struct{}

func newLinks([]string, func() time.Time) (*links, error) { return &links{}, nil }

// foreign is nobody: only Linux is asked.
func (*links) foreign(netip.Addr, netip.Addr) (link, why string) { return "", "" }
