package signer

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/filelock"
)

// maxSocketPath leaves room below the 107 bytes of Linux for the folder in which
// the socket is made.
const maxSocketPath = 88

// Listen opens a Unix socket: a path, or a name in Linux' abstract namespace
// after "@", both of which --service-account-signing-endpoint accepts. A socket
// with a path gets mode 0600 before anybody can find it; one that a process left
// behind when it ended is replaced, anything else at the path is a Conflict.
// Closing the listener removes it, unless another one has been put there.
//
// A folder on the way that other users can change is Denied: anybody who puts a socket of
// their own in the place of ours signs tokens for the API server. An abstract name has
// neither mode nor folder: every process of root in the network namespace is answered,
// whatever container it is in, so callers take one only when they are told to.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	var config net.ListenConfig
	if strings.HasPrefix(path, "@") && len(path) > 1 && len(path) <= maxSocketPath {
		listener, err := config.Listen(ctx, "unix", path)
		return listener, listenFault(path, err)
	}
	if !filepath.IsAbs(path) || len(path) > maxSocketPath {
		return nil, fault.New(
			fault.Usage,
			"socket %q: want an absolute path, or @NAME, of at most %d bytes",
			path,
			maxSocketPath,
		)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "make the socket's folder: %w", err)
	}
	// Two that start together would both find the stale socket, and the second
	// would put its own in the place of the first one's, which nobody could find
	// then.
	lock, err := filelock.AcquireFolder(dir)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "lock the socket's folder: %w", err)
	}
	defer func() { _ = lock.Release() }()
	if err := ownFolder(dir); err != nil {
		return nil, err
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// Only we can enter this folder, so nobody connects before the mode is set.
	private, err := os.MkdirTemp(dir, ".s")
	if err != nil {
		return nil, listenFault(path, err)
	}
	defer func() { _ = os.RemoveAll(private) }()
	made := filepath.Join(private, "s")
	listener, err := config.Listen(ctx, "unix", made)
	if err != nil {
		return nil, listenFault(path, err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // it has been moved by then
	err = os.Chmod(made, 0o600)
	var info os.FileInfo
	if err == nil {
		info, err = os.Lstat(made)
	}
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(listenFault(path, err), listener.Close())
	}
	return &socket{Listener: listener, path: path, info: info}, nil
}

func listenFault(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return inUse(path)
	}
	return fault.New(fault.Unavailable, "listen on %s: %w", path, err)
}

func inUse(path string) error {
	return fault.New(fault.Conflict, "another process listens on %s", path).Hint("stop it, or choose another --socket")
}

// removeStale removes a socket on which no process listens, and nothing else.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fault.New(fault.Unavailable, "inspect the socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fault.New(fault.Conflict, "%s exists and is not a socket", path).
			Hint("choose another --socket, or remove it yourself")
	}
	dialer := net.Dialer{Timeout: time.Second}
	connection, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = connection.Close()
		return inUse(path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fault.New(fault.Unavailable, "check whether a process listens on %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fault.New(fault.Unavailable, "remove the socket of a process that has ended: %w", err)
	}
	return nil
}

// socket is a listener that knows where it was put.
type socket struct {
	net.Listener
	path string
	info os.FileInfo
}

// Addr names the path at which it is found.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close stops listening and removes the socket if it is still ours.
func (s *socket) Close() error {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
		_ = os.Remove(s.path)
	}
	return s.Listener.Close()
}
