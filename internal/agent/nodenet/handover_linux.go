package nodenet

import (
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

func reusePort(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(err, set)
}

// The instructions of linux/filter.h that are needed here.
const (
	bpfReturn   = 0x06 // BPF_RET|BPF_K
	bpfLoadByte = 0x30 // BPF_LD|BPF_B|BPF_ABS
	bpfAnd      = 0x54 // BPF_ALU|BPF_AND|BPF_K
	bpfIfEqual  = 0x15 // BPF_JMP|BPF_JEQ|BPF_K
)

// Where the flags of a TCP header are, and those that begin a connection.
const (
	tcpFlags = 13
	tcpSYN   = 0x02
	tcpACK   = 0x10
)

// shared is a listener of one of several agents. The kernel keeps those of an address in
// an array, the first that came at its begin, and moves the last one into the place of
// one that closes; it has one program for all of them, which says who gets what begins a
// connection. The program names the first: who comes later gets nothing, whether it
// works or not, until the first hands over or is gone.
type shared struct {
	*net.TCPListener
	// serving is whether it has been the one that gets connections. The agent's own
	// probes make some.
	serving atomic.Bool
}

// share is for a listener that was opened with reuse.
func share(listener net.Listener) (net.Listener, error) {
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("%T cannot be shared", listener)
	}
	return &shared{TCPListener: tcp}, giveTo(tcp, 0)
}

// Accept is the listener's.
func (s *shared) Accept() (net.Conn, error) {
	connection, err := s.TCPListener.Accept()
	if err == nil {
		s.serving.Store(true)
	}
	return connection, err
}

// Close leaves a program that names who is first then: one that has handed over named the
// second, which is how the next that comes would begin.
func (s *shared) Close() error {
	_ = giveTo(s.TCPListener, 0) // it may be closed already
	return s.TCPListener.Close()
}

// giveTo makes the kernel give new connections to one of the listeners that share an
// address; if there is none of that index, to any.
func giveTo(listener *net.TCPListener, index uint32) error {
	return attach(listener, unix.SO_ATTACH_REUSEPORT_CBPF, []unix.SockFilter{{Code: bpfReturn, K: index}})
}

// HandOver makes the kernel give new connections to the second of two listeners
// that share an address, which is the one that came later; if there is none, to
// the same as before. It does nothing for a listener that never got any: another one
// does, and is not to lose them. A listener that is closed takes with it the connections
// that the kernel has made and nobody has accepted: hand over, go on accepting
// for a moment, Refuse, accept what is left, then close.
//
// With three or more, or if the later one ends, the second may itself be about to close,
// and no program can know: this only spares most clients the wait that Refuse costs.
//
// The listener must have been opened with reuse.
func HandOver(listener net.Listener) error {
	switch one, ok := listener.(*shared); {
	case !ok:
		return errors.New("the listener is not shared")
	case !one.serving.Load():
		return nil
	default:
		return giveTo(one.TCPListener, 1)
	}
}

// Refuse makes the kernel drop what begins a connection to this listener, and nothing
// else: a connection that is half made is finished, and one that is made goes on. So
// nothing more comes into the queue of a listener that is about to close, no matter which
// listener the program of all of them points at. The client's kernel asks again
// after a second, and is given to a listener that is there then.
func Refuse(listener net.Listener) error {
	return attach(listener, unix.SO_ATTACH_FILTER, []unix.SockFilter{
		{Code: bpfLoadByte, K: tcpFlags},
		{Code: bpfAnd, K: tcpSYN | tcpACK},
		{Code: bpfIfEqual, K: tcpSYN, Jf: 1},
		{Code: bpfReturn, K: 0},
		{Code: bpfReturn, K: math.MaxUint32},
	})
}

func attach(listener net.Listener, option int, program []unix.SockFilter) error {
	socket, ok := listener.(syscall.Conn)
	if !ok {
		return errors.New("no socket to attach a program to")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptSockFprog(
			int(fd), unix.SOL_SOCKET, option, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]},
		)
	})
	return errors.Join(err, set)
}
