package missed

import (
	"cmp"
	"context"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// restartEvery is how often a pod is evicted at most. What cannot do without so many at a
// time has a PodDisruptionBudget, which evictions obey.
const restartEvery = 5 * time.Second

// restarts are the pods to be evicted, one after the other.
type restarts struct {
	wanted []Pod
	timer  *time.Timer
	// tried are the owners of pods that were evicted, and when the last one was. An owner
	// whose next pod has no identity either would have its pods evicted forever: nothing
	// more of it is, until a pod that it made since has one.
	tried map[types.UID]time.Time
}

func (r *restarts) init() {
	r.tried = map[types.UID]time.Time{}
	r.timer = time.NewTimer(restartEvery)
}

func (r *restarts) next() <-chan time.Time { return r.timer.C }

// want takes all that are missed now. The order is by name, so that a log can be read.
func (r *restarts) want(pods []Pod) {
	r.wanted = slices.DeleteFunc(pods, func(p Pod) bool { return p.Owner == nil })
	slices.SortFunc(r.wanted, func(a, b Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// restart evicts the next one that may be.
func (f *Finder) restart(ctx context.Context) {
	defer f.restarts.timer.Reset(restartEvery)
	if !f.Restart {
		return
	}
	for len(f.restarts.wanted) > 0 {
		pod := f.restarts.wanted[0]
		f.restarts.wanted = f.restarts.wanted[1:]
		if !f.may(ctx, pod) {
			continue
		}
		uid := pod.UID
		err := f.Client.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
		})
		log := f.Log.With("namespace", pod.Namespace, "pod", pod.Name, "owner", pod.Owner.Kind+"/"+pod.Owner.Name)
		switch {
		case err == nil:
			f.restarts.tried[pod.Owner.UID] = f.Now().Truncate(time.Second) // as creation times are
			f.evicted.WithLabelValues("evicted").Inc()
			log.Info("pod without its identity evicted")
			return
		case apierrors.IsTooManyRequests(err): // a disruption budget, or the API server is busy
			f.evicted.WithLabelValues("later").Inc()
			f.touch()
			return
		case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		default:
			f.evicted.WithLabelValues("failed").Inc()
			log.Warn("pod without its identity not evicted", "error", err)
			return
		}
	}
}

// may reports whether a pod is made again by its owner, and then with its identity as
// far as is known.
func (f *Finder) may(ctx context.Context, pod Pod) bool {
	switch {
	case !f.proven(pod):
		return false
	case pod.Owner.Kind == "Job" && pod.Owner.APIVersion == "batch/v1":
		job, err := f.Client.BatchV1().Jobs(pod.Namespace).Get(ctx, pod.Owner.Name, metav1.GetOptions{})
		return err == nil && job.UID == pod.Owner.UID && affords(job)
	case pod.Owner.APIVersion == "apps/v1":
		return slices.Contains([]string{"ReplicaSet", "StatefulSet", "DaemonSet"}, pod.Owner.Kind)
	case pod.Owner.APIVersion == "v1":
		return pod.Owner.Kind == "ReplicationController"
	}
	return false
}

// affords reports whether a Job makes another pod after one was evicted: an eviction
// counts as a failure.
func affords(job *batchv1.Job) bool {
	limit := int32(6) // the API server's default
	if job.Spec.BackoffLimit != nil {
		limit = *job.Spec.BackoffLimit
	}
	return job.Status.Failed < limit
}

// proven: nothing of the owner was evicted yet, or a pod that it made since has its
// identity.
func (f *Finder) proven(pod Pod) bool {
	at, tried := f.restarts.tried[pod.Owner.UID]
	if !tried {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.seen {
		if name.Namespace == pod.Namespace && s.owner != nil && s.owner.UID == pod.Owner.UID && !s.web && !s.agent &&
			!s.created.Before(at) {
			return true
		}
	}
	return false
}
