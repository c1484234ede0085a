package association

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// soonest is when an association that is not as it should be is looked at again for the
// first time. After that it waits as long as it has waited: an association is often made
// before its role, and IAM takes seconds to show what was changed.
const soonest = 4 * time.Second

// waiting remembers since when associations have waited for IAM.
type waiting struct {
	mu    sync.Mutex
	since map[types.NamespacedName]waits
}

// waits is since when a version of an association has waited; used is its last use then.
type waits struct {
	uid        types.UID
	generation int64
	used       metav1.Time
	at         time.Time
}

// after is when to look again: as long from now as the association has waited for IAM, every
// at most. A change of it, or a use of it, begins again, and so does a start of the
// controller.
func (w *waiting) after(a *v1alpha1.PodIdentityAssociation, now time.Time, every time.Duration) time.Duration {
	name := client.ObjectKeyFromObject(a)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !waitsForIAM(a) {
		delete(w.since, name)
		return every
	}
	is := waits{uid: a.UID, generation: a.Generation, at: now}
	if a.Status.LastUsedTime != nil {
		is.used = *a.Status.LastUsedTime
	}
	if w.since == nil {
		w.since = map[types.NamespacedName]waits{}
	}
	was, known := w.since[name]
	if known && was.uid == is.uid && was.generation == is.generation && was.used.Equal(&is.used) {
		is.at = was.at
	}
	w.since[name] = is
	return min(max(now.Sub(is.at), min(soonest, every)), every)
}

func (w *waiting) forget(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.since, name)
}

// waitsForIAM reports whether the status says something that a change in IAM may fix: that there is no
// role, that a trust policy refuses, or that IAM did not answer.
func waitsForIAM(a *v1alpha1.PodIdentityAssociation) bool {
	for _, kind := range []string{conditionRole, conditionTrust} {
		if found := meta.FindStatusCondition(a.Status.Conditions, kind); found != nil &&
			(found.Status == metav1.ConditionFalse || found.Reason == reasonNotAsked ||
				found.Reason == reasonTargetNotAsked) {
			return true
		}
	}
	return false
}

// usedThoughNotReady lets pass updates that say that a session was issued for an association
// which is not Ready.
func usedThoughNotReady() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ours := e.ObjectOld.(*v1alpha1.PodIdentityAssociation)
			after, alsoOurs := e.ObjectNew.(*v1alpha1.PodIdentityAssociation)
			return ours && alsoOurs && !after.Status.LastUsedTime.Equal(before.Status.LastUsedTime) &&
				!meta.IsStatusConditionTrue(after.Status.Conditions, conditionReady)
		},
	}
}
