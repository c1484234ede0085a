package nodenet_test

import (
	"errors"
	"net"
	"os"
	"sync"
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
	if got := takers(t, listeners, 1); got[0] != 1 {
		t.Fatalf("connections went to %v", got)
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

// TestLaterWaits: of agents that come and go, the one that was there first gets every
// connection until it hands over, and then the next; one that comes later and leaves again
// takes none with it, in the first generation and in those after a hand-over.
func TestLaterWaits(t *testing.T) {
	const connections = 64
	open := func(address string) net.Listener {
		t.Helper()
		listener, err := nodenet.ListenAt(t.Context(), address, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		return listener
	}
	current := open("127.0.0.1:0")
	at := current.Addr().String()
	for generation := range 3 {
		expect := func(when string, want int, listeners ...net.Listener) {
			t.Helper()
			if got := takers(t, listeners, connections); got[want] != connections {
				t.Errorf("generation %d, %s: of %d the listeners got %v", generation, when, connections, got)
			}
		}
		expect("alone", 0, current)
		broken := open(at)
		expect("beside a broken one", 0, current, broken)
		if err := nodenet.HandOver(broken); err != nil {
			t.Error(err)
		}
		expect("while that leaves", 0, current, broken)
		if err := broken.Close(); err != nil {
			t.Error(err)
		}
		next := open(at)
		expect("beside the next", 0, current, next)
		if err := nodenet.HandOver(current); err != nil {
			t.Error(err)
		}
		expect("handed over", 1, current, next)
		if err := nodenet.Refuse(current); err != nil {
			t.Error(err)
		}
		expect("refused", 1, current, next)
		if err := current.Close(); err != nil {
			t.Error(err)
		}
		current = next
	}
}

// takers makes connections, and counts those that each listener got.
func takers(t *testing.T, listeners []net.Listener, connections int) []int {
	t.Helper()
	took := make(chan int)
	dialer := net.Dialer{Timeout: time.Minute}
	var all sync.WaitGroup
	for i, listener := range listeners {
		all.Go(func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				conn.Close()
				took <- i
			}
		})
	}
	got := make([]int, len(listeners))
	for range connections {
		client, err := dialer.DialContext(t.Context(), "tcp", listeners[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		select {
		case i := <-took:
			got[i]++
		case <-time.After(time.Minute):
			t.Fatal("a connection is lost")
		}
		client.Close()
	}
	until := func(end time.Time) {
		for _, listener := range listeners {
			if err := listener.(interface{ SetDeadline(end time.Time) error }).SetDeadline(end); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(time.Unix(1, 0)) // long ago: who waits is told
	all.Wait()
	until(time.Time{})
	return got
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
