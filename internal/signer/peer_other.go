//go:build !linux

package signer

import (
	"net"
	"os"
)

// checkPeer leaves it to the socket's mode: API servers run on Linux.
func checkPeer(net.Conn) error { return nil }

func ownerOf(os.FileInfo) (user int, known bool) { return 0, false }
