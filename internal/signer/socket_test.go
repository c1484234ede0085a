package signer_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/signer"
)

// TestListen: only a socket on which nobody listens is replaced.
func TestListen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "s")
	first, err := signer.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	if _, err := signer.Listen(t.Context(), path); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second one: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "run", "*")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}

	// As a killed process leaves it.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := signer.Listen(t.Context(), path)
	if err != nil {
		t.Fatalf("after a stale one: %v", err)
	}
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close()

	// Somebody else's socket, put there meanwhile, is not removed.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := signer.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket is gone: %v", err)
	}
	_ = other.Close()
}

// TestListenTogether: of several that start at the same instant over a stale
// socket, one gets the path, and the others are told.
func TestListenTogether(t *testing.T) {
	t.Parallel()
	const together = 8
	for range 50 {
		path := filepath.Join(t.TempDir(), "s")
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		if err := stale.Close(); err != nil {
			t.Fatal(err)
		}
		listeners := make(chan net.Listener, together)
		var begin, done sync.WaitGroup
		begin.Add(1)
		for range together {
			done.Go(func() {
				begin.Wait()
				listener, err := signer.Listen(t.Context(), path)
				switch {
				case err == nil:
					listeners <- listener
				case fault.KindOf(err) != fault.Conflict:
					t.Error(err)
				}
			})
		}
		begin.Done()
		done.Wait()
		close(listeners)
		if len(listeners) != 1 {
			t.Errorf("%d listen on one path", len(listeners))
		}
		for listener := range listeners {
			_ = listener.Close()
		}
	}
}

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fault.Kind{
		file: fault.Conflict, link: fault.Conflict, dir: fault.Conflict,
		"relative": fault.Usage, "": fault.Usage, "@": fault.Usage, "/" + strings.Repeat("s", 100): fault.Usage, "@" + strings.Repeat("s", 100): fault.Usage,
		filepath.Join(file, "s"): fault.Unavailable,
	} {
		if listener, err := signer.Listen(t.Context(), path); fault.KindOf(err) != want {
			t.Errorf("%q: %v, %v", path, listener, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q: %v", text, err)
	}
	name := "@rolecall-test-" + filepath.Base(filepath.Dir(dir))
	abstract, err := signer.Listen(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Listen(t.Context(), name); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second one on %s: %v", name, err)
	}
	_ = abstract.Close()
}
