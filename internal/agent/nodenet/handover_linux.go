package nodenet

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// bpfReturn is BPF_RET|BPF_K of linux/filter.h.
const bpfReturn = 0x06

// HandOver makes the kernel give new connections to the second of two listeners
// that share an address, which is the one that came later; if there is none, to
// the same as before. A listener that is closed takes with it the connections
// that the kernel has made and nobody has accepted: hand over, go on accepting
// for a moment, then close.
//
// The listener must have been opened with reuse.
func HandOver(listener net.Listener) error {
	socket, ok := listener.(syscall.Conn)
	if !ok {
		return errors.New("no socket to hand over")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	program := []unix.SockFilter{{Code: bpfReturn, K: 1}}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(
			int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &program[0]},
		)
	})
	return errors.Join(err, set)
}
