package nodenet_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolecall/rolecall/internal/agent/nodenet"
)

// TestTwoLeaveAtOnce: of three listeners two hand over and close while clients connect. The
// program of all points at the second, which closes too; no connection is lost with it.
func TestTwoLeaveAtOnce(t *testing.T) {
	first, err := nodenet.ListenAt(t.Context(), "127.0.0.1:0", true)
	if err != nil {
		t.Fatal(err)
	}
	listeners := []net.Listener{first}
	for range 2 {
		next, err := nodenet.ListenAt(t.Context(), first.Addr().String(), true)
		if err != nil {
			t.Fatal(err)
		}
		defer next.Close()
		listeners = append(listeners, next)
	}
	for _, step := range []func(net.Listener) error{nodenet.HandOver, nodenet.Refuse} {
		for _, leaving := range listeners[:2] {
			if err := step(leaving); err != nil {
				t.Fatal(err)
			}
		}
	}
	const clients = 8
	var dialed []*os.File
	for range clients {
		dialed = append(dialed, connect(t, first.Addr().(*net.TCPAddr).Port))
	}
	for _, leaving := range listeners[:2] {
		if err := leaving.Close(); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			conn, err := listeners[2].Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("x"))
			conn.Close()
		}
	}()
	for i, client := range dialed {
		if err := client.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
}

// connect begins a connection, and does not wait for it.
func connect(t *testing.T, port int) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "client")
	t.Cleanup(func() { file.Close() })
	return file
}
