package follow_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/follow"
)

// TestFile: the newest content that parses is what is used, and what keeps the
// file from being read is said once.
func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write := func(text string, at int64) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	reads := 0
	parse := func(text []byte) (string, error) {
		reads++
		if strings.HasPrefix(string(text), "bad") {
			return "", errors.New("no good")
		}
		return string(text), nil
	}
	said := &strings.Builder{}
	log := slog.New(slog.NewTextHandler(said, nil))
	for _, missing := range []func(){
		func() {},
		func() { write("bad", 1) },
		func() { write(strings.Repeat("x", 1<<20+1), 1) },
	} {
		missing()
		if f, err := follow.OpenFile("thing", path, parse, log); err == nil || f != nil {
			t.Fatalf("opened: %v", f.Current())
		}
	}
	write("one", 10)
	f, err := follow.OpenFile("thing", path, parse, log)
	if err != nil {
		t.Fatal(err)
	}
	reads = 0
	for _, row := range []struct {
		change func()
		want   string
		reads  int
		says   string
	}{
		{func() {}, "one", 0, ""},
		{func() { write("two", 20) }, "two", 1, `"file read again" of=thing`},
		{func() { write("bad", 30) }, "two", 2, "no good"},
		{func() { write(strings.Repeat("x", 1<<20+1), 40) }, "two", 2, "longer than 1 MiB"},
		{func() { _ = os.Remove(path) }, "two", 2, "no such file"},
		{func() { _ = os.Symlink(t.TempDir(), path) }, "two", 2, "is a directory"},
		{func() { _ = os.Remove(path); write("three", 20) }, "three", 3, `"file read again" of=thing`},
	} {
		said.Reset()
		row.change()
		for range 3 {
			if got := f.Current(); got != row.want {
				t.Errorf("%s: %s", row.want, got)
			}
		}
		if reads != row.reads {
			t.Errorf("%s: read %d times", row.want, reads)
		}
		if strings.Count(said.String(), "\n") > 1 || !strings.Contains(said.String(), row.says) ||
			row.says == "" && said.Len() > 0 {
			t.Errorf("%s: says %s", row.want, said)
		}
	}
	if held := follow.Hold("held").Current(); held != "held" {
		t.Errorf("held: %s", held)
	}
}

// TestFileTriedAgain: a file that could not be read is tried again though nothing
// about it changed, and read once it can be; one that was read and is invalid is not.
func TestFileTriedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, unreadable := filepath.Join(dir, "f"), filepath.Join(dir, "d")
	if err := os.Mkdir(unreadable, 0o700); err != nil {
		t.Fatal(err)
	}
	// A folder opens, and does not read. What takes its place has its size and time.
	info, err := os.Stat(unreadable)
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string, at time.Time) {
		t.Helper()
		if err := errors.Join(
			os.WriteFile(path+".new", []byte(text), 0o600),
			os.Chtimes(path+".new", at, at),
			os.Rename(path+".new", path),
		); err != nil {
			t.Fatal(err)
		}
	}
	put("old", time.Unix(10, 0))
	said := &strings.Builder{}
	parsed := 0
	f, err := follow.OpenFile("thing", path, func(text []byte) (string, error) {
		parsed++
		if strings.HasPrefix(string(text), "bad") {
			return "", errors.New("no good")
		}
		return string(text), nil
	}, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.Symlink(unreadable, path)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := f.Current(); got != "old" || parsed != 1 {
			t.Errorf("while it cannot be read: %s, parsed %d times", got, parsed)
		}
	}
	if strings.Count(said.String(), "not read again") != 1 {
		t.Errorf("says %s", said)
	}
	if os.Remove(path) != nil {
		t.Fatal("it stays")
	}
	good := strings.Repeat("g", int(info.Size()))
	put(good, info.ModTime())
	if got := f.Current(); got != good || parsed != 2 {
		t.Errorf("once it can be read: %d bytes, parsed %d times", len(got), parsed)
	}
	put("bad", time.Unix(20, 0))
	for range 3 {
		if got := f.Current(); got != good || parsed != 3 {
			t.Errorf("with invalid content: %d bytes, parsed %d times", len(got), parsed)
		}
	}
}

// TestFileReadByMany: while one reads, others go on with what there is, and in
// the end all have the newest.
func TestFileReadByMany(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write := func(text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Error(err)
		}
	}
	write("x")
	f, err := follow.OpenFile(
		"thing", path, func(text []byte) (string, error) { return string(text), nil }, slog.New(slog.DiscardHandler),
	)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				if got := f.Current(); strings.Trim(got, "x") != "" || got == "" {
					t.Errorf("content %q", got)
				}
			}
		})
	}
	for i := range 50 {
		write(strings.Repeat("x", i+2))
	}
	all.Wait()
	if got := f.Current(); len(got) != 51 {
		t.Errorf("in the end: %d", len(got))
	}
}
