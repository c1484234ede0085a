// Package lockedbuffer keeps what a server writes while a test reads it.
//
// It does not wait for anything to be written.
package lockedbuffer

import (
	"bytes"
	"sync"
)

// Buffer may be written to and read at once. The zero value is ready.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends; it returns no error.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
