// Package follow keeps what a server needs of a cluster in memory and up to date:
// snapshots that are replaced as a whole, so that a request never sees half of
// one, and without resync, so that what has not changed costs nothing.
//
// It does not decide anything about what it follows, and writes nothing.
package follow

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Source is something that changes while a server runs.
type Source[T any] interface {
	Current() T
	// Synced is closed when Current has been read for the first time.
	Synced() <-chan struct{}
}

// Value is a Source whose content is set by its owner.
type Value[T any] struct {
	current atomic.Pointer[T]
	synced  chan struct{}
	once    sync.Once
}

// NewValue returns a value that is empty until it is set.
func NewValue[T any](empty T) *Value[T] {
	v := &Value[T]{synced: make(chan struct{})}
	v.current.Store(&empty)
	return v
}

// Current returns the newest content.
func (v *Value[T]) Current() T { return *v.current.Load() }

// Synced is closed when Current has been read for the first time.
func (v *Value[T]) Synced() <-chan struct{} { return v.synced }

// Set replaces the content.
func (v *Value[T]) Set(content T) { v.current.Store(&content) }

// MarkSynced says that what has been set is everything. It may be called again.
func (v *Value[T]) MarkSynced() { v.once.Do(func() { close(v.synced) }) }

// Fixed is a Source that does not change.
type Fixed[T any] struct{ Content T }

// Current returns the content.
func (f Fixed[T]) Current() T { return f.Content }

// Synced is always closed.
func (f Fixed[T]) Synced() <-chan struct{} { return Closed() }

// Closed returns a channel that is closed, for what is always synced.
func Closed() <-chan struct{} {
	channel := make(chan struct{})
	close(channel)
	return channel
}

// behind is a source that may be behind the cluster.
type behind[S any] interface {
	Watched() *Watch
	// ReadShared reads the objects of one namespace, of all if it is empty, once for all who ask meanwhile.
	ReadShared(ctx context.Context, namespace string) (S, error)
}

// Sure returns what a source has if the API server confirmed it within Fresh, and
// otherwise what the API server has: at least the objects of a namespace, or all if it is
// empty. If it cannot be asked, what it confirmed within the patience counts. Sources
// that are never behind are as they are.
func Sure[S any](ctx context.Context, source Source[S], patience time.Duration, namespace string) (S, error) {
	followed, ok := source.(behind[S])
	if !ok {
		return source.Current(), nil
	}
	w := followed.Watched()
	if w.Relied(patience) {
		return source.Current(), nil
	}
	read, err := followed.ReadShared(ctx, namespace)
	if w.Asked(err); err != nil && w.Heard(patience) {
		return source.Current(), nil
	}
	return read, err
}
