// Package association keeps the status of PodIdentityAssociations true: their
// ids, and whether their pods can get their role (does it exist, does it trust
// the plane, is it granted, does another association take precedence).
//
// It decides nothing about sessions, which the broker decides each time, and
// does not write when an association was last used.
package association

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/association/admission"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// Roles reads roles of IAM.
type Roles interface {
	// Trust returns a role's trust policy. Errors are faults: NotFound if there is
	// no such role, its path counting; any other kind if that cannot be told.
	Trust(ctx context.Context, role arn.Role) (string, error)
	// Policies returns a role's own policies, with errors as those of Trust.
	Policies(ctx context.Context, role arn.Role) ([]string, error)
}

// Reconciler is the controller. All fields are needed.
type Reconciler struct {
	Client client.Client
	Plane  sessionplan.Plane
	// Grants makes a set of all RoleGrants: it says what none at all means.
	Grants func([]grant.Grant) *grant.Set
	Roles  Roles
	Events events.EventRecorder
	// Metrics are made by NewMetrics.
	Metrics *Metrics
	Log     *slog.Logger
	// Every is how often IAM is looked at, which does not tell when it changes; up
	// to a fifth is added at random, so that not all are looked at together. What is
	// not as it should be is looked at sooner.
	Every time.Duration
	// Missed are pods that run without the identity that an association gives them, by
	// name; nil if nobody looks.
	Missed func(types.NamespacedName) []string
	// News are names of associations to look at again.
	News <-chan event.GenericEvent
	Now  func() time.Time

	waiting waiting
}

// Conditions of an association.
const (
	conditionReady    = "Ready"
	conditionRole     = "RoleExists"
	conditionTrust    = "TrustAllows"
	conditionGranted  = "Granted"
	conditionShadowed = "Shadowed"
	conditionTags     = "TagsAccepted"
	// conditionInjected is there only if somebody looks at pods.
	conditionInjected = "PodsInjected"
)

// Reasons of what IAM was not asked, or did not answer.
const (
	reasonNotAsked       = "NotAsked"
	reasonTargetNotAsked = "TargetNotAsked"
	reasonNotForIAM      = "NotLookedAt"
	// Of further roles, which no pod waits for.
	reasonFurtherNotAsked = "PoliciesNotAsked"
)

// Setup adds the controller to a manager.
func (r *Reconciler) Setup(manager ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{}) // its own status changes must not wake it
	// The broker writes when a session was issued, which contradicts a status that says
	// that none can be.
	used := builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, usedThoughNotReady()))
	controller := ctrl.NewControllerManagedBy(manager).Named("association").
		For(&v1alpha1.PodIdentityAssociation{}, used).
		Watches(&v1alpha1.PodIdentityAssociation{}, handler.EnqueueRequestsFromMapFunc(r.patternsBeside), changed).
		Watches(&v1alpha1.RoleGrant{}, handler.EnqueueRequestsFromMapFunc(r.everyOne), changed)
	if r.News != nil {
		controller = controller.WatchesRawSource(source.Channel(r.News, &handler.EnqueueRequestForObject{}))
	}
	return controller.Complete(r)
}

// patternsBeside are the associations that one of their namespace may shadow, or
// stop shadowing.
func (r *Reconciler) patternsBeside(ctx context.Context, object client.Object) []reconcile.Request {
	return r.requests(ctx, object.GetNamespace(), association.IsPattern)
}

func (r *Reconciler) everyOne(ctx context.Context, grant client.Object) []reconcile.Request {
	r.count(ctx, grant)
	return r.requests(ctx, "", func(*v1alpha1.PodIdentityAssociation) bool { return true })
}

// count counts the RoleGrants after one of them has changed, and says loudly when that
// was the last.
func (r *Reconciler) count(ctx context.Context, changed client.Object) {
	var list v1alpha1.RoleGrantList
	if err := r.Client.List(ctx, &list); err != nil {
		r.Log.Error("RoleGrants not counted", "error", err)
		return
	}
	if r.Metrics.grants.Set(float64(len(list.Items))); len(list.Items) > 0 {
		return
	}
	r.Metrics.emptied.Inc()
	note := r.Grants(nil).WhyNone()
	r.Log.Warn("the last RoleGrant is gone", "name", changed.GetName(), "consequence", note)
	r.Events.Eventf(changed, nil, corev1.EventTypeWarning, "NoRoleGrants", "Grant", "%s",
		"the last RoleGrant is gone: "+note)
}

func (r *Reconciler) requests(
	ctx context.Context, namespace string, which func(*v1alpha1.PodIdentityAssociation) bool,
) []reconcile.Request {
	var list v1alpha1.PodIdentityAssociationList
	if err := r.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		r.Log.Error("associations not listed", "error", err)
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if which(&list.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// Reconcile looks at one association and writes what it found, if that is new.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object v1alpha1.PodIdentityAssociation
	if err := r.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		r.Metrics.observe(request.NamespacedName, nil)
		r.waiting.forget(request.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := object.DeepCopy()
	if err := r.look(ctx, &object); err != nil {
		return ctrl.Result{}, err
	}
	r.Metrics.observe(request.NamespacedName, object.Status.Conditions)
	if !equality.Semantic.DeepEqual(before.Status, object.Status) {
		if err := r.Client.Status().Patch(ctx, &object, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, fmt.Errorf("write the status: %w", client.IgnoreNotFound(err))
		}
		r.tell(before, &object)
	}
	again := r.waiting.after(&object, r.Now(), r.Every)
	return ctrl.Result{RequeueAfter: again + rand.N(again/5+1)}, nil //nolint:gosec // spreads load, guards nothing
}

// look fills the status.
func (r *Reconciler) look(ctx context.Context, a *v1alpha1.PodIdentityAssociation) error {
	var grants v1alpha1.RoleGrantList
	if err := r.Client.List(ctx, &grants); err != nil {
		return fmt.Errorf("list the grants: %w", err)
	}
	var beside v1alpha1.PodIdentityAssociationList
	if err := r.Client.List(ctx, &beside, client.InNamespace(a.Namespace)); err != nil {
		return fmt.Errorf("list the associations: %w", err)
	}
	found := map[string]verdict{}
	found[conditionGranted] = r.granted(a, grants.Items)
	found[conditionRole], found[conditionTrust] = r.role(ctx, a, found[conditionGranted])
	found[conditionTags] = r.further(ctx, a, found[conditionTrust], r.grantSet(grants.Items))
	found[conditionShadowed] = shadowed(a, beside.Items)
	found[conditionReady] = ready(a, found)
	status := &a.Status
	status.AssociationID = association.ID(a)
	status.AssociationARN = r.Plane.Cluster.AssociationARN(status.AssociationID)
	status.ExternalID = ""
	if !association.IsPattern(a) || a.Spec.ExternalID != "" { // each account of a pattern has its own
		status.ExternalID = r.Plane.Cluster.ExternalIDOf(a, r.Plane.ModeOf(a), a.Spec.ServiceAccountName)
	}
	status.ObservedGeneration = a.Generation
	kinds := []string{
		conditionReady, conditionRole, conditionTrust, conditionGranted, conditionShadowed, conditionTags,
	}
	if r.Missed != nil {
		found[conditionInjected] = injected(r.Missed(client.ObjectKeyFromObject(a)))
		kinds = append(kinds, conditionInjected)
	}
	for _, kind := range kinds {
		v := found[kind]
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type:               kind,
			Status:             v.status,
			Reason:             v.reason,
			Message:            short(v.message),
			ObservedGeneration: a.Generation,
		})
	}
	return nil
}

// role asks IAM for the role, and its trust policy for the plane. Of roles that the
// association may not use it says nothing, not even whether they exist: who writes
// associations must not learn of them here.
func (r *Reconciler) role(
	ctx context.Context, a *v1alpha1.PodIdentityAssociation, granted verdict,
) (exists, trusts verdict) {
	if granted.status != metav1.ConditionTrue {
		v := unknown(reasonNotForIAM, "IAM is asked only about roles that all accounts of the association may use")
		return v, v
	}
	role, err := arn.ParseRole(a.Spec.RoleARN)
	if err != nil {
		return no("Invalid", err.Error()), no("Invalid", err.Error())
	}
	text, err := r.Roles.Trust(ctx, role)
	switch {
	case err == nil:
		exists, trusts = yes("Exists", "IAM has "+a.Spec.RoleARN), r.trust(a, role, text)
		if trusts.status == metav1.ConditionTrue && a.Spec.TargetRoleARN != "" {
			trusts = r.target(ctx, a, role)
		}
		return exists, trusts
	case fault.KindOf(err) == fault.NotFound:
		return no("NoSuchRole", err.Error()), no("NoSuchRole", "there is no role that could trust anybody")
	}
	return unknown(reasonNotAsked, err.Error()), unknown(reasonNotAsked, "the trust policy could not be read")
}

// target asks IAM about the target role, which only credentials of its account
// can.
func (r *Reconciler) target(ctx context.Context, a *v1alpha1.PodIdentityAssociation, role arn.Role) verdict {
	target, err := arn.ParseRole(a.Spec.TargetRoleARN)
	if err != nil {
		return no("Invalid", err.Error())
	}
	text, err := r.Roles.Trust(ctx, target)
	switch {
	case err == nil:
		return r.targetTrust(a, role, target, text)
	case fault.KindOf(err) == fault.NotFound:
		return no("NoSuchTargetRole", err.Error())
	}
	return unknown(reasonTargetNotAsked, "the trust policy of the target role could not be read: "+err.Error())
}

// granted judges what the operator and the grants let the association be.
func (r *Reconciler) granted(a *v1alpha1.PodIdentityAssociation, items []v1alpha1.RoleGrant) verdict {
	rules := admission.Rules{Bounds: r.Plane.Bounds(), Grants: r.grantSet(items)}
	err := rules.Check(a)
	_, ungranted := errors.AsType[*admission.NotGranted](err)
	switch {
	case err == nil:
		return yes("Granted", rules.Why(a))
	case ungranted && association.IsPattern(a): // a grant may cover some of its accounts
		return unknown("Pattern", err.Error()+"; it is decided for each service account")
	case ungranted:
		return no("NotGranted", err.Error())
	}
	return no("NotAllowed", err.Error()+"; "+strings.Join(fault.HintsOf(err), "; "))
}

func (r *Reconciler) grantSet(items []v1alpha1.RoleGrant) *grant.Set {
	var grants []grant.Grant
	for i := range items {
		grants = append(grants, grant.Grant{Name: items[i].Name, Spec: items[i].Spec})
	}
	return r.Grants(grants)
}

// shadowed looks for an association that always is preferred: of the same
// pattern, and older (spec podidentity §19.5).
func shadowed(a *v1alpha1.PodIdentityAssociation, beside []v1alpha1.PodIdentityAssociation) verdict {
	var all []*v1alpha1.PodIdentityAssociation
	for i := range beside {
		if association.IsPattern(&beside[i]) {
			all = append(all, &beside[i])
		}
	}
	if !association.IsPattern(a) {
		return no("Exact", "the exact name is preferred")
	}
	// Whatever is first for the text of the pattern itself is so for all that it
	// matches, unless it is a longer one.
	if first := association.NewSet(all).Of(
		a.Namespace, strings.TrimSuffix(a.Spec.ServiceAccountName, "*"),
	); first != nil && first.Name != a.Name && first.Spec.ServiceAccountName == a.Spec.ServiceAccountName {
		return yes("OlderPattern", fmt.Sprintf("association %s has the same pattern and is older", first.Name))
	}
	return no("Preferred", "no other association has this pattern and is older")
}

// injected says which pods have to be made again.
func injected(missed []string) verdict {
	const shown = 5
	if len(missed) == 0 {
		return yes("Injected", "no pod is known to run without its identity")
	}
	names := strings.Join(missed[:min(shown, len(missed))], ", ")
	if len(missed) > shown {
		names += ", …"
	}
	pods := fmt.Sprintf("%d pods run", len(missed))
	if len(missed) == 1 {
		pods = "1 pod runs"
	}
	return no("IdentityMissed", pods+" without this identity until restarted, being older than the association or "+
		"created while the webhook could not be asked: "+names)
}

// ready sums up: no as soon as one thing is known to keep pods from their role,
// yes only if all are known not to.
func ready(a *v1alpha1.PodIdentityAssociation, found map[string]verdict) verdict {
	if err := association.Validate(a, false); err != nil {
		return no("Invalid", err.Error())
	}
	if a.Spec.Paused {
		return no("Paused", "new sessions are refused as long as spec.paused is true")
	}
	if v := found[conditionShadowed]; v.status == metav1.ConditionTrue {
		return no(conditionShadowed, v.message)
	}
	parts := []string{conditionRole, conditionTrust, conditionGranted}
	for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		for _, kind := range parts {
			if v := found[kind]; v.status == status {
				return verdict{status, v.reason, v.message}
			}
		}
	}
	return yes("Ready", "pods of the account can get the role")
}

// tell makes an Event of each condition that changed.
func (r *Reconciler) tell(before, after *v1alpha1.PodIdentityAssociation) {
	for _, condition := range after.Status.Conditions {
		was := meta.FindStatusCondition(before.Status.Conditions, condition.Type)
		isNews := was == nil && condition.Type == conditionReady || was != nil && was.Status != condition.Status
		if !isNews {
			continue
		}
		kind := corev1.EventTypeNormal
		if bad := condition.Type == conditionShadowed; condition.Status == metav1.ConditionFalse && !bad ||
			condition.Status == metav1.ConditionTrue && bad {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(
			after, nil, kind, condition.Reason, condition.Type, "%s is %s: %s", condition.Type, condition.Status,
			condition.Message,
		)
		r.Log.Info(
			"association changed", "association",
			types.NamespacedName{Namespace: after.Namespace, Name: after.Name}.String(), "condition", condition.Type,
			"status", string(condition.Status), "reason", condition.Reason, "message", condition.Message,
		)
	}
}

// short keeps a message within what an Event may hold, and whole in UTF-8.
func short(text string) string {
	const longest = 900
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}
