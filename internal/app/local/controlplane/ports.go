package controlplane

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/rolecall/rolecall/internal/app/program"
)

// freePorts are addresses of the loopback that nobody listened at a moment ago.
func freePorts(ctx context.Context, count int) (found []string, err error) {
	var config net.ListenConfig
	for range count {
		listener, listenErr := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if listenErr != nil {
			return nil, listenErr
		}
		found = append(found, listener.Addr().String())
		// Held until all are chosen, so that they differ.
		defer func() { err = errors.Join(err, listener.Close()) }()
	}
	return found, nil
}

// isTaken reports whether a program could not have its port.
func isTaken(p *program.Process) bool {
	return strings.Contains(p.Output(), "address already in use")
}
