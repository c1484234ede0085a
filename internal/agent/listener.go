package agent

import (
	"net"

	"github.com/rolecall/rolecall/internal/httpserve"
)

// Bounds of open connections of one listener, in all and of one address.
const (
	maxConnections          = 1024
	maxConnectionsPerSource = 256
)

// LimitConnections bounds the open connections of a listener, in all and of one
// address.
func LimitConnections(listener net.Listener) net.Listener {
	return httpserve.LimitConnections(listener, maxConnections, maxConnectionsPerSource)
}
