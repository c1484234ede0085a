package cli

import (
	"io"
	"sync"

	"github.com/rolecall/rolecall/internal/fault"
)

// Written is a writer that keeps its first error: most of what is printed goes
// through functions whose errors nobody looks at, and what was not printed was not
// answered.
type Written struct {
	to  io.Writer
	mu  sync.Mutex
	err error
}

// NewWritten writes to a writer.
func NewWritten(to io.Writer) *Written { return &Written{to: to} }

// Write writes, and keeps the error if it is the first.
func (w *Written) Write(text []byte) (int, error) {
	n, err := w.to.Write(text)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil {
			w.err = err
		}
	}
	return n, err
}

// WriteError says that something could not be printed to w, a writer of NewWritten;
// nil if everything was.
func WriteError(w io.Writer) error {
	written, ok := w.(*Written)
	if !ok {
		return nil
	}
	written.mu.Lock()
	defer written.mu.Unlock()
	if written.err == nil {
		return nil
	}
	return fault.New(fault.Unavailable, "print to standard output: %w", written.err)
}

// Underlying is what a program that is started should have for w: the file itself.
func Underlying(w io.Writer) io.Writer {
	if written, ok := w.(*Written); ok {
		return written.to
	}
	return w
}
