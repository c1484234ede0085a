package follow_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/rolecall/rolecall/internal/follow"
)

// What client-go reports errors to also sleeps until a millisecond after the last of the
// process, which in a bubble of another time is for years.
func init() { utilruntime.ErrorHandlers = utilruntime.ErrorHandlers[:1] }

// faulty is an API server without objects, which fails in ways that are asked for.
type faulty struct {
	refuses atomic.Bool // lists and streams are not opened
	hangs   atomic.Bool // nothing is answered
	opened  atomic.Int32
	stream  atomic.Pointer[watch.RaceFreeFakeWatcher]
}

func (f *faulty) fail(ctx context.Context) error {
	if f.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.refuses.Load() {
		return errors.New("forbidden")
	}
	return nil
}

func (f *faulty) source() cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			if err := f.fail(ctx); err != nil {
				return nil, err
			}
			return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
		},
		WatchFuncWithContext: func(ctx context.Context, _ metav1.ListOptions) (watch.Interface, error) {
			if err := f.fail(ctx); err != nil {
				return nil, err
			}
			f.opened.Add(1)
			stream := watch.NewRaceFreeFake()
			f.stream.Store(stream)
			return stream, nil
		},
	}, plainLists{})
}

// plainLists says that lists are not streams.
type plainLists struct{}

// IsWatchListSemanticsUnSupported is what client-go asks for.
func (plainLists) IsWatchListSemanticsUnSupported() bool { return true }

// running runs a watch until the test's bubble ends, and returns once it was heard.
func running(t *testing.T, f *faulty) (*follow.Watch, cache.Store) {
	t.Helper()
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	return runningBy(t, func(ctx context.Context, w *follow.Watch) {
		w.Run(ctx, f.source(), &corev1.Pod{}, store)
	}), store
}

// others runs a reflector that is not ours.
func others(f *faulty) func(context.Context, *follow.Watch) {
	return func(ctx context.Context, w *follow.Watch) {
		cache.NewReflector(w.Follow(f.source()), &corev1.Pod{}, cache.NewStore(cache.MetaNamespaceKeyFunc), 0).
			RunWithContext(ctx)
	}
}

func runningBy(t *testing.T, run func(context.Context, *follow.Watch)) *follow.Watch {
	t.Helper()
	w := follow.NewWatch("pods", time.Now)
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
	done := make(chan struct{})
	go func() { defer close(done); run(ctx, w) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	if !w.Heard(0) {
		t.Fatal("not heard after the first list")
	}
	return w
}

// TestOthersWatch: the same holds of reflectors that are not ours.
func TestOthersWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f faulty
		w := runningBy(t, others(&f))
		for range 600 {
			time.Sleep(time.Second)
			synctest.Wait()
			if !w.Heard(follow.Fresh) {
				t.Fatalf("not heard for %s", w.Age())
			}
		}
		time.Sleep(7 * time.Second)
		f.stream.Load().Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "3"}})
		synctest.Wait()
		if !w.Heard(0) {
			t.Error("an event is not heard")
		}
		f.refuses.Store(true)
		time.Sleep(time.Hour)
		if w.Heard(follow.Fresh) {
			t.Error("heard although nothing is answered")
		}
	})
}

// TestQuietWatch: where nothing ever changes, the API server is heard all the same.
func TestQuietWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f faulty
		w, _ := running(t, &f)
		for range 3600 {
			time.Sleep(time.Second)
			synctest.Wait()
			if !w.Heard(follow.Fresh) || follow.Standstill([]*follow.Watch{w}) != "" {
				t.Fatalf("not heard for %s", w.Age())
			}
		}
		if opened := f.opened.Load(); opened != 81 {
			t.Errorf("opened %d times in an hour, want one each 45 s, and one before", opened)
		}
	})
}

// TestBusyWatch: a stream over which something comes stays.
func TestBusyWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f faulty
		w, store := running(t, &f)
		for range 100 {
			time.Sleep(44 * time.Second)
			f.stream.Load().Action(watch.Bookmark, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "2"}})
			synctest.Wait()
			if !w.Heard(0) {
				t.Fatal("a bookmark is not heard")
			}
		}
		f.stream.Load().Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "3"}})
		synctest.Wait()
		if f.opened.Load() != 1 || len(store.List()) != 1 {
			t.Errorf("opened %d times, %d objects", f.opened.Load(), len(store.List()))
		}
	})
}

// TestStandstill: whatever is in the way, the watch knows that it stands still, says so,
// and goes on when nothing is in the way any more.
func TestStandstill(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*faulty) *atomic.Bool{
		"permission was taken away": func(f *faulty) *atomic.Bool { return &f.refuses },
		"nothing is answered":       func(f *faulty) *atomic.Bool { return &f.hangs },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var f faulty
				w, _ := running(t, &f)
				fault(&f).Store(true)
				time.Sleep(follow.Fresh)
				if !w.Heard(follow.Fresh) {
					t.Error("stands still before it may")
				}
				time.Sleep(23 * time.Hour)
				want := "the watch of pods stands still: nothing heard of the API server for 23h1m0s"
				if got := follow.Standstill([]*follow.Watch{w}); w.Heard(follow.Fresh) || got != want {
					t.Errorf("heard %t, says %q, want %q", w.Heard(follow.Fresh), got, want)
				}
				fault(&f).Store(false)
				time.Sleep(3 * time.Minute) // the list that hangs is given up, and reflectors wait between lists
				synctest.Wait()
				if !w.Heard(follow.Fresh) || follow.Standstill([]*follow.Watch{w}) != "" {
					t.Errorf("not heard for %s after it could be", w.Age())
				}
			})
		})
	}
}

// behind is a source whose watch may stand still.
type behind struct {
	*follow.Value[string]
	watch *follow.Watch
	reads int
	err   error
}

// Watched is how it is followed.
func (b *behind) Watched() *follow.Watch { return b.watch }

// ReadShared reads.
func (b *behind) ReadShared(context.Context, string) (string, error) {
	b.reads++
	return "read", b.err
}

// TestSure: what is followed counts while it is fresh; then the API server is asked, and
// where it does not answer nothing counts, but for those who are patient, who do not
// wait for it each time either.
func TestSure(t *testing.T) {
	t.Parallel()
	const patience = 10 * time.Minute
	away := errors.New("away")
	for _, row := range []struct {
		name     string
		age      time.Duration
		patience time.Duration
		err      error
		want     string
		reads    int // of two questions
	}{
		{"fresh", follow.Fresh, 0, away, "followed", 0},
		{"fresh, patient", follow.Fresh, patience, away, "followed", 0},
		{"stands still", follow.Fresh + 1, 0, nil, "read", 2},
		{"stands still, patient", follow.Fresh + 1, patience, nil, "read", 2},
		{"away", follow.Fresh + 1, 0, away, "", 2},
		{"away, patient", patience, patience, away, "followed", 1},
		{"away for too long", patience + 1, patience, away, "", 2},
	} {
		now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
		source := &behind{
			Value: follow.NewValue("followed"),
			watch: follow.NewWatch("it", func() time.Time { return now }),
			err:   row.err,
		}
		source.watch.Hear()
		now = now.Add(row.age)
		for range 2 {
			got, err := follow.Sure[string](t.Context(), source, row.patience, "")
			if (err != nil) != (row.want == "") || err == nil && got != row.want {
				t.Errorf("%s: %q, %v, want %q", row.name, got, err, row.want)
			}
		}
		if source.reads != row.reads {
			t.Errorf("%s: the API server was asked %d times, want %d", row.name, source.reads, row.reads)
		}
	}
	var fixed follow.Source[string] = follow.Fixed[string]{Content: "fixed"}
	if got, err := follow.Sure(t.Context(), fixed, 0, ""); got != "fixed" || err != nil {
		t.Errorf("what is never behind: %q, %v", got, err)
	}
}
