package webhook

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/events"
)

// eventAgain is for how long the same is not said again of an account.
const eventAgain = time.Minute

// Events writes refusals as Events of the service account, since the pod may
// never exist.
type Events struct{ writer *events.Writer }

// NewEvents prepares it; Run writes.
func NewEvents(client kubernetes.Interface, now func() time.Time) *Events {
	writer := events.New(client, "rolecall-webhook", eventAgain, now)
	// Its uid, without which kubectl describe does not show an Event, is read here
	// rather than kept of every account.
	writer.Resolve = func(ctx context.Context, about *corev1.ObjectReference) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		account, err := client.CoreV1().ServiceAccounts(about.Namespace).Get(ctx, about.Name, metav1.GetOptions{})
		if err == nil {
			about.UID = account.UID
		}
	}
	return &Events{writer}
}

// Refused takes a refusal. It does not block.
func (e *Events) Refused(refusal Refusal) {
	e.writer.Say(refusal.Name.Namespace+"/"+refusal.Name.ServiceAccount+" "+string(refusal.Kind), events.Event{
		About: &corev1.ObjectReference{
			APIVersion: "v1",
			Kind:       "ServiceAccount",
			Namespace:  refusal.Name.Namespace,
			Name:       refusal.Name.ServiceAccount,
		},
		Reason: string(refusal.Kind),
		Action: "Admit",
		Note:   "pod " + refusal.Pod + ": " + refusal.Message,
	})
}

// Run writes Events until ctx is done.
func (e *Events) Run(ctx context.Context) error { return e.writer.Run(ctx) }
