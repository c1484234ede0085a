package broker

import (
	"context"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"

	"github.com/rolecall/rolecall/internal/broker/refusal"
)

// PodRefusal is a pod whose token was verified, and that got no session.
type PodRefusal struct {
	Namespace, Pod, UID string
	Code                refusal.Code
	Message             string
}

const (
	// A storm of refusals must not become one of Events: a few a second in all,
	// and one in ten minutes of a pod and code.
	eventRate, eventBurst = 5, 25
	eventAgain            = 10 * time.Minute
	eventQueue            = 64
	maxRemembered         = 10000
	maxEventNote          = 1000 // the API server takes 1,024
)

// Events writes refusals as Events of the pod. What comes too fast is dropped:
// metrics, the audit and the log have it.
type Events struct {
	client kubernetes.Interface
	now    func() time.Time
	limit  *rate.Limiter
	queue  chan PodRefusal

	mu   sync.Mutex
	last map[eventKey]time.Time
}

type eventKey struct {
	uid  string
	code refusal.Code
}

// NewEvents prepares it; Run writes.
func NewEvents(client kubernetes.Interface, now func() time.Time) *Events {
	return &Events{
		client: client, now: now, limit: rate.NewLimiter(eventRate, eventBurst),
		queue: make(chan PodRefusal, eventQueue), last: map[eventKey]time.Time{},
	}
}

// Refused takes a refusal. It does not block.
func (e *Events) Refused(refused PodRefusal) {
	if !e.due(eventKey{refused.UID, refused.Code}) {
		return
	}
	select {
	case e.queue <- refused:
	default:
	}
}

func (e *Events) due(key eventKey) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if last, found := e.last[key]; found && now.Sub(last) < eventAgain || !e.limit.AllowN(now, 1) {
		return false
	}
	if len(e.last) >= maxRemembered {
		clear(e.last)
	}
	e.last[key] = now
	return true
}

// Run writes Events until ctx is done.
func (e *Events) Run(ctx context.Context) error {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: e.client.EventsV1()})
	defer broadcaster.Shutdown()
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	recorder := broadcaster.NewRecorder(scheme, "rolecall-broker")
	for {
		select {
		case <-ctx.Done():
			return nil
		case refused := <-e.queue:
			pod := &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: refused.Namespace, Name: refused.Pod, UID: types.UID(refused.UID)}
			note := string(refused.Code) + ": " + refused.Message
			recorder.Eventf(pod, nil, corev1.EventTypeWarning, "FailedPodIdentity", "AssumeRole", "%s", note[:min(len(note), maxEventNote)])
		}
	}
}

func formatVersion(generation int64) string { return strconv.FormatInt(generation, 10) }
