package kubeconfig

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
)

// File is one kubeconfig file.
type File struct {
	Path string
	*Text
	// Found says that the file was there, with Mode.
	Found bool
	Mode  fs.FileMode
	// target is the file itself, if Path is a link to it.
	target string
	before []byte
}

// newMode is that of files made here: they may hold keys.
const newMode = 0o600

// maxSize is how large a kubeconfig may be, in bytes.
const maxSize = 8 << 20

// Open reads a file. One that is not there is an empty one.
func Open(path string) (*File, error) {
	file := &File{Path: path, target: path, Mode: newMode, Text: &Text{}}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		file.target = target
	} else if link, err := os.Readlink(path); err == nil { // to a file that is not there yet
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		file.target = link
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	if info.IsDir() {
		return nil, invalid("%s is a folder, not a kubeconfig", path)
	}
	if info.Size() > maxSize {
		return nil, invalid("%s has %d bytes, more than any kubeconfig", path, info.Size())
	}
	file.Found, file.Mode = true, info.Mode().Perm()
	if file.before, err = os.ReadFile(path); err != nil {
		return nil, unreadable(path, err)
	}
	if file.Text, err = Parse(path, file.before); err != nil {
		return nil, err
	}
	return file, nil
}

func unreadable(path string, err error) error {
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = cause.Err
	}
	return fault.New(fault.Unavailable, "read %s: %w", path, err)
}

// Before is the text that the file had when it was opened.
func (f *File) Before() []byte { return f.before }

// Changed reports whether the text is another now.
func (f *File) Changed() bool { return !bytes.Equal(f.before, f.Bytes()) }

// Save replaces the file. Its mode and owner stay.
func (f *File) Save() error {
	if err := os.MkdirAll(filepath.Dir(f.target), 0o700); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	owner := ownerOf(f.target)
	if err := atomicfile.Write(f.target, f.Bytes(), f.Mode); err != nil {
		return fault.New(fault.Unavailable, "write %s: %w", f.Path, err)
	}
	owner.give(f.target)
	return nil
}

// Lock keeps kubectl, and others of this program, from changing the file until release
// is called: it makes PATH.lock, as kubectl does. If there is one it is fault.Conflict:
// somebody else changes the file, or was killed while doing so. The folder is made if need
// be.
func Lock(path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err)
	}
	lock := path + ".lock"
	file, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, newMode)
	if errors.Is(err, fs.ErrExist) {
		return nil, fault.New(fault.Conflict, "somebody else changes %s: there is %s", path, lock).
			Hint("if no kubectl runs, one was killed: rm %s", fault.Quote(lock))
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "lock %s: %w", path, err)
	}
	_ = file.Close()
	return func() { _ = os.Remove(lock) }, nil
}

// Paths are the files that KUBECONFIG, or in its place a flag, means: absolute, without
// empty ones, a leading ~ being home; ~/.kube/config if there are none.
func Paths(flag, variable, home string) ([]string, error) {
	standard := filepath.Join(home, ".kube", "config")
	named := filepath.SplitList(variable)
	if flag != "" {
		named = []string{flag}
	}
	var paths []string
	for _, path := range named {
		if strings.TrimSpace(path) == "" {
			continue
		}
		if path == "~" || strings.HasPrefix(path, "~"+string(filepath.Separator)) {
			path = home + path[1:]
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, fault.New(fault.Usage, "%w", err)
		}
		paths = append(paths, absolute)
	}
	if len(paths) == 0 {
		if home == "" {
			return nil, fault.New(fault.Usage, "neither --kubeconfig, KUBECONFIG nor HOME is set").
				Hint("add --kubeconfig FILE")
		}
		paths = []string{standard}
	}
	return paths, nil
}

// Choose opens the first file that wanted says yes to, else the first of all. Files that
// cannot be read are passed over, which skipped is told, but not the first of all.
func Choose(paths []string, wanted func(*Text) bool, skipped func(error)) (*File, error) {
	for _, path := range paths {
		file, err := Open(path)
		if err != nil {
			skipped(err)
			continue
		}
		if wanted(file.Text) {
			return file, nil
		}
	}
	return Open(paths[0])
}
