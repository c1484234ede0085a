package signer

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkPeer refuses processes of users other than ours and root.
func checkPeer(connection net.Conn) error {
	socket, ok := connection.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("a connection of type %T is not a Unix socket", connection)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return fmt.Errorf("ask who connects: %w", err)
	}
	var peer *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) {
		peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return fmt.Errorf("ask who connects: %w", err)
	}
	if asked != nil {
		return fmt.Errorf("ask who connects: %w", asked)
	}
	return allowed(peer.Uid, os.Geteuid())
}

func allowed(peer uint32, own int) error {
	if peer != 0 && int(peer) != own {
		return fmt.Errorf("a process of user %d connected: only those of root and of user %d may", peer, own)
	}
	return nil
}

// ownerOf is the user that a file belongs to.
func ownerOf(info os.FileInfo) (user int, known bool) {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, false
	}
	return int(stat.Uid), true
}
