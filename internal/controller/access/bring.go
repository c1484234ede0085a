package access

import (
	"context"
	"fmt"
	"maps"
	"slices"

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
	for place, b := range w.bindings {
		if wanted[place] == nil {
			r.remove(ctx, o, b.object)
		}
	}
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
		r.bind(ctx, w, o, role, places, wanted)
	}
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
	for _, place := range places {
		if b := w.bindings[place]; b != nil {
			r.remove(ctx, o, b.object)
		}
	}
}

func (r *Reconciler) remove(ctx context.Context, o *outcome, object client.Object) {
	err := client.IgnoreNotFound(r.Client.Delete(ctx, object, only(object)))
	if err != nil {
		r.Log.Error("not removed, though no access entry asks for it", "object", named(object), "error", err)
		_ = o.fail(err)
		return
	}
	r.Log.Info("removed what no access entry asks for", "object", named(object))
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

// bind makes the bindings of one policy, or fixes them.
func (r *Reconciler) bind(
	ctx context.Context, w *world, o *outcome, role string, places []accesspolicy.Place,
	wanted map[accesspolicy.Place][]string,
) {
	var live map[accesspolicy.Place]*binding
	for _, place := range places {
		have := w.bindings[place]
		if have == nil {
			if live == nil {
				var err error
				if live, err = r.named(ctx, place.Policy); err != nil {
					_ = o.fail(err, places...)
					return
				}
			}
			have = live[place]
		}
		if err := r.ensureBinding(ctx, place, role, have, subjectsOf(wanted[place])); err != nil {
			_ = o.fail(err, place)
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

func (r *Reconciler) ensureBinding(
	ctx context.Context, place accesspolicy.Place, role string, have *binding, subjects []rbacv1.Subject,
) error {
	switch {
	case have != nil && !isOurs(have.object):
		return &foreign{named(have.object)}
	case have != nil && *have.role != roleRef(role): // which cannot be changed
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, have.object, only(have.object))); err != nil {
			return err
		}
		r.Log.Warn("made again: it bound another role", "object", named(have.object), "role", have.role.Name)
	case have != nil && have.is(subjects):
		return nil
	case have != nil:
		fixed := have.object.DeepCopyObject().(client.Object)
		switch b := fixed.(type) {
		case *rbacv1.ClusterRoleBinding:
			b.Subjects = subjects
		case *rbacv1.RoleBinding:
			b.Subjects = subjects
		}
		return r.Client.Update(ctx, fixed, client.FieldOwner(owner))
	}
	err := r.Client.Apply(ctx, bindingToMake(place, role, subjects), client.FieldOwner(owner))
	if apierrors.IsNotFound(err) { // the namespace is gone; its event is on the way
		return fmt.Errorf("namespace %s: %w", place.Namespace, err)
	}
	return err
}
