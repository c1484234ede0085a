//go:build unix

package filelock_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/filelock"
)

// holdEnv names the file that this program locks and holds when it is run by
// TestLockEndsWithItsProcess.
const holdEnv = "FILELOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		if _, err := filelock.Acquire(path); err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString("held\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestTryRefusesWhatIsHeld(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	first := mustTry(t, path)
	if second, err := filelock.Try(path); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("locked twice: %v, %v", second, err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if err := mustTry(t, path).Release(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is not private: %v, %v", info, err)
	}
}

func TestAcquireWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, acquire := range map[string]func() (*filelock.Lock, error){
		"file":   func() (*filelock.Lock, error) { return filelock.Acquire(filepath.Join(dir, "x.lock")) },
		"folder": func() (*filelock.Lock, error) { return filelock.AcquireFolder(dir) },
	} {
		first, err := acquire()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := make(chan error)
		go func() {
			second, err := acquire()
			if err == nil {
				err = second.Release()
			}
			got <- err
		}()
		select {
		case err := <-got:
			t.Errorf("%s: not waited: %v", name, err)
			continue
		case <-time.After(50 * time.Millisecond):
		}
		if err := first.Release(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-got; err != nil {
			t.Errorf("%s: after the first let go: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("in the folder: %v, %v; want the lock of the file only", entries, err)
	}
}

func TestLockEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	holder := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test
	holder.Env = append(os.Environ(), holdEnv+"="+path)
	output, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if !bufio.NewScanner(output).Scan() {
		t.Fatal("the other process does not lock")
	}
	if _, err := filelock.Try(path); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("beside another process: %v", err)
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	if err := mustTry(t, path).Release(); err != nil {
		t.Error(err)
	}
}

func TestNoSuchPlace(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := filelock.AcquireFolder(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, err := filelock.Try(filepath.Join(missing, "x.lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file in a folder that is not there: %v", err)
	}
}

func mustTry(t *testing.T, path string) *filelock.Lock {
	t.Helper()
	lock, err := filelock.Try(path)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}
