// Package freeport chooses ports for programs that tests start.
//
// It does not hold them: what is chosen here is free as long as nobody else asks for
// that very port.
package freeport

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
)

// The ports are below those that Linux (from 32768) and others give to connections
// and to listeners without a port of their own: none of these takes one between the
// choice and the use, or while a program that is killed and started again is away.
const first, count = 20000, 12000

// given counts the ports that were looked at, so that none is given twice.
var given atomic.Int64

// Address is a free one of the loopback, as host:port. Test programs that run side
// by side begin at different ports.
func Address(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	for range count {
		port := first + (int64(os.Getpid())*61+given.Add(1))%count
		listener, err := config.Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		return listener.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}
