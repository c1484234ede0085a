package webhook

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"

	"github.com/rolecall/rolecall/internal/inject"
)

const (
	// A storm of refusals must not become one of Events: a few a second in all,
	// and one a minute of a kind and account.
	eventRate, eventBurst = 5, 25
	eventAgain            = time.Minute
	eventQueue            = 64
	maxRemembered         = 1000
)

// Events writes refusals as Events of the service account, since the pod may
// never exist. What comes too fast is dropped: metrics and the log have it.
type Events struct {
	client kubernetes.Interface
	now    func() time.Time
	limit  *rate.Limiter
	queue  chan Refusal

	mu   sync.Mutex
	last map[eventKey]time.Time
}

type eventKey struct {
	name inject.Name
	kind RefusalKind
}

// NewEvents prepares it; Run writes.
func NewEvents(client kubernetes.Interface, now func() time.Time) *Events {
	return &Events{
		client: client, now: now, limit: rate.NewLimiter(eventRate, eventBurst),
		queue: make(chan Refusal, eventQueue), last: map[eventKey]time.Time{},
	}
}

// Refused takes a refusal. It does not block.
func (e *Events) Refused(refusal Refusal) {
	if !e.due(eventKey{refusal.Name, refusal.Kind}) {
		return
	}
	select {
	case e.queue <- refusal:
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
	recorder := broadcaster.NewRecorder(scheme, "rolecall-webhook")
	for {
		select {
		case <-ctx.Done():
			return nil
		case refusal := <-e.queue:
			recorder.Eventf(e.account(ctx, refusal.Name), nil, corev1.EventTypeWarning, string(refusal.Kind), "Admit", "pod %s: %s", refusal.Pod, refusal.Message)
		}
	}
}

// account names the object. Its uid, without which kubectl describe does not
// show an Event, is read here rather than kept of every account.
func (e *Events) account(ctx context.Context, name inject.Name) *corev1.ObjectReference {
	reference := &corev1.ObjectReference{APIVersion: "v1", Kind: "ServiceAccount", Namespace: name.Namespace, Name: name.ServiceAccount}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if account, err := e.client.CoreV1().ServiceAccounts(name.Namespace).Get(ctx, name.ServiceAccount, metav1.GetOptions{}); err == nil {
		reference.UID = account.UID
	}
	return reference
}
