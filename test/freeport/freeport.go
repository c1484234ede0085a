// Package freeport chooses ports for programs that tests start.
//
// It does not hold them: what is chosen here is free as long as nobody else asks for
// that very port.
package freeport

import (
	"context"
	"errors"
	"fmt"
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

// Find returns a free address of the loopback, as host:port. Test programs that run
// side by side begin at different ports.
func Find(ctx context.Context) (string, error) {
	var config net.ListenConfig
	for range count {
		port := first + (int64(os.Getpid())*61+given.Add(1))%count
		listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		return listener.Addr().String(), listener.Close()
	}
	return "", fmt.Errorf("none of the ports from %d to %d is free", first, first+count-1)
}

// Address is Find for a test.
func Address(t testing.TB) string {
	t.Helper()
	address, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}
