package access

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access/accesspolicy"
	"github.com/rolecall/rolecall/internal/fault"
)

// outcome is what became of what was wanted.
type outcome struct {
	// places are those where a policy could not be bound, and why.
	places map[accesspolicy.Place]error
	// failed may be another time; hindered is what only somebody else can change.
	failed   []error
	hindered bool
	bound    int
}

// foreign is an object in our place that is not ours: it is never touched.
type foreign struct{ what string }

// Error says which.
func (f *foreign) Error() string {
	return f.what + " is not one of Rolecall's: it has no label app.kubernetes.io/managed-by=rolecall"
}

// fail notes an error about some of what is wanted.
func (o *outcome) fail(err error, places ...accesspolicy.Place) error {
	for _, place := range places {
		o.places[place] = err
	}
	if _, standsInTheWay := err.(*foreign); standsInTheWay || apierrors.IsForbidden(err) { //nolint:errorlint // neither is wrapped
		o.hindered = true
	} else {
		o.failed = append(o.failed, err)
	}
	return err
}

// bring makes the objects of RBAC what the entries ask for. What nobody asks for goes
// first.
func (r *Reconciler) bring(ctx context.Context, w *world) *outcome {
	o := &outcome{places: map[accesspolicy.Place]error{}}
	wanted := accesspolicy.Compile(w.grants(), w.namespaces)
	byPolicy := map[v1alpha1.AccessPolicyName][]accesspolicy.Place{}
	for _, place := range slices.SortedFunc(maps.Keys(wanted), accesspolicy.Compare) {
		byPolicy[place.Policy] = append(byPolicy[place.Policy], place)
	}
	var idle []client.Object
	for place, b := range w.bindings {
		if wanted[place] == nil {
			idle = append(idle, b.object)
		}
	}
	r.remove(ctx, o, idle...)
	var jobs []job
	roles := map[string]bool{}
	for _, policy := range slices.Sorted(maps.Keys(byPolicy)) {
		places := byPolicy[policy]
		role, own := accesspolicy.RoleOf(policy, w.flavor)
		if own {
			roles[role] = true
			if err := r.ensureRole(ctx, w, policy); err != nil {
				r.withoutRole(ctx, w, o, o.fail(err, places...), places)
				continue
			}
		}
		found, err := r.have(ctx, w, places)
		if err != nil {
			_ = o.fail(err, places...)
			continue
		}
		for i, place := range places {
			jobs = append(jobs, job{place, role, found[i], subjectsOf(wanted[place])})
		}
	}
	r.bind(ctx, o, jobs)
	for name, role := range w.roles {
		if _, ours := (&binding{object: role}).place(); ours && !roles[name] {
			r.remove(ctx, o, role)
		}
	}
	return o
}

// withoutRole takes bindings out that would bind to a ClusterRole of somebody else. If
// ours could not be made or fixed for now they stay.
func (r *Reconciler) withoutRole(
	ctx context.Context, w *world, o *outcome, err error, places []accesspolicy.Place,
) {
	if _, theirs := err.(*foreign); !theirs { //nolint:errorlint // it is not wrapped
		return
	}
	var idle []client.Object
	for _, place := range places {
		if b := w.bindings[place]; b != nil {
			idle = append(idle, b.object)
		}
	}
	r.remove(ctx, o, idle...)
}

func (r *Reconciler) remove(ctx context.Context, o *outcome, objects ...client.Object) {
	for i, err := range each(len(objects), func(i int) error {
		return client.IgnoreNotFound(r.Client.Delete(ctx, objects[i], only(objects[i])))
	}) {
		if err != nil {
			r.Log.Error("not removed, though no access entry asks for it", "object", named(objects[i]), "error", err)
			_ = o.fail(err)
		} else {
			r.Log.Info("removed what no access entry asks for", "object", named(objects[i]))
		}
	}
}

// each does something n times, some at a time: what a change asks for in hundreds of
// namespaces is to count at once.
func each(n int, do func(int) error) []error {
	const together = 8
	failed := make([]error, n)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, together) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				failed[i] = do(i)
			}
		})
	}
	all.Wait()
	return failed
}

// named is an object in people's words.
func named(object client.Object) string {
	kind := "ClusterRole"
	switch object.(type) {
	case *rbacv1.ClusterRoleBinding:
		kind = "ClusterRoleBinding"
	case *rbacv1.RoleBinding:
		return "RoleBinding " + object.GetNamespace() + "/" + object.GetName()
	}
	return kind + " " + object.GetName()
}

// ensureRole makes a policy's ClusterRole, or fixes it.
func (r *Reconciler) ensureRole(ctx context.Context, w *world, name v1alpha1.AccessPolicyName) error {
	policy, known := accesspolicy.Lookup(name)
	if !known {
		return fault.New(fault.Internal, "access policy %s is not known", name)
	}
	role := w.roles[accesspolicy.ObjectName(name)]
	if role == nil {
		role = &rbacv1.ClusterRole{}
		err := r.Live.Get(ctx, client.ObjectKey{Name: accesspolicy.ObjectName(name)}, role)
		switch {
		case apierrors.IsNotFound(err):
			return r.Client.Apply(ctx, roleToMake(policy), client.FieldOwner(owner))
		case err != nil:
			return err
		case !isOurs(role):
			return &foreign{named(role)}
		}
	}
	rules := rulesOf(policy)
	if hasRules(role, rules) {
		return nil
	}
	fixed := role.DeepCopy()
	fixed.Rules, fixed.AggregationRule = rules, nil
	r.Log.Warn("fixed: it had other rules than its access policy", "object", named(role))
	return r.Client.Update(ctx, fixed, client.FieldOwner(owner))
}

// job is one binding to look at.
type job struct {
	place    accesspolicy.Place
	role     string
	have     *binding // nil if there is none
	subjects []rbacv1.Subject
}

// have are the bindings that there are in places of one policy.
func (r *Reconciler) have(ctx context.Context, w *world, places []accesspolicy.Place) ([]*binding, error) {
	found := make([]*binding, len(places))
	var live map[accesspolicy.Place]*binding
	for i, place := range places {
		if found[i] = w.bindings[place]; found[i] != nil {
			continue
		}
		if live == nil {
			var err error
			if live, err = r.named(ctx, place.Policy); err != nil {
				return nil, err
			}
		}
		found[i] = live[place]
	}
	return found, nil
}

// bind makes bindings, or fixes them: those of the cluster first, each of which is the
// rights of somebody everywhere.
func (r *Reconciler) bind(ctx context.Context, o *outcome, jobs []job) {
	slices.SortFunc(jobs, func(a, b job) int { return accesspolicy.Compare(a.place, b.place) })
	for i, err := range each(len(jobs), func(i int) error { return r.ensureBinding(ctx, &jobs[i]) }) {
		if err != nil {
			_ = o.fail(err, jobs[i].place)
		} else {
			o.bound++
		}
	}
}

// named are all bindings of a policy's name, ours and those of others.
func (r *Reconciler) named(
	ctx context.Context, policy v1alpha1.AccessPolicyName,
) (map[accesspolicy.Place]*binding, error) {
	name := accesspolicy.ObjectName(policy)
	found := map[accesspolicy.Place]*binding{}
	var everywhere rbacv1.ClusterRoleBinding
	switch err := r.Live.Get(ctx, client.ObjectKey{Name: name}, &everywhere); {
	case err == nil:
		found[accesspolicy.Place{Policy: policy}] = ofClusterRoleBinding(&everywhere)
	case !apierrors.IsNotFound(err):
		return nil, err
	}
	var list rbacv1.RoleBindingList
	if err := r.Live.List(ctx, &list, client.MatchingFields{"metadata.name": name}); err != nil {
		return nil, err
	}
	for i := range list.Items {
		place := accesspolicy.Place{Policy: policy, Namespace: list.Items[i].Namespace}
		found[place] = ofRoleBinding(&list.Items[i])
	}
	return found, nil
}

func (r *Reconciler) ensureBinding(ctx context.Context, j *job) error {
	have := j.have
	switch {
	case have != nil && !isOurs(have.object):
		return &foreign{named(have.object)}
	case have != nil && *have.role != roleRef(j.role): // which cannot be changed
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, have.object, only(have.object))); err != nil {
			return err
		}
		r.Log.Warn("made again: it bound another role", "object", named(have.object), "role", have.role.Name)
	case have != nil && have.is(j.subjects):
		return nil
	case have != nil:
		fixed := have.object.DeepCopyObject().(client.Object)
		switch b := fixed.(type) {
		case *rbacv1.ClusterRoleBinding:
			b.Subjects = j.subjects
		case *rbacv1.RoleBinding:
			b.Subjects = j.subjects
		}
		return r.Client.Update(ctx, fixed, client.FieldOwner(owner))
	}
	err := r.Client.Apply(ctx, bindingToMake(j.place, j.role, j.subjects), client.FieldOwner(owner))
	if apierrors.IsNotFound(err) { // the namespace is gone; its event is on the way
		return fmt.Errorf("namespace %s: %w", j.place.Namespace, err)
	}
	return err
}
