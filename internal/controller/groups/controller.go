// Package groups keeps the members in the status of GroupMappings: who is in an IAM group,
// read from IAM again and again (spec authenticator §9).
//
// It gives quickly and takes away slowly. Those whom IAM names are members at once; those whom it no
// longer names stay so until a second read agrees, and for longer if many go together or
// the group is gone. What could not be read, or not wholly, changes nothing. Members are
// known by their ids.
//
// It does not say who may log in as whom: that is for who reads the status.
package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access/objects"
	"github.com/rolecall/rolecall/internal/arn"
)

// Conditions of a GroupMapping.
const (
	// ConditionReady says whether the last read told all members.
	ConditionReady = "Ready"
	// ConditionHeld says whether somebody counts whom IAM no longer names.
	ConditionHeld = "RemovalsHeld"
)

const (
	// workers read groups at the same time, of different accounts: one that hangs takes one.
	workers = 16
	// stampEvery is how often the status tells the time of a read that changed nothing.
	stampEvery = 10 * time.Minute
	// spare is what a read and the writing of the status may take of a period.
	spare = 2 * time.Second
)

// Reconciler is the controller. All fields are needed.
type Reconciler struct {
	Client client.Client
	Reader *Reader
	Events events.EventRecorder
	// Metrics are made by NewMetrics.
	Metrics *Metrics
	Log     *slog.Logger
	// Every is the period in which what changes in IAM counts. RemovalDelay is how long
	// IAM must have left out a member who is removed.
	Every, RemovalDelay time.Duration
	Now                 func() time.Time

	mu    sync.Mutex
	known map[string]*memory
}

// memory is what is known of a mapping and not in its status.
type memory struct {
	gone     int       // reads in a row that said that there is no such group
	lastSync time.Time // of the last whole read
}

// Setup adds the controller to a manager.
func (r *Reconciler) Setup(manager ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(manager).Named("groups").
		For(&v1alpha1.GroupMapping{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// Reconcile reads one group and writes what is new.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object v1alpha1.GroupMapping
	if err := r.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.forget(request.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before, known := object.DeepCopy(), r.memory(request.Name)
	found, err := r.Reader.read(ctx, object.Spec.Account, object.Spec.IAMGroup)
	failed, _ := errors.AsType[*failure](err)
	if failed != nil && failed.reason == reasonBusy {
		return ctrl.Result{RequeueAfter: failed.again}, nil
	}
	if ctx.Err() != nil { // the process ends: what it did not hear means nothing
		return ctrl.Result{}, ctx.Err()
	}
	looked := r.look(&object, known, found, failed)
	if !equality.Semantic.DeepEqual(before.Status, object.Status) {
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.Client.Status().Patch(ctx, &object, patch); err != nil {
			return ctrl.Result{}, fmt.Errorf("write the status: %w", client.IgnoreNotFound(err))
		}
		r.tell(before, &object, looked)
	}
	r.Metrics.observe(&object)
	if !known.lastSync.IsZero() {
		r.Metrics.synced.WithLabelValues(object.Name).Set(float64(known.lastSync.Unix()))
	}
	return ctrl.Result{RequeueAfter: r.again(looked, failed)}, nil
}

// look fills the status from what IAM said.
func (r *Reconciler) look(
	object *v1alpha1.GroupMapping, known *memory, found *roster, failed *failure,
) (looked change) {
	now, status, before := r.Now(), &object.Status, object.Status.DeepCopy()
	if !objects.IsOfGroup(object) || found != nil && accountOf(found.arn) != accountOf(status.GroupARN) {
		// These are members of another group.
		*status = v1alpha1.GroupMappingStatus{Conditions: status.Conditions}
		*known = memory{}
	}
	ready := verdict{metav1.ConditionTrue, reasonSynced, "IAM told all members of the group"}
	looked = change{members: status.Members}
	if failed != nil {
		ready = verdict{metav1.ConditionFalse, failed.reason, failed.message}
		looked.why = reasonNotRead
	}
	switch {
	case failed == nil:
		known.gone, known.lastSync = 0, now
		status.GroupARN, status.GroupID = found.arn, found.id
		var full error
		if looked, full = r.merge(status.Members, found.members, 0, now); full != nil {
			ready = verdict{metav1.ConditionFalse, reasonTooMany, full.Error()}
		}
	case failed.reason == reasonNoGroup:
		known.gone++
		looked, _ = r.merge(status.Members, nil, known.gone, now)
	}
	status.Members, status.MemberCount = looked.members, int32(len(looked.members)) //nolint:gosec // 5,000 at most
	status.ObservedGeneration = object.Generation
	r.conclude(object, ConditionReady, ready)
	r.conclude(object, ConditionHeld, held(looked))
	last := status.LastSyncTime
	if !known.lastSync.IsZero() && (last == nil || known.lastSync.Sub(last.Time) >= stampEvery ||
		!equality.Semantic.DeepEqual(before, status)) {
		status.LastSyncTime = &metav1.Time{Time: known.lastSync.Truncate(time.Second)}
	}
	return looked
}

func (r *Reconciler) conclude(object *v1alpha1.GroupMapping, kind string, v verdict) {
	meta.SetStatusCondition(&object.Status.Conditions, metav1.Condition{
		Type: kind, Status: v.status, Reason: v.reason, Message: short(v.message),
		ObservedGeneration: object.Generation, LastTransitionTime: metav1.NewTime(r.Now()),
	})
}

// merge puts what IAM named beside the members there were. If they are too many together,
// those who come wait for those who leave.
func (r *Reconciler) merge(
	before, named []v1alpha1.GroupMember, gone int, now time.Time,
) (change, error) {
	pace := pace{r.Every, r.RemovalDelay}
	merged := pace.merge(before, named, gone, now)
	full := tooMany(merged.members)
	if full == nil {
		return merged, nil
	}
	var known []v1alpha1.GroupMember
	for _, member := range named {
		if slices.ContainsFunc(before, func(m v1alpha1.GroupMember) bool { return m.UserID == member.UserID }) {
			known = append(known, member)
		}
	}
	return pace.merge(before, known, gone, now), full
}

type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
}

// held says who counts though IAM no longer names them, and why.
func held(looked change) verdict {
	left := missing(looked.members)
	if len(left) == 0 {
		return verdict{metav1.ConditionFalse, reasonNobodyMissing, "all who count are members as far as IAM has said"}
	}
	because, until := "", ""
	if !looked.until.IsZero() {
		until = " until " + looked.until.UTC().Format(time.RFC3339)
	}
	switch looked.why {
	case reasonConfirming:
		because = until + ", when another read must agree"
	case reasonLargeRemoval:
		because = until + ", being many of the group; to take their access away at once, delete this GroupMapping"
	case reasonDisagree:
		because = until + ", since IAM named some again after it had left them out"
	case reasonGroupGone:
		because = until + ", since IAM must say more than once that there is no such group"
	default:
		because = " until IAM can be read again"
	}
	return verdict{metav1.ConditionTrue, looked.why, fmt.Sprintf("%s: IAM no longer names them, and they count%s",
		some(left), because)}
}

// some names a few of many.
func some(names []string) string {
	const shown = 5
	text := strings.Join(names[:min(shown, len(names))], ", ")
	if more := len(names) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func accountOf(group string) string {
	named, _ := arn.Parse(group)
	return named.Account
}

// again is when to read the group once more: so early that a second read can confirm within
// the period what the first one finds.
func (r *Reconciler) again(looked change, failed *failure) time.Duration {
	if failed != nil && failed.again > 0 {
		return failed.again
	}
	interval := r.Every
	if r.RemovalDelay < r.Every {
		interval = max(r.Every-r.RemovalDelay-spare, r.Every/2)
	}
	interval -= rand.N(interval/10 + 1) //nolint:gosec // spreads load, guards nothing
	const soonest = 100 * time.Millisecond
	if !looked.until.IsZero() {
		interval = min(interval, max(looked.until.Sub(r.Now()), soonest))
	}
	return interval
}

// tell makes Events and log lines of what changed.
func (r *Reconciler) tell(before, after *v1alpha1.GroupMapping, looked change) {
	log := r.Log.With("groupMapping", after.Name)
	if was, is := before.Status.GroupID, after.Status.GroupID; was != "" && is != "" && was != is &&
		objects.IsOfGroup(before) && accountOf(before.Status.GroupARN) == accountOf(after.Status.GroupARN) {
		r.Events.Eventf(after, nil, corev1.EventTypeWarning, "GroupReplaced", "Sync",
			"IAM group %s was deleted and made again: its id is %s, and was %s", after.Status.GroupARN, is, was)
		log.Warn("IAM group was replaced", "group", after.Status.GroupARN, "id", is, "was", was)
	}
	for _, row := range []struct {
		change, reason string
		who            []v1alpha1.GroupMember
	}{{"added", "MembersAdded", looked.added}, {"removed", "MembersRemoved", looked.removed}} {
		if len(row.who) == 0 {
			continue
		}
		var names []string
		for i := range row.who {
			names = append(names, row.who[i].ARN)
		}
		r.Metrics.changes.WithLabelValues(row.change).Add(float64(len(names)))
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, row.reason, "Sync", "%s", short(
			fmt.Sprintf("%d %s: %s", len(names), row.change, some(names))))
		log.Info("members of an IAM group changed", "change", row.change, "count", len(names), "members", names)
	}
	for _, condition := range after.Status.Conditions {
		was := meta.FindStatusCondition(before.Status.Conditions, condition.Type)
		bad := condition.Status == metav1.ConditionFalse
		if condition.Type == ConditionHeld {
			bad = condition.Status == metav1.ConditionTrue && condition.Reason != reasonConfirming
		}
		if was != nil && was.Status == condition.Status && was.Reason == condition.Reason || was == nil && !bad {
			continue
		}
		kind := corev1.EventTypeNormal
		if bad {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(after, nil, kind, condition.Reason, condition.Type, "%s is %s: %s", condition.Type,
			condition.Status, condition.Message)
		log.Info("group mapping changed", "condition", condition.Type, "status", string(condition.Status),
			"reason", condition.Reason, "message", condition.Message)
	}
}

func (r *Reconciler) memory(name string) *memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[string]*memory{}
	}
	if r.known[name] == nil {
		r.known[name] = &memory{}
	}
	return r.known[name]
}

func (r *Reconciler) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, name)
	r.Metrics.forget(name)
}

// short keeps a message within what an Event may hold, and whole in UTF-8.
func short(text string) string {
	const longest = 900
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}
