// Package access keeps the RBAC that access policies of AccessEntries are made, and the
// status of AccessEntries and IdentityMappings: who is meant, whether the object counts,
// what it came to.
//
// It lets nobody in, which the authenticator does, and says nothing of IAM groups.
package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	"github.com/rolecall/rolecall/internal/access/accesspolicy"
)

// Reconciler is the controller. All fields are needed. One run of it looks at all
// objects: a binding has the groups of all entries whose policy counts in its place.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server what Client may not have in its cache: objects that
	// are not labelled as ours.
	Live client.Reader
	// Flavor says whose rules the policies have, Allowed which of them may be given.
	Flavor  accesspolicy.Flavor
	Allowed []v1alpha1.AccessPolicyName
	// Principals says which ids IAM has given.
	Principals Principals
	Events     events.EventRecorder
	// Metrics are made by NewMetrics.
	Metrics *Metrics
	Log     *slog.Logger
	// Every is how often IAM is asked about a principal.
	Every time.Duration

	asked asked
}

const (
	// owner is the field manager.
	owner = "rolecall-controller"
	// again is when what stands in the way is looked at again that no watch tells of: an
	// object that is not ours, a permission that is missing.
	again = 15 * time.Second
	// soon is when an object is looked at again that has changed meanwhile.
	soon = 100 * time.Millisecond
	// atOnce is how many statuses are written before rights are looked at again, which are
	// not to wait for what is said of them.
	atOnce = 100
	// backlog is how many answers of IAM wait to be looked at. One run takes them all.
	backlog = 1
)

// Labels are those of every object that this controller makes, and by which it knows
// them, with accesspolicy.ObjectPrefix.
func Labels() map[string]string {
	return map[string]string{"app.kubernetes.io/managed-by": "rolecall"}
}

// Setup adds the controller to a manager.
func (r *Reconciler) Setup(manager ctrl.Manager) error {
	news := make(chan event.GenericEvent, backlog)
	r.asked.pace = newPace()
	r.asked.told = func() {
		select {
		case news <- event.GenericEvent{Object: &v1alpha1.AccessEntry{}}:
		default: // a run is to come that sees it
		}
	}
	everything := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "all"}}}
	})
	// Of its own status only a pin that somebody else wrote counts, or took out.
	changed := builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, repinned()))
	if err := ctrl.NewControllerManagedBy(manager).Named("access").
		Watches(&v1alpha1.AccessEntry{}, everything, changed).
		Watches(&v1alpha1.IdentityMapping{}, everything, changed).
		Watches(&corev1.Namespace{}, everything, builder.WithPredicates(comesOrGoes())).
		Watches(&rbacv1.ClusterRole{}, everything).
		Watches(&rbacv1.ClusterRoleBinding{}, everything).
		Watches(&rbacv1.RoleBinding{}, everything).
		WatchesRawSource(source.Channel(news, everything)).
		Complete(r); err != nil {
		return err
	}
	named := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, object client.Object) []reconcile.Request {
		if name := principalToAsk(object); name != "" {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
		}
		return nil
	})
	return ctrl.NewControllerManagedBy(manager).Named("access-principal").
		Watches(&v1alpha1.AccessEntry{}, named, changed).
		Watches(&v1alpha1.IdentityMapping{}, named, changed).
		Complete(reconcile.Func(r.ask))
}

func repinned() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return true }, DeleteFunc: func(event.DeleteEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := statusOf(e.ObjectOld), statusOf(e.ObjectNew)
			return before != nil && after != nil && before.UserID != after.UserID ||
				(e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil)
		},
		GenericFunc: func(event.GenericEvent) bool { return true },
	}
}

func comesOrGoes() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return true }, DeleteFunc: func(event.DeleteEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return (e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil)
		},
		GenericFunc: func(event.GenericEvent) bool { return true },
	}
}

// Reconcile makes RBAC and status what all objects ask for.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	w, err := r.read(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	w.judge(&r.asked)
	made := r.bring(ctx, w)
	var news []*subject
	for _, s := range w.subjects {
		if s.describe(w, made); s.isNews() && len(news) < atOnce {
			news = append(news, s)
		}
	}
	failed := slices.DeleteFunc(
		append(each(len(news), func(i int) error { return r.say(ctx, news[i]) }), made.failed...),
		func(err error) bool { return err == nil },
	)
	r.Metrics.observe(w, made)
	return r.next(made, failed, len(news) == atOnce)
}

// next says when to look again: what has changed meanwhile soon, what failed by the
// queue's own patience, what stands in the way once in a while.
func (r *Reconciler) next(made *outcome, failed []error, more bool) (ctrl.Result, error) {
	var other []error
	for _, err := range failed {
		if !apierrors.IsConflict(err) {
			other = append(other, err)
		}
	}
	switch {
	case len(other) > 0:
		return ctrl.Result{}, errors.Join(other...)
	case len(failed) > 0 || more:
		return ctrl.Result{RequeueAfter: soon}, nil
	case made.hindered:
		return ctrl.Result{RequeueAfter: again}, nil
	}
	return ctrl.Result{}, nil
}

// world is what there is.
type world struct {
	subjects   []*subject // entries, then mappings
	namespaces *accesspolicy.Namespaces
	roles      map[string]*rbacv1.ClusterRole
	bindings   map[accesspolicy.Place]*binding
	allowed    map[v1alpha1.AccessPolicyName]bool
	flavor     accesspolicy.Flavor
}

func (r *Reconciler) read(ctx context.Context) (*world, error) {
	w := &world{
		roles: map[string]*rbacv1.ClusterRole{}, bindings: map[accesspolicy.Place]*binding{},
		allowed: map[v1alpha1.AccessPolicyName]bool{}, flavor: r.Flavor,
	}
	for _, name := range r.Allowed {
		w.allowed[name] = true
	}
	var entries v1alpha1.AccessEntryList
	var mappings v1alpha1.IdentityMappingList
	var namespaces corev1.NamespaceList
	var roles rbacv1.ClusterRoleList
	var clusterBindings rbacv1.ClusterRoleBindingList
	var bindings rbacv1.RoleBindingList
	ours := client.MatchingLabels(Labels())
	for _, list := range []struct {
		of   client.ObjectList
		only []client.ListOption
	}{
		{&entries, nil},
		{&mappings, nil},
		{&namespaces, nil},
		{&roles, []client.ListOption{ours}},
		{&clusterBindings, []client.ListOption{ours}},
		{&bindings, []client.ListOption{ours}},
	} {
		if err := r.Client.List(ctx, list.of, list.only...); err != nil {
			return nil, fmt.Errorf("list %T: %w", list.of, err)
		}
	}
	for i := range entries.Items {
		w.subjects = append(w.subjects, newEntry(&entries.Items[i]))
	}
	for i := range mappings.Items {
		w.subjects = append(w.subjects, newMapping(&mappings.Items[i]))
	}
	var names []string
	for i := range namespaces.Items {
		if namespaces.Items[i].DeletionTimestamp == nil { // nothing can be made in one that goes
			names = append(names, namespaces.Items[i].Name)
		}
	}
	w.namespaces = accesspolicy.NewNamespaces(names)
	for i := range roles.Items {
		w.roles[roles.Items[i].Name] = &roles.Items[i]
	}
	for i := range clusterBindings.Items {
		w.know(ofClusterRoleBinding(&clusterBindings.Items[i]))
	}
	for i := range bindings.Items {
		w.know(ofRoleBinding(&bindings.Items[i]))
	}
	return w, nil
}

func (w *world) know(b *binding) {
	if place, named := b.place(); named {
		w.bindings[place] = b
	}
}
