package broker

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/events"
)

// PodRefusal is a pod whose token was verified, and that got no session.
type PodRefusal struct {
	Namespace, Pod, UID string
	Code                refusal.Code
	Message             string
}

// eventAgain is for how long a pod is not told the same again.
const eventAgain = 10 * time.Minute

// Events writes refusals as Events of the pod.
type Events struct{ writer *events.Writer }

// NewEvents prepares it; Run writes.
func NewEvents(client kubernetes.Interface, now func() time.Time) *Events {
	return &Events{events.New(client, "rolecall-broker", eventAgain, now)}
}

// Refused takes a refusal. It does not block.
func (e *Events) Refused(refused PodRefusal) {
	e.writer.Say(refused.UID+" "+string(refused.Code), events.Event{
		About: &corev1.ObjectReference{
			APIVersion: "v1",
			Kind:       "Pod",
			Namespace:  refused.Namespace,
			Name:       refused.Pod,
			UID:        types.UID(refused.UID),
		},
		Reason: "FailedPodIdentity",
		Action: "AssumeRole",
		Note:   string(refused.Code) + ": " + refused.Message,
	})
}

// Run writes Events until ctx is done.
func (e *Events) Run(ctx context.Context) error { return e.writer.Run(ctx) }
