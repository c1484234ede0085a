package workload

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// NewEmbedded are the objects of a plane without an API server: what is put in is
// there, and nothing else is. Run must not be called.
func NewEmbedded(now func() time.Time) *Objects {
	o := NewObjects(nil, now)
	// Replace never fails: it is given nothing to read.
	_, _ = o.pods.Replace(nil, ""), o.accounts.Replace(nil, "")
	return o
}

// PutPod has a pod be there, as it is now.
func (o *Objects) PutPod(pod *corev1.Pod) error { return o.pods.Update(pod) }

// RemovePod has a pod be gone.
func (o *Objects) RemovePod(pod *corev1.Pod) error { return o.pods.Delete(pod) }

// PutServiceAccount has a service account be there.
func (o *Objects) PutServiceAccount(account *corev1.ServiceAccount) error {
	return o.accounts.Update(account)
}

func (o *Objects) embedded() bool { return o.client == nil }
