//go:build !linux

package signer

import "net"

// checkPeer leaves it to the socket's mode: API servers run on Linux.
func checkPeer(net.Conn) error { return nil }
