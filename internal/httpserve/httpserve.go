// Package httpserve is the one way in which this product runs an HTTP server: bounded
// times and header sizes, TLS that follows its files, log lines for handshakes that
// fail and handlers that panic, a drain when it stops.
//
// It does not route or log requests, and does not know what it serves.
package httpserve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

// Limits of every server. A handler that needs longer sets its own deadline
// with http.ResponseController.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 15 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	drainTimeout   = 10 * time.Second

	readByAnybody = 10 * time.Second
)

// Server is one HTTP server. Handler is required.
type Server struct {
	// Name is used in log lines: "webhook", "aws".
	Name    string
	Handler http.Handler
	// TLS makes it an HTTPS server. It must provide certificates.
	TLS *tls.Config
	Log *slog.Logger
	// Limits are tighter or wider bounds than those of every server; those that
	// are zero stay.
	Limits Limits
}

// Limits bound how long clients may take, how long Serve waits for them at the
// end, and how large the headers of a request may be, with its first line: a client
// that sends more is answered with status 431, and the connection closed. Read is for a
// request with its body. Connections, and those of one address, or one network /64 of
// IPv6, are bounded only if both are said: what is above is closed at once.
type Limits struct {
	Header, Read, Idle, Drain           time.Duration
	HeaderBytes                         int
	Connections, ConnectionsOfOneCaller int
}

// CalledByAPIServers are the limits of servers that API servers call. API servers
// open more connections than they use at once and keep them for 90 seconds, even
// if they have never sent a request on them. A server that closes one earlier, as
// it would after the time limit for headers, loses the request that is being sent
// on it: API servers do not send it again, and apply the webhook's failurePolicy.
//
// All API servers may seem to call from one address, that of a proxy. Who else reaches
// the port must not hold so many connections for so long that none is left.
func CalledByAPIServers() Limits {
	return Limits{
		Header: idleTimeout, Read: idleTimeout + readTimeout, Connections: 4096, ConnectionsOfOneCaller: 1024,
	}
}

// ReadByAnybody are the limits of servers of small public documents: a reader needs one
// connection for as long as that takes.
func ReadByAnybody() Limits {
	return Limits{
		Read: readByAnybody, Idle: readByAnybody, HeaderBytes: 16 << 10, Connections: 1024, ConnectionsOfOneCaller: 256,
	}
}

// Serve answers requests on the listener until ctx is done, then drains for at
// most ten seconds, or Limits.Drain. It closes the listener in every case and returns nil after
// a drain, however it ended.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	handler := s.Handler
	if s.Limits.HeaderBytes > 0 { // otherwise the default, which need not be exact
		handler = boundHeaders(s.Limits.HeaderBytes, handler)
	}
	if s.Limits.Connections > 0 {
		listener = limited(listener, s.Limits.Connections, s.Limits.ConnectionsOfOneCaller, callerOf)
	}
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         s.TLS.Clone(), // net/http writes into it
		ReadHeaderTimeout: cmp.Or(s.Limits.Header, headerTimeout),
		ReadTimeout:       cmp.Or(s.Limits.Read, readTimeout),
		WriteTimeout:      writeTimeout,
		IdleTimeout:       cmp.Or(s.Limits.Idle, idleTimeout),
		MaxHeaderBytes:    cmp.Or(s.Limits.HeaderBytes, maxHeaderBytes),
		ErrorLog:          newComplaints(s.Name, s.Log),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() {
		if s.TLS != nil {
			failed <- server.ServeTLS(listener, "", "")
		} else {
			failed <- server.Serve(listener)
		}
	}()
	s.Log.Info("listening", "server", s.Name, "address", listener.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", s.Name, err)
	case <-ctx.Done():
	}
	// The drain must outlive the context whose end started it.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(s.Limits.Drain, drainTimeout))
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		s.Log.Warn("connections closed before they were done", "server", s.Name, "error", err)
		_ = server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.Name, err)
	}
	return nil
}

// boundHeaders holds HTTP/1 to the limit: net/http reads up to 4 KiB more than it
// was told; of HTTP/2 it does not.
func boundHeaders(limit int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && headerSize(r) > limit {
			w.Header().Set("Connection", "close")
			http.Error(
				w, http.StatusText(http.StatusRequestHeaderFieldsTooLarge), http.StatusRequestHeaderFieldsTooLarge,
			)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// headerSize is the size of the first line and the headers on the wire.
func headerSize(r *http.Request) int {
	size := len(r.Method) + len(r.RequestURI) + len(r.Proto) + len("  \r\n") + len("Host: \r\n") + len(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return size
}

// Listen opens a TCP listener. Anything but a loopback address is refused
// unless public is true; publicFlag names the flag for that, if there is one. A port in use is
// a Conflict with a hint.
func Listen(ctx context.Context, address string, public bool, publicFlag string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fault.New(fault.Usage, "listen on %q: want HOST:PORT", address).
			Hint("for example 127.0.0.1:4566, or 127.0.0.1:0 for any free port")
	}
	if !public && !isLoopback(host) {
		refused := fault.New(fault.Usage, "refuse to listen on %s: not a loopback address", address)
		if publicFlag == "" {
			return nil, refused.Hint("use 127.0.0.1:%s", port)
		}
		return nil, refused.Hint(
			"use 127.0.0.1:%s, or add %s if others on the network are meant to reach it", port, publicFlag,
		)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Conflict, "port %s of %s is in use", port, host).
			Hint("stop what listens there, or choose another port; port 0 picks a free one")
	case err != nil:
		return nil, fault.New(fault.Unavailable, "listen on %s: %w", address, err)
	}
	return listener, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
