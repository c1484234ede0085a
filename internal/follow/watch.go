package follow

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/watchlist"
)

const (
	// Fresh is for how long what a watch brought is relied on after the API server was
	// last heard. Watches are opened again before that, so that one over which nothing
	// comes is heard as often as a busy one.
	Fresh = time.Minute
	// silence is after which a stream is opened again: nothing changed, or nothing
	// comes through any more.
	silence = 45 * time.Second
	// The API server must begin to answer within opening, and answer with a list, or the
	// first of one, within listing.
	opening = 10 * time.Second
	listing = 2 * time.Minute
	// askAgain is for how long an API server is not asked again that did not answer.
	askAgain = 10 * time.Second
)

// retry is how long an API server is not asked that cannot be watched: seven seconds at
// most. The library's own minute is meant for the watches of every node; these are of a few
// servers, for which what changes meanwhile does not count.
var retry = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 20, Cap: 5 * time.Second}

// Watch is the watch of one kind of object, and knows when the API server last
// confirmed what it brought: by a list, an event, a bookmark, or by letting the watch
// go on from where it was. What was heard longer ago than Fresh may be gone, and the
// watch does not know.
type Watch struct {
	name  string
	now   func() time.Time
	made  time.Time
	heard atomic.Pointer[time.Time]
	vain  atomic.Pointer[time.Time]
	// asked: a stream was asked for; open is the one that there is.
	asked atomic.Bool
	open  atomic.Pointer[stream]
}

// NewWatch prepares a watch; Run runs it. The name is for people: "service accounts".
func NewWatch(name string, now func() time.Time) *Watch {
	return &Watch{name: name, now: now, made: now()}
}

// Name is what is watched.
func (w *Watch) Name() string { return w.name }

// Hear says that the API server confirmed what is known. Run calls it.
func (w *Watch) Hear() {
	now := w.now()
	w.heard.Store(&now)
}

// Heard reports whether the API server was heard within a time.
func (w *Watch) Heard(within time.Duration) bool {
	heard := w.heard.Load()
	return heard != nil && w.now().Sub(*heard) <= within
}

// Down reports whether nothing can come because no stream is open, as while the API server
// is away and until it is asked again. A watch that does not run is not down: somebody else
// brings what comes.
func (w *Watch) Down() bool { return w.asked.Load() && w.open.Load() == nil }

// Age is for how long the API server was not heard.
func (w *Watch) Age() time.Duration {
	since := w.made
	if heard := w.heard.Load(); heard != nil {
		since = *heard
	}
	return max(0, w.now().Sub(since))
}

// Asked takes the outcome of asking the API server itself because the watch stands still.
func (w *Watch) Asked(err error) {
	if err == nil {
		w.vain.Store(nil)
		return
	}
	now := w.now()
	w.vain.Store(&now)
}

// Relied reports whether what the watch brought counts without asking the API server: it
// was heard within Fresh or, if it was asked in vain a moment ago, within the patience
// of those who can do without its answer.
func (w *Watch) Relied(patience time.Duration) bool {
	vain := w.vain.Load()
	return w.Heard(Fresh) || vain != nil && w.now().Sub(*vain) < askAgain && w.Heard(patience)
}

// Standstill says which watches stand still and for how long, for people; nothing if
// none does.
func Standstill(watches []*Watch) string {
	var still []string
	for _, w := range watches {
		if w.Age() > Fresh {
			still = append(still, fmt.Sprintf("the watch of %s stands still: nothing heard of the API server for %s",
				w.name, w.Age().Truncate(time.Second)))
		}
	}
	return strings.Join(still, "\n")
}

// Run keeps a store equal to what the API server has until ctx is done.
func (w *Watch) Run(ctx context.Context, source cache.ListerWatcher, kind runtime.Object, store cache.ReflectorStore) {
	cache.NewReflectorWithOptions(w.follow(source), kind, heardStore{store, w},
		cache.ReflectorOptions{Name: w.name, Backoff: new(retry)}).RunWithContext(ctx)
}

// Follow returns a source whose lists and streams end when nothing comes any more, and
// that has the watch hear what comes. It is for reflectors that others make.
func (w *Watch) Follow(source cache.ListerWatcher) cache.ListerWatcher {
	l := w.follow(source)
	l.direct = true
	return l
}

func (w *Watch) follow(source cache.ListerWatcher) *listerWatcher {
	return &listerWatcher{
		ListerWatcherWithContext: cache.ToListerWatcherWithContext(source),
		watch:                    w,
		plain:                    watchlist.DoesClientNotSupportWatchListSemantics(source),
	}
}

// listerWatcher is the source of a reflector.
type listerWatcher struct {
	cache.ListerWatcherWithContext
	watch  *Watch
	direct bool        // no store of ours hears what comes
	plain  bool        // lists come in pages, not as streams
	listed atomic.Bool // a list was read, and no stream opened since
}

// IsWatchListSemanticsUnSupported is what client-go asks for.
func (l *listerWatcher) IsWatchListSemanticsUnSupported() bool { return l.plain }

// List is for reflectors that have no context; none of ours.
func (l *listerWatcher) List(options metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.TODO(), options)
}

// Watch is for reflectors that have no context; none of ours.
func (l *listerWatcher) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.TODO(), options)
}

// ListWithContext reads one page.
func (l *listerWatcher) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, listing)
	defer cancel()
	l.listed.Store(true)
	list, err := l.ListerWatcherWithContext.ListWithContext(ctx, options)
	if err == nil && l.direct {
		l.watch.Hear()
	}
	return list, err
}

// WatchWithContext opens a stream.
func (l *listerWatcher) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	ctx, cancel := context.WithCancel(ctx)
	patience := silence
	begin := opening
	if options.SendInitialEvents != nil && *options.SendInitialEvents {
		begin, patience = listing, listing
	}
	late := time.AfterFunc(begin, cancel)
	l.watch.asked.Store(true)
	from, err := l.ListerWatcherWithContext.WatchWithContext(ctx, options)
	if !late.Stop() && err == nil {
		from.Stop()
		err = fmt.Errorf("the API server did not answer within %s", begin)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	if !l.listed.Swap(false) && patience == silence {
		l.watch.Hear() // it goes on from what is known
	}
	s := &stream{from: from, events: make(chan watch.Event), stopped: make(chan struct{}), cancel: cancel, of: l.watch}
	l.watch.open.Store(s)
	if l.direct {
		s.direct, s.initial = l.watch, patience != silence
	}
	go s.pass(patience)
	return s, nil
}

// stream passes events on, and ends when none comes.
type stream struct {
	from    watch.Interface
	events  chan watch.Event
	stopped chan struct{}
	ended   atomic.Bool
	cancel  context.CancelFunc
	of      *Watch
	direct  *Watch // hears what comes; nil if a store has it heard
	initial bool   // what comes is the first list, and not all of it yet
}

// ResultChan has the events.
func (s *stream) ResultChan() <-chan watch.Event { return s.events }

// Stop ends the stream. It may be called again.
func (s *stream) Stop() {
	if s.ended.CompareAndSwap(false, true) {
		close(s.stopped)
	}
}

func (s *stream) pass(patience time.Duration) {
	defer s.cancel()
	defer close(s.events)
	defer s.from.Stop()
	defer s.of.open.CompareAndSwap(s, nil)
	quiet := time.NewTimer(patience)
	defer quiet.Stop()
	for {
		select {
		case event, open := <-s.from.ResultChan():
			if !open {
				return
			}
			s.hear(event)
			select {
			case s.events <- event:
			case <-s.stopped:
				return
			}
			quiet.Reset(silence)
		case <-quiet.C:
			return
		case <-s.stopped:
			return
		}
	}
}

func (s *stream) hear(event watch.Event) {
	if s.direct == nil || event.Type == watch.Error {
		return
	}
	if s.initial && event.Type == watch.Bookmark {
		object, ok := event.Object.(metav1.ObjectMetaAccessor)
		s.initial = !ok || object.GetObjectMeta().GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true"
	}
	if !s.initial {
		s.direct.Hear()
	}
}

// heardStore has a watch hear what a store is given.
type heardStore struct {
	cache.ReflectorStore
	watch *Watch
}

// Add is an event of the watch.
func (s heardStore) Add(object any) error {
	s.watch.Hear()
	return s.ReflectorStore.Add(object)
}

// Update is an event of the watch.
func (s heardStore) Update(object any) error {
	s.watch.Hear()
	return s.ReflectorStore.Update(object)
}

// Delete is an event of the watch.
func (s heardStore) Delete(object any) error {
	s.watch.Hear()
	return s.ReflectorStore.Delete(object)
}

// Replace is a list. What is there before it is not confirmed until it is replaced.
func (s heardStore) Replace(objects []any, version string) error {
	if s.watch.heard.Load() == nil {
		s.watch.Hear() // those who wait for the first list may rely on it
		return s.ReflectorStore.Replace(objects, version)
	}
	defer s.watch.Hear()
	return s.ReflectorStore.Replace(objects, version)
}

// Bookmark says that nothing changed.
func (s heardStore) Bookmark(version string) error {
	s.watch.Hear()
	if store, ok := s.ReflectorStore.(cache.ReflectorBookmarkStore); ok {
		return store.Bookmark(version)
	}
	return nil
}

// Transformer is the store's own, if it has one.
func (s heardStore) Transformer() cache.TransformFunc {
	if store, ok := s.ReflectorStore.(cache.TransformingStore); ok {
		return store.Transformer()
	}
	return nil
}
