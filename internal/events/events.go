// Package events writes Kubernetes Events about what went wrong with an object: a
// few a second in all, and only one in a while of the same kind, so that a storm
// of refusals does not become a storm of Events.
//
// It does not promise that an Event is written: what comes too fast is dropped.
// Its users have metrics and logs for that.
package events

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"

	"github.com/rolecall/rolecall/internal/limit"
)

const (
	perSecond, burst = 5, 25
	queued           = 64
	remembered       = 10000
	maxNote          = 1000 // bytes; the API server accepts 1,024
)

// Event is a warning about an object of core/v1.
type Event struct {
	About                *corev1.ObjectReference
	Reason, Action, Note string
}

// Writer accepts warnings from requests and writes them later.
type Writer struct {
	// Component is who reports it: rolecall-webhook.
	Component string
	// Again is for how long the same warning is not repeated.
	Again time.Duration
	// Resolve, if set, completes the reference to what an Event is about,
	// before it is written.
	Resolve func(ctx context.Context, about *corev1.ObjectReference)

	client kubernetes.Interface
	now    func() time.Time
	limit  *rate.Limiter
	queue  chan Event

	mu   sync.Mutex
	last *limit.LRU[string, time.Time]
}

// New prepares a Writer; Run writes.
func New(client kubernetes.Interface, component string, again time.Duration, now func() time.Time) *Writer {
	return &Writer{
		Component: component, Again: again, client: client, now: now,
		limit: rate.NewLimiter(perSecond, burst), queue: make(chan Event, queued), last: limit.NewLRU[string, time.Time](remembered),
	}
}

// Say accepts a warning; key is what makes two of them the same. It does not block.
func (w *Writer) Say(key string, event Event) {
	if !w.due(key) {
		return
	}
	select {
	case w.queue <- event:
	default:
	}
}

func (w *Writer) due(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if last, found := w.last.Peek(key); found && now.Sub(last) < w.Again || !w.limit.AllowN(now, 1) {
		return false
	}
	w.last.Put(key, now)
	return true
}

// Run writes Events until ctx is done.
func (w *Writer) Run(ctx context.Context) error {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: w.client.EventsV1()})
	defer broadcaster.Shutdown()
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	recorder := broadcaster.NewRecorder(scheme, w.Component)
	for {
		select {
		case <-ctx.Done():
			return nil
		case one := <-w.queue:
			if w.Resolve != nil {
				w.Resolve(ctx, one.About)
			}
			recorder.Eventf(
				one.About,
				nil,
				corev1.EventTypeWarning,
				one.Reason,
				one.Action,
				"%s",
				one.Note[:min(len(one.Note), maxNote)],
			)
		}
	}
}
