package sources

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/objects"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
)

// Follower follows one source until ctx is done.
type Follower interface {
	Run(ctx context.Context) error
	Watched() *follow.Watch
}

// settle is how long changes are gathered before the mappings are made again: many at once
// cost as much as one.
const settle = 50 * time.Millisecond

// kind is a source of objects.
type kind[T any] struct {
	*follow.Objects[T, struct{}]
	set    *Set
	source access.Source
	read   func([]T) ([]access.Mapping, []access.Problem)
	name   func(T) string
	// optional: without the kind's definition in the cluster there are no objects.
	optional  bool
	resource  string
	forbidden sync.Once // that it may not be read was said

	mu    sync.Mutex
	known map[string]T
	dirty chan struct{}
}

func follows[T any](
	set *Set, client dynamic.Interface, k follow.Kind[T], source access.Source, optional bool,
	name func(T) string, read func([]T) ([]access.Mapping, []access.Problem),
) *kind[T] {
	one := &kind[T]{
		Objects: follow.Changes(client, k, set.now, set.log), set: set, source: source, read: read, name: name,
		optional: optional, resource: k.Resource.GroupResource().String(), known: map[string]T{},
		dirty: make(chan struct{}, 1),
	}
	one.Notify(one.changed)
	one.NotifyFailure(one.failed)
	return one
}

func (k *kind[T]) changed(change follow.Change[T]) {
	k.mu.Lock()
	if change.Deleted {
		delete(k.known, k.name(change.Object))
	} else {
		k.known[k.name(change.Object)] = change.Object
	}
	k.mu.Unlock()
	k.wake()
}

func (k *kind[T]) wake() {
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// failed takes why the objects could not be listed.
func (k *kind[T]) failed(err error) {
	switch {
	case (apierrors.IsNotFound(err) || apierrors.IsForbidden(err)) && k.optional:
		// No definition, no objects: nobody waits for them. They are looked for all the same.
		k.mu.Lock()
		empty := len(k.known) == 0
		k.mu.Unlock()
		if empty {
			k.set.put(k.source, nil, nil, true)
		}
		if apierrors.IsForbidden(err) {
			k.forbidden.Do(func() {
				k.set.log.Warn("kind may not be read: its objects do not count", "resource", k.resource, "error", err)
			})
		}
	case apierrors.IsNotFound(err):
		k.set.fail(k.source, fault.New(fault.NotFound, "the cluster has no %s", k.resource).
			Hint("install the definition (CRD) of %s, or take %s out of --backend-mode", k.resource, k.source))
	case apierrors.IsForbidden(err):
		k.set.fail(k.source, fault.New(fault.Denied, "%s may not be listed and watched: %w", k.resource, err).
			Hint("let the server's identity get, list and watch %s", k.resource))
	default:
		k.set.fail(k.source, err)
	}
}

// Run follows the objects until ctx is done.
func (k *kind[T]) Run(ctx context.Context) error {
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { _ = k.Objects.Run(ctx) }) // it has no other end than ctx's
	say := k.set.teller()
	synced := k.Synced()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-synced:
			synced = nil
		case <-k.dirty:
		}
		select {
		case <-k.Synced():
		default:
			continue // the first list is not complete
		}
		timer := time.NewTimer(settle)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		k.mu.Lock()
		all := slices.Collect(maps.Values(k.known))
		k.mu.Unlock()
		mappings, problems := k.read(all)
		table := k.set.put(k.source, mappings, problems, true)
		say.tell(k.source, table)
		k.set.good(k.source, "")
	}
}

// decoded reads an object of one of our kinds; one that cannot be read keeps its name, and
// maps nobody.
func decoded[T any](meta func(*T) *metav1.ObjectMeta) func(*unstructured.Unstructured, func(any) error) *T {
	return func(content *unstructured.Unstructured, decode func(any) error) *T {
		read := new(T)
		if decode(read) != nil {
			read = new(T)
		}
		meta(read).Name = content.GetName()
		return read
	}
}

// AccessEntries follows the AccessEntries of a cluster. Of each of our kinds optional says
// that a cluster without its definition has none.
func (s *Set) AccessEntries(client dynamic.Interface, optional bool) Follower {
	return follows(s, client, follow.Kind[*v1alpha1.AccessEntry]{
		Name: "AccessEntries", Resource: v1alpha1.GroupVersion.WithResource("accessentries"),
		Read: decoded(func(o *v1alpha1.AccessEntry) *metav1.ObjectMeta { return &o.ObjectMeta }),
	}, access.AccessEntry, optional, (*v1alpha1.AccessEntry).GetName, objects.AccessEntries)
}

// IdentityMappings follows the IdentityMappings of a cluster.
func (s *Set) IdentityMappings(client dynamic.Interface, optional bool) Follower {
	return follows(s, client, follow.Kind[*v1alpha1.IdentityMapping]{
		Name: "IdentityMappings", Resource: v1alpha1.GroupVersion.WithResource("identitymappings"),
		Read: decoded(func(o *v1alpha1.IdentityMapping) *metav1.ObjectMeta { return &o.ObjectMeta }),
	}, access.IdentityMapping, optional, (*v1alpha1.IdentityMapping).GetName, objects.IdentityMappings)
}

// GroupMappings follows the GroupMappings of a cluster.
func (s *Set) GroupMappings(client dynamic.Interface, optional bool) Follower {
	return follows(s, client, follow.Kind[*v1alpha1.GroupMapping]{
		Name: "GroupMappings", Resource: v1alpha1.GroupVersion.WithResource("groupmappings"),
		Read: decoded(func(o *v1alpha1.GroupMapping) *metav1.ObjectMeta { return &o.ObjectMeta }),
	}, access.GroupMapping, optional, (*v1alpha1.GroupMapping).GetName, objects.GroupMappings)
}

// PeerKind are the objects of aws-iam-authenticator.
var PeerKind = schema.GroupVersionResource{
	Group: "iamauthenticator.k8s.aws", Version: "v1alpha1", Resource: "iamidentitymappings",
}

// PeerMappings follows the IAMIdentityMappings of a cluster, as mode CRD does. What their
// status says does not count.
func (s *Set) PeerMappings(client dynamic.Interface) Follower {
	return follows(s, client, follow.Kind[objects.PeerMapping]{
		Name: "IAMIdentityMappings", Resource: PeerKind,
		Read: func(content *unstructured.Unstructured, _ func(any) error) objects.PeerMapping {
			read, ok := objects.ReadPeer(content.Object)
			if !ok {
				read = objects.PeerMapping{Name: content.GetName()} // about nobody, which is told
			}
			return read
		},
	}, access.CRD, false, func(o objects.PeerMapping) string { return o.Name }, objects.Peers)
}
