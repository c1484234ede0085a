package webhook

import (
	"context"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/internal/inject"
)

// ServiceAccounts finds service accounts. Lookup is only called once Synced.
type ServiceAccounts interface {
	// Lookup returns what an account's annotations say; nil if there is no such
	// account. It may read through to the API server if wait is true.
	Lookup(ctx context.Context, name inject.Name, wait bool) (*inject.Account, error)
	// Synced is closed when all accounts that exist are known.
	Synced() <-chan struct{}
}

// Source is something that changes while the webhook runs.
type Source[T any] interface {
	Current() T
	// Synced is closed when Current has been read for the first time.
	Synced() <-chan struct{}
}

// followed is the Source that followers fill.
type followed[T any] struct {
	current atomic.Pointer[T]
	synced  chan struct{}
	once    sync.Once
}

func newFollowed[T any](empty T) *followed[T] {
	f := &followed[T]{synced: make(chan struct{})}
	f.current.Store(&empty)
	return f
}

// Current returns the newest content.
func (f *followed[T]) Current() T { return *f.current.Load() }

// Synced is closed when Current has been read for the first time.
func (f *followed[T]) Synced() <-chan struct{} { return f.synced }

func (f *followed[T]) set(content T) { f.current.Store(&content) }

func (f *followed[T]) markSynced() { f.once.Do(func() { close(f.synced) }) }

// follow keeps a store like what the API server has until ctx is done. There is
// no resync: what has not changed costs nothing.
func follow(ctx context.Context, name string, source cache.ListerWatcher, kind runtime.Object, store cache.ReflectorStore) {
	cache.NewReflectorWithOptions(source, kind, store, cache.ReflectorOptions{Name: name}).RunWithContext(ctx)
}

// Static is a fixed set of service accounts, for planes without an API server.
type Static map[inject.Name]*inject.Account

// NewStatic reads annotations by NAMESPACE/NAME.
func NewStatic(accounts map[inject.Name]map[string]string, settings inject.Settings) Static {
	static := Static{}
	for name, annotations := range accounts {
		account := inject.ReadAccount(annotations, settings)
		static[name] = &account
	}
	return static
}

// Lookup finds an account.
func (s Static) Lookup(_ context.Context, name inject.Name, _ bool) (*inject.Account, error) {
	return s[name], nil
}

// Synced is always closed.
func (s Static) Synced() <-chan struct{} { return closed() }

// Fixed is a Source that does not change.
type Fixed[T any] struct{ Content T }

// Current returns the content.
func (f Fixed[T]) Current() T { return f.Content }

// Synced is always closed.
func (f Fixed[T]) Synced() <-chan struct{} { return closed() }

func closed() <-chan struct{} {
	channel := make(chan struct{})
	close(channel)
	return channel
}
