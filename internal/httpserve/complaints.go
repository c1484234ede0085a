package httpserve

import (
	"log"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Failed handshakes are logged up to this many times, and then only now and then:
// a port scan must not be able to fill the log.
const (
	firstHandshakes = 5
	handshakePause  = 10 * time.Second
	maxReason       = 300 // bytes; a client's certificate may put long names into it
)

// complaints receives what net/http logs. A handler that panicked is an error, a TLS
// handshake that failed a warning, since nothing else shows why a client cannot
// connect; the rest is for debugging.
type complaints struct {
	server    string
	log       *slog.Logger
	sometimes rate.Sometimes
	notLogged int
}

func newComplaints(server string, to *slog.Logger) *log.Logger {
	return log.New(&complaints{
		server:    server,
		log:       to,
		sometimes: rate.Sometimes{First: firstHandshakes, Interval: handshakePause},
	}, "", 0)
}

// Write is not called concurrently: the logger ensures that.
func (c *complaints) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if protocol, rest, _ := strings.Cut(text, ": panic serving "); protocol == "http" || protocol == "http2" {
		c.log.Error("handler panicked", "server", c.server, "text", rest)
		return len(line), nil
	}
	rest, handshake := strings.CutPrefix(text, "http: TLS handshake error from ")
	remote, reason, _ := strings.Cut(rest, ": ")
	if !handshake || saidNothing(reason) {
		c.log.Debug("HTTP server complains", "server", c.server, "text", text)
		return len(line), nil
	}
	c.notLogged++
	c.sometimes.Do(func() {
		c.log.Warn("TLS handshake failed",
			"server", c.server, "remote", remote, "reason", reason[:min(len(reason), maxReason)],
			"notLogged", c.notLogged-1)
		c.notLogged = 0
	})
	return len(line), nil
}

// saidNothing reports whether the client only checked that the port is open, as load
// balancers do.
func saidNothing(reason string) bool {
	return reason == "EOF" || strings.HasSuffix(reason, "connection reset by peer")
}
