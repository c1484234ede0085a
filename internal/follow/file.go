package follow

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxFile is the longest file that is read, in bytes.
const maxFile = 1 << 20

// File is the newest valid content of a file. The file is checked when the
// content is used and read when it has changed, at most 1 MiB; while it cannot
// be read or parsed, which is logged once, the old content stays. No caller
// waits while another reads the file.
type File[T any] struct {
	what, path string
	parse      func(text []byte) (T, error)
	log        *slog.Logger
	current    atomic.Pointer[T]
	looked     atomic.Pointer[stamp]
	reading    sync.Mutex
	failed     *stamp // the state that was logged as unreadable; guarded by reading
}

// stamp tells two states of a file apart without reading it; zero means no
// state.
type stamp struct {
	modified time.Time
	size     int64
}

// OpenFile reads a file for the first time, and returns the error if that fails.
// what names it in log lines: "signing key". The errors of parse must not quote
// secrets.
func OpenFile[T any](what, path string, parse func(text []byte) (T, error), log *slog.Logger) (*File[T], error) {
	f := &File[T]{what: what, path: path, parse: parse, log: log}
	at, err := stampOf(path)
	if err != nil {
		return nil, err
	}
	if err := f.load(at); err != nil {
		return nil, err
	}
	return f, nil
}

// Hold returns a File with fixed content, which follows no file.
func Hold[T any](content T) *File[T] {
	f := &File[T]{}
	f.current.Store(&content)
	return f
}

// Current returns the content.
func (f *File[T]) Current() T {
	if f.path == "" {
		return *f.current.Load()
	}
	if at, err := stampOf(f.path); at != *f.looked.Load() && f.reading.TryLock() {
		if err == nil {
			err = f.load(at)
		}
		switch {
		case err == nil:
			f.log.Info("file read again", "of", f.what, "file", f.path)
			f.failed = nil
		case f.failed == nil || *f.failed != at:
			f.log.Error("file not read again, its old content stays", "of", f.what, "file", f.path, "error", err)
			f.failed = &at
		}
		f.reading.Unlock()
	}
	return *f.current.Load()
}

// load reads the file. One that could not be read is tried again; one that was
// read but is not valid is not read again until it changes.
func (f *File[T]) load(at stamp) error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var text bytes.Buffer
	size, err := text.ReadFrom(io.LimitReader(file, maxFile+1))
	if err != nil {
		return err
	}
	f.looked.Store(&at)
	if size > maxFile {
		return errors.New("it is longer than 1 MiB")
	}
	content, err := f.parse(text.Bytes())
	if err != nil {
		return err
	}
	f.current.Store(&content)
	return nil
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size()}, nil
}
