package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"k8s.io/externaljwt/apis/v1"
	"k8s.io/externaljwt/apis/v1alpha1"
)

// Limits of the server. A call is small and answered in milliseconds.
const (
	maxMessage   = maxClaims + 1<<10
	maxHeaders   = 16 << 10
	maxCalls     = 256 // at once, of one connection
	connectTime  = 5 * time.Second
	drainTimeout = 10 * time.Second
)

// Serve answers on a listener of Listen until ctx is done, then lets calls that
// have begun finish, for at most ten seconds. It closes the listener in every
// case and returns nil after a drain.
func (s *Service) Serve(ctx context.Context, listener net.Listener) error {
	server := grpc.NewServer(
		grpc.StatsHandler(connections{s.config.Ring}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeaders), grpc.MaxConcurrentStreams(maxCalls),
		grpc.ConnectionTimeout(connectTime), grpc.WaitForHandlers(true))
	v1.RegisterExternalJWTSignerServer(server, s)
	v1alpha1.RegisterExternalJWTSignerServer(server, alpha{service: s})
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(trusted{listener, s.config.Log}) }()
	s.config.Log.Info("listening", "server", "signer", "address", listener.Addr().String())
	select {
	case err := <-failed:
		server.Stop()
		return fmt.Errorf("serve signer: %w", err)
	case <-ctx.Done():
	}
	drained := make(chan struct{})
	go func() { server.GracefulStop(); close(drained) }()
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
		s.config.Log.Warn("connections closed before they were done", "server", "signer")
		server.Stop()
		<-drained
	}
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve signer: %w", err)
	}
	return nil
}

// trusted accepts connections of this process's user and of root only. A
// socket's mode says the same where it has one; an abstract socket has none.
type trusted struct {
	net.Listener
	log *slog.Logger
}

// Accept closes the connections of others.
func (l trusted) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if err := checkPeer(connection); err != nil {
			l.log.Warn("connection refused", "server", "signer", "error", err)
			_ = connection.Close()
			continue
		}
		return connection, nil
	}
}
