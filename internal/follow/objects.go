package follow

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/grant"
)

// Objects follows all objects of one of our kinds, in all namespaces, as one
// snapshot S. Without the kind's definition in the cluster it never syncs, so
// that a server that needs it does not become ready.
type Objects[T, S any] struct {
	*Value[S]
	watch    *Watch
	client   dynamic.Interface
	resource string
	// group is v1alpha1's if empty.
	group schema.GroupVersion
	// parse makes a T of an object. What could not be decoded must stand for an object
	// that exists and allows nothing.
	parse func(content *unstructured.Unstructured, decode func(into any) error) T
	build func([]T) S
	// with makes the snapshot after one event of the one before it; nil builds each from
	// all objects. What was or is not there is the zero T.
	with func(before S, was, is T) S
	// unchanged reports whether an object differs from what is known of it in nothing
	// that counts; nil is never.
	unchanged func(known T, content *unstructured.Unstructured) bool
	log       *slog.Logger
	// doubt is of kinds of which none at all allows more than some; nil for others.
	doubt *doubt
	// mu is held while known and changes are touched: by the reflector, and where there is
	// doubt by who clears it.
	mu    sync.Mutex
	known map[string]T // by NAMESPACE/NAME
	// told is given each change, once Current shows it; see Notify.
	told    func(Change[T])
	changes []Change[T] // not told yet
	flight  singleflight.Group
	failed  func(error) // see NotifyFailure
}

// Change is one object that was created, changed or deleted.
type Change[T any] struct {
	// Object is as it is now, or as it last was if it was deleted.
	Object  T
	Deleted bool
	// Version is the cluster's resourceVersion of the change, the same wherever
	// the objects are followed; for objects from a list it is the list's, which
	// is not before the change.
	Version string
}

// Notify reports each change to a function, one after the other. It must be
// called before Run. Objects from a list are reported as if they had just
// changed.
func (o *Objects[T, S]) Notify(told func(Change[T])) { o.told = told }

// NotifyFailure reports to a function that the objects could not be listed, as when
// their kind is no longer defined: Current stays what it was. It must be called
// before Run.
func (o *Objects[T, S]) NotifyFailure(failed func(error)) { o.failed = failed }

func (o *Objects[T, S]) kind() schema.GroupVersionResource {
	if o.group.Empty() {
		return v1alpha1.GroupVersion.WithResource(o.resource)
	}
	return o.group.WithResource(o.resource)
}

// Kind says how a kind of objects is followed by somebody who is told each change and
// keeps the objects.
type Kind[T any] struct {
	// Name is for people: "access entries".
	Name     string
	Resource schema.GroupVersionResource
	// Read makes a T of an object. It must stand for an object that exists and allows
	// nothing if decode fails.
	Read func(content *unstructured.Unstructured, decode func(into any) error) T
}

// Changes follows a kind, of which every change is told: see Notify, which must be called
// before Run.
func Changes[T any](
	client dynamic.Interface, kind Kind[T], now func() time.Time, log *slog.Logger,
) *Objects[T, struct{}] {
	return &Objects[T, struct{}]{
		Value:    NewValue(struct{}{}),
		watch:    NewWatch(kind.Name, now),
		client:   client,
		resource: kind.Resource.Resource,
		group:    kind.Resource.GroupVersion(),
		parse:    kind.Read,
		build:    func([]T) struct{} { return struct{}{} },
		with:     func(struct{}, T, T) struct{} { return struct{}{} },
		log:      log,
		known:    map[string]T{},
	}
}

// Run follows the objects until ctx is done.
func (o *Objects[T, S]) Run(ctx context.Context) error {
	objects := o.client.Resource(o.kind())
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := objects.List(ctx, options)
			if err != nil && ctx.Err() == nil {
				o.doubt.failed()
				if o.failed != nil {
					o.failed(err)
				}
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return objects.Watch(ctx, options)
		},
	}
	if o.doubt != nil {
		ctx, cancel := context.WithCancel(ctx)
		var settling sync.WaitGroup
		settling.Go(func() { o.settle(ctx) })
		defer settling.Wait()
		defer cancel()
	}
	o.watch.Run(
		ctx,
		cache.ToListWatcherWithWatchListSemantics(source, o.client),
		&unstructured.Unstructured{},
		(*objectStore[T, S])(o),
	)
	return nil
}

// Read returns the objects of one namespace as the API server has them: all that
// was written before the call, which Current does not promise. It does not
// change Current. Where none at all allows more than some, it is an error that there is
// none any more, until that is certain.
func (o *Objects[T, S]) Read(ctx context.Context, namespace string) (S, error) {
	return o.ReadBy(ctx, o.client, namespace)
}

// ReadBy is Read by another client.
func (o *Objects[T, S]) ReadBy(ctx context.Context, client dynamic.Interface, namespace string) (S, error) {
	snapshot, _, err := o.read(ctx, client, namespace)
	return snapshot, err
}

// read also says how many objects there are.
func (o *Objects[T, S]) read(ctx context.Context, client dynamic.Interface, namespace string) (S, int, error) {
	var none S
	// No resource version: the newest objects, not those of some cache.
	list, err := client.Resource(o.kind()).
		Namespace(namespace).
		List(ctx, metav1.ListOptions{})
	if err != nil {
		if ctx.Err() == nil {
			o.doubt.failed()
		}
		return none, 0, err
	}
	if !o.doubt.seen(len(list.Items)) {
		return none, 0, errDoubt
	}
	all := make([]T, 0, len(list.Items))
	for i := range list.Items {
		all = append(all, o.convert(&list.Items[i]))
	}
	return o.build(all), len(all), nil
}

// Get returns one object as the API server has it, or the zero T if it has none. API
// servers answer that from etcd, whatever was written before the call, and at once: a list
// waits for their cache of the kind to have all that was written in the cluster, up to a
// tenth of a second while there is anything.
func (o *Objects[T, S]) Get(ctx context.Context, namespace, name string) (T, error) {
	var none T
	content, err := o.client.Resource(o.kind()).
		Namespace(namespace).
		Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err):
		// The other 404 is of a kind that is not defined; it says nothing of objects.
		return none, nil
	case err != nil:
		return none, err
	}
	return o.convert(content), nil
}

// Watched is how the objects are followed.
func (o *Objects[T, S]) Watched() *Watch { return o.watch }

// ReadShared is Read, once for all who ask while it goes on: for those whose view is
// behind by far more than that takes.
func (o *Objects[T, S]) ReadShared(ctx context.Context, namespace string) (S, error) {
	answer := o.flight.DoChan(namespace, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		return o.Read(ctx, namespace)
	})
	var none S
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case shared := <-answer:
		if shared.Err != nil {
			return none, shared.Err
		}
		return shared.Val.(S), nil //nolint:forcetypeassert // what Read returns
	}
}

const readTimeout = 2 * time.Second

func (o *Objects[T, S]) convert(content *unstructured.Unstructured) T {
	return o.parse(content, func(into any) error {
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(content.Object, into)
		if err != nil {
			o.log.Error(
				"cannot read object, it allows nothing", "resource", o.resource, "name", key(content), "error", err,
			)
		}
		return err
	})
}

// objectStore is the store that the reflector fills.
type objectStore[T, S any] Objects[T, S]

// Add is an event of the watch.
func (s *objectStore[T, S]) Add(object any) error { return s.Update(object) }

// Update is an event of the watch.
func (s *objectStore[T, S]) Update(object any) error {
	content, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was, found := s.known[key(content)]
	if found && s.unchanged != nil && s.unchanged(was, content) {
		return nil
	}
	s.put(content, content.GetResourceVersion())
	s.change(was, s.known[key(content)])
	return nil
}

func (s *objectStore[T, S]) put(content *unstructured.Unstructured, version string) {
	read := (*Objects[T, S])(s).convert(content)
	s.known[key(content)] = read
	s.tell(Change[T]{Object: read, Version: version})
}

func (s *objectStore[T, S]) tell(change Change[T]) {
	if s.told != nil {
		s.changes = append(s.changes, change)
	}
}

// Delete is an event of the watch.
func (s *objectStore[T, S]) Delete(object any) error {
	content, ok := object.(metav1.Object)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, found := s.known[key(content)]; found {
		delete(s.known, key(content))
		s.tell(Change[T]{last, true, content.GetResourceVersion()})
		var none T
		s.change(last, none)
	}
	return nil
}

// Replace is a list.
func (s *objectStore[T, S]) Replace(objects []any, version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.known
	s.known = map[string]T{}
	for _, object := range objects {
		if content, ok := object.(*unstructured.Unstructured); ok {
			s.put(content, version)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, still := s.known[name]; !still {
			s.tell(Change[T]{before[name], true, version})
		}
	}
	s.publish()
	s.MarkSynced()
	return nil
}

// change publishes one event.
func (s *objectStore[T, S]) change(was, is T) {
	if s.with == nil {
		s.publish()
		return
	}
	s.show(s.with(s.Current(), was, is))
}

// publish orders by name, so that replicas give the same answer and reason. What is in
// doubt is not shown yet, nor told.
func (s *objectStore[T, S]) publish() {
	if !s.doubt.seen(len(s.known)) {
		return
	}
	if len(s.known) == 0 {
		s.doubt.cleared()
	}
	var all []T
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		all = append(all, s.known[name])
	}
	s.show(s.build(all))
}

func (s *objectStore[T, S]) show(snapshot S) {
	s.Set(snapshot)
	for _, change := range s.changes {
		s.told(change)
	}
	s.changes = nil
}

// Resync has nothing to do.
func (s *objectStore[T, S]) Resync() error { return nil }

func key(object metav1.Object) string { return object.GetNamespace() + "/" + object.GetName() }

// Grants follows the RoleGrants of a cluster; build says what none at all means. One
// that cannot be read allows nothing, but counts as existing. If all may use all when there
// is none, those known last count until it is certain that they were deleted, and not their
// definition.
func Grants(
	client dynamic.Interface, build func([]grant.Grant) *grant.Set, now func() time.Time, log *slog.Logger,
) *Objects[grant.Grant, *grant.Set] {
	none := build(nil)
	var unsure *doubt
	if none.AllowAll() {
		unsure = &doubt{now: now}
	}
	return &Objects[grant.Grant, *grant.Set]{
		Value:    NewValue(none),
		doubt:    unsure,
		watch:    NewWatch("RoleGrants", now),
		client:   client,
		resource: "rolegrants",
		build:    build,
		log:      log,
		known:    map[string]grant.Grant{},
		parse: func(content *unstructured.Unstructured, decode func(any) error) grant.Grant {
			var read v1alpha1.RoleGrant
			if decode(&read) != nil {
				read.Spec = v1alpha1.RoleGrantSpec{}
			}
			return grant.Grant{Name: content.GetName(), Spec: read.Spec}
		},
	}
}

// Associations follows the PodIdentityAssociations of a cluster. One that cannot
// be read counts as paused under its name, which is that of its service account:
// the account is not treated as one without an association.
func Associations(
	client dynamic.Interface, now func() time.Time, log *slog.Logger,
) *Objects[*v1alpha1.PodIdentityAssociation, *association.Set] {
	return &Objects[*v1alpha1.PodIdentityAssociation, *association.Set]{
		Value:    NewValue(&association.Set{}),
		watch:    NewWatch("PodIdentityAssociations", now),
		client:   client,
		resource: "podidentityassociations",
		build:    association.NewSet,
		with: func(s *association.Set, was, is *v1alpha1.PodIdentityAssociation) *association.Set {
			return s.With(was, is)
		},
		unchanged: onlyStatus,
		log:       log,
		known:     map[string]*v1alpha1.PodIdentityAssociation{},
		parse: func(content *unstructured.Unstructured, decode func(any) error) *v1alpha1.PodIdentityAssociation {
			read := &v1alpha1.PodIdentityAssociation{}
			if decode(read) != nil {
				read = &v1alpha1.PodIdentityAssociation{
					ObjectMeta: metav1.ObjectMeta{
						Namespace: content.GetNamespace(), Name: content.GetName(), UID: content.GetUID(),
						CreationTimestamp: content.GetCreationTimestamp(), Generation: content.GetGeneration(),
					},
					Spec: v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: content.GetName(), Paused: true},
				}
			}
			return read
		},
	}
}

// onlyStatus reports whether only the status of an association changed, and in it nothing
// but conditions and such: the controller writes it, and nothing that decides reads it.
// Generations count what was written of the specification.
func onlyStatus(known *v1alpha1.PodIdentityAssociation, content *unstructured.Unstructured) bool {
	if known.Generation == 0 || known.Generation != content.GetGeneration() || known.UID != content.GetUID() ||
		!known.DeletionTimestamp.Equal(content.GetDeletionTimestamp()) ||
		!maps.Equal(known.Labels, content.GetLabels()) || !maps.Equal(known.Annotations, content.GetAnnotations()) {
		return false
	}
	used, _, _ := unstructured.NestedString(content.Object, "status", "lastUsedTime")
	last := ""
	if known.Status.LastUsedTime != nil {
		last = known.Status.LastUsedTime.UTC().Format(time.RFC3339)
	}
	return used == last
}
