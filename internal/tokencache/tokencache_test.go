//go:build unix

package tokencache_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/filelock"
	"github.com/rolecall/rolecall/internal/tokencache"
)

// world is a cache with one entry in it, good for ten minutes.
type world struct {
	dir, file string
	now       time.Time
	cache     *tokencache.Cache
}

var alice = tokencache.Key{1}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: filepath.Join(t.TempDir(), "a", "cache"), now: time.Now()}
	w.cache = tokencache.New(w.dir, func() time.Time { return w.now })
	if err := w.cache.Put(alice, w.now.Add(10*time.Minute), "alice's"); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(w.dir, "*.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %v", found, err)
	}
	w.file = found[0]
	return w
}

func (w *world) get(t *testing.T) (string, error) {
	t.Helper()
	var value string
	found, err := w.cache.Get(alice, &value)
	if found != (value != "") || found && err != nil {
		t.Errorf("found %t %q %v", found, value, err)
	}
	return value, err
}

// TestKept: an entry is its owner's alone, and there until its time.
func TestKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, want := range map[string]os.FileMode{w.dir: 0o700, w.file: 0o600, filepath.Dir(w.dir): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	if got, err := w.get(t); got != "alice's" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	var value string
	if found, err := w.cache.Get(tokencache.Key{2}, &value); found || err != nil {
		t.Errorf("another's key: %q %v", value, err)
	}
	w.now = w.now.Add(10*time.Minute - time.Nanosecond)
	if got, _ := w.get(t); got == "" {
		t.Error("gone before its time")
	}
	w.now = w.now.Add(time.Nanosecond)
	if got, err := w.get(t); got != "" || err != nil {
		t.Errorf("there after its time: %v", err)
	}
	w.now = w.now.Add(-24 * time.Hour)
	if got, err := w.get(t); got != "" || err != nil {
		t.Errorf("of a time that is to come, after the clock was set: %v", err)
	}
}

// TestNotWorthKeeping: what ends within a minute, or later than any session, is not
// written.
func TestNotWorthKeeping(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for life, want := range map[time.Duration]bool{
		-time.Hour: false, 0: false, time.Minute: false, time.Minute + time.Second: true, 12 * time.Hour: true,
		13 * time.Hour: false,
	} {
		dir := t.TempDir()
		cache := tokencache.New(filepath.Join(dir, "cache"), func() time.Time { return now })
		if err := cache.Put(alice, now.Add(life), "x"); err != nil {
			t.Fatal(err)
		}
		found, _ := filepath.Glob(filepath.Join(dir, "cache", "*.json"))
		if (len(found) == 1) != want {
			t.Errorf("%s: %v", life, found)
		}
	}
}

// TestNotUsed: what others may have read or written is not used, and that is said without
// what it holds. A file is replaced; a folder is for the user to repair.
func TestNotUsed(t *testing.T) {
	t.Parallel()
	elsewhere := func(path string) error {
		return errors.Join(os.Rename(path, path+"-moved"), os.Symlink(path+"-moved", path))
	}
	edited := func(edit func(map[string]any)) func(*world) error {
		return func(w *world) error {
			text, err := os.ReadFile(w.file)
			if err != nil {
				return err
			}
			var held map[string]any
			if err := json.Unmarshal(text, &held); err != nil {
				return err
			}
			edit(held)
			if text, err = json.Marshal(held); err != nil {
				return err
			}
			return os.WriteFile(w.file, text, 0o600)
		}
	}
	for _, row := range []struct {
		name, says string
		harm       func(*world) error
		replaced   bool
	}{
		{"file that the group reads", "mode 0640", func(w *world) error { return os.Chmod(w.file, 0o640) }, true},
		{"file that all write", "mode 0602", func(w *world) error { return os.Chmod(w.file, 0o602) }, true},
		{"file that is a link", "is a link", func(w *world) error { return elsewhere(w.file) }, true},
		{"folder in place of a file", "no ordinary file", func(w *world) error {
			return errors.Join(os.Remove(w.file), os.Mkdir(w.file, 0o700))
		}, false},
		{"nothing in it", "not one of its entries", func(w *world) error { return os.Truncate(w.file, 0) }, true},
		{"half of it", "not one of its entries", func(w *world) error { return os.Truncate(w.file, 30) }, true},
		{"too large", "larger than any", func(w *world) error { return os.Truncate(w.file, 1<<20) }, true},
		{"another's entry", "not one of its entries", edited(func(e map[string]any) {
			e["key"] = strings.Repeat("0", 64)
		}), true},
		{"value of another kind", "not one of its entries", edited(func(e map[string]any) { e["value"] = 1 }), true},
		{"folder that others enter", "mode 0711", func(w *world) error { return os.Chmod(w.dir, 0o711) }, false},
		{"folder that is a link", "is a link", func(w *world) error { return elsewhere(w.dir) }, false},
		{"folder of another user", "another user", func(w *world) error { return os.Chown(w.dir, 65534, -1) }, false},
		{"file of another user", "another user", func(w *world) error { return os.Chown(w.file, 65534, -1) }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if err := row.harm(w); err != nil {
				if errors.Is(err, os.ErrPermission) {
					t.Skip("only root gives files away")
				}
				t.Fatal(err)
			}
			got, err := w.get(t)
			if got != "" || err == nil || !strings.Contains(err.Error(), row.says) ||
				strings.Contains(err.Error(), "alice's") {
				t.Errorf("%q %v", got, err)
			}
			if err := w.cache.Put(alice, w.now.Add(time.Hour), "new"); (err == nil) != row.replaced {
				t.Errorf("put: %v", err)
			}
			if got, err := w.get(t); (got == "new") != row.replaced {
				t.Errorf("afterwards: %q %v", got, err)
			}
		})
	}
}

// TestLocked: one lock, which is of no entry's file, and does not keep anybody from
// reading or writing.
func TestLocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lock, err := w.cache.TryLock(alice)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.cache.TryLock(alice); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("taken twice: %v", err)
	}
	if err := w.cache.Put(alice, w.now.Add(time.Hour), "new"); err != nil {
		t.Error(err)
	}
	if got, err := w.get(t); got != "new" {
		t.Errorf("%q %v", got, err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	if lock, err = w.cache.TryLock(alice); err != nil || lock.Release() != nil {
		t.Error(err)
	}
}

// TestSwept: entries that nobody asks for any more go, and nothing else does.
func TestSwept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.now.Add(-13 * time.Hour)
	other := filepath.Join(w.dir, "mine.txt")
	if err := errors.Join(os.WriteFile(other, nil, 0o600), os.Chtimes(other, old, old), os.Chtimes(w.file, old,
		old)); err != nil {
		t.Fatal(err)
	}
	if err := w.cache.Put(tokencache.Key{2}, w.now.Add(time.Hour), "new"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old entry is still there: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// FuzzEntry: whatever a file holds is an entry or an error, never a panic, and never an
// entry of another key.
func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"key":"` + strings.Repeat("0", 64) + `","until":"2026-01-01T00:00:00Z","value":"x"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, text []byte) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Minute)
		dir := filepath.Join(t.TempDir(), "cache")
		cache := tokencache.New(dir, func() time.Time { return now })
		name := filepath.Join(dir, "01"+strings.Repeat("0", 62)+".json")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(name, text, 0o600)); err != nil {
			t.Fatal(err)
		}
		var value string
		var held struct {
			Key string `json:"key"`
		}
		found, err := cache.Get(alice, &value)
		if found && (err != nil || json.Unmarshal(text, &held) != nil || held.Key != "01"+strings.Repeat("0", 62)) {
			t.Errorf("%q %v", value, err)
		}
	})
}
