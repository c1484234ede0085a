// Package boltstore keeps the associations of a machine without a cluster, in a
// file or in memory, as an API server would: with UID, generation,
// resourceVersion and times. What changes is seen at once through Current.
//
// It has one writer, the process that opened the file, and does not know the EKS API.
package boltstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
)

// Store is an association.Store, and a follow.Source of all that is in it.
type Store struct {
	*follow.Value[*association.Set]

	now func() time.Time
	db  *bbolt.DB // nil in memory

	told    func(follow.Change[*v1alpha1.PodIdentityAssociation])
	mu      sync.Mutex
	closed  bool
	version uint64
	objects map[types.NamespacedName]*v1alpha1.PodIdentityAssociation // none is ever changed, only replaced
}

var _ association.Store = (*Store)(nil)

// Memory returns a store that keeps nothing when the process ends.
func Memory(now func() time.Time) *Store {
	s := &Store{
		Value:   follow.NewValue(&association.Set{}),
		now:     now,
		objects: map[types.NamespacedName]*v1alpha1.PodIdentityAssociation{},
	}
	s.MarkSynced()
	return s
}

// Notify reports each change to a function, in order, and first all existing
// objects. It must be called before anything is written; the function must not
// call the store.
func (s *Store) Notify(told func(follow.Change[*v1alpha1.PodIdentityAssociation])) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = told
	for _, one := range s.all() {
		told(follow.Change[*v1alpha1.PodIdentityAssociation]{Object: one, Version: one.ResourceVersion})
	}
}

// Create writes a new object.
func (s *Store) Create(
	ctx context.Context, a *v1alpha1.PodIdentityAssociation,
) (*v1alpha1.PodIdentityAssociation, error) {
	next := a.DeepCopy()
	association.Default(next)
	if err := association.Validate(next, false); err != nil {
		return nil, err
	}
	return s.write(
		ctx,
		name(a),
		func(current *v1alpha1.PodIdentityAssociation) (*v1alpha1.PodIdentityAssociation, error) {
			if current != nil {
				return nil, fault.New(fault.Conflict, "association %s already exists", name(a))
			}
			next.ObjectMeta = metav1.ObjectMeta{
				Namespace:         a.Namespace,
				Name:              a.Name,
				Labels:            maps.Clone(a.Labels),
				Annotations:       maps.Clone(a.Annotations),
				UID:               uuid.NewUUID(),
				Generation:        1,
				CreationTimestamp: s.time(),
				ManagedFields:     s.managed(),
			}
			next.Status = v1alpha1.PodIdentityAssociationStatus{}
			return next, nil
		},
	)
}

// Get returns an object.
func (s *Store) Get(ctx context.Context, namespace, account string) (*v1alpha1.PodIdentityAssociation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	key := types.NamespacedName{Namespace: namespace, Name: account}
	if found := s.objects[key]; found != nil {
		return found.DeepCopy(), nil
	}
	return nil, notFound(key)
}

// Update replaces spec, labels and annotations.
func (s *Store) Update(
	ctx context.Context, a *v1alpha1.PodIdentityAssociation,
) (*v1alpha1.PodIdentityAssociation, error) {
	wanted := a.DeepCopy()
	association.Default(wanted)
	if err := association.Validate(wanted, false); err != nil {
		return nil, err
	}
	return s.change(ctx, a, func(current, next *v1alpha1.PodIdentityAssociation) error {
		if current.Spec.ServiceAccountName != wanted.Spec.ServiceAccountName {
			return fault.New(fault.Invalid, "association %s: spec.serviceAccountName cannot be changed", name(a)).
				Hint("delete the association and create another")
		}
		next.Labels, next.Annotations, next.Spec = wanted.Labels, wanted.Annotations, wanted.Spec
		if same, err := equal(current.Spec, next.Spec); err != nil || same {
			return err
		}
		next.Generation++
		next.ManagedFields = s.managed()
		return nil
	})
}

// UpdateStatus replaces the status.
func (s *Store) UpdateStatus(
	ctx context.Context, a *v1alpha1.PodIdentityAssociation,
) (*v1alpha1.PodIdentityAssociation, error) {
	return s.change(ctx, a, func(_, next *v1alpha1.PodIdentityAssociation) error {
		next.Status = *a.Status.DeepCopy()
		return nil
	})
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, namespace, account, uid string) error {
	key := types.NamespacedName{Namespace: namespace, Name: account}
	_, err := s.write(
		ctx,
		key,
		func(current *v1alpha1.PodIdentityAssociation) (*v1alpha1.PodIdentityAssociation, error) {
			switch {
			case current == nil:
				return nil, notFound(key)
			case uid != "" && uid != string(current.UID):
				return nil, fault.New(fault.Conflict, "association %s has been deleted and created again", key)
			}
			return nil, nil
		},
	)
	return err
}

// List returns objects in order of namespace and name.
func (s *Store) List(ctx context.Context, namespace string) ([]v1alpha1.PodIdentityAssociation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	list := []v1alpha1.PodIdentityAssociation{}
	for _, key := range slices.SortedFunc(maps.Keys(s.objects), compare) {
		if namespace == "" || key.Namespace == namespace {
			list = append(list, *s.objects[key].DeepCopy())
		}
	}
	return list, nil
}

func compare(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// change is write for an object that is there and still is what was read.
func (s *Store) change(
	ctx context.Context,
	a *v1alpha1.PodIdentityAssociation,
	apply func(current, next *v1alpha1.PodIdentityAssociation) error,
) (*v1alpha1.PodIdentityAssociation, error) {
	return s.write(
		ctx,
		name(a),
		func(current *v1alpha1.PodIdentityAssociation) (*v1alpha1.PodIdentityAssociation, error) {
			switch {
			case current == nil:
				return nil, notFound(name(a))
			case a.ResourceVersion == "":
				return nil, fault.New(
					fault.Invalid, "association %s: a change needs the resourceVersion that was read", name(a),
				)
			case a.ResourceVersion != current.ResourceVersion || a.UID != "" && a.UID != current.UID:
				return nil, fault.New(fault.Conflict, "association %s has changed in the meantime", name(a)).
					Hint("read it again and apply the change to what it is now")
			}
			next := current.DeepCopy()
			if err := apply(current, next); err != nil {
				return nil, err
			}
			return next, nil
		},
	)
}

// write replaces one object by what decide makes of it; nil deletes it.
func (s *Store) write(
	ctx context.Context,
	key types.NamespacedName,
	decide func(current *v1alpha1.PodIdentityAssociation) (*v1alpha1.PodIdentityAssociation, error),
) (*v1alpha1.PodIdentityAssociation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	current := s.objects[key]
	next, err := decide(current)
	if err != nil {
		return nil, err
	}
	if next != nil {
		if next, err = s.stored(current, next); err != nil || next == current {
			return next.DeepCopy(), err
		}
	}
	if err := s.persist(key, next); err != nil {
		return nil, err
	}
	s.version++
	if next == nil {
		delete(s.objects, key)
	} else {
		s.objects[key] = next
	}
	s.Set(association.NewSet(s.all()))
	if s.told != nil {
		s.told(follow.Change[*v1alpha1.PodIdentityAssociation]{
			Object:  cmp.Or(next, current),
			Deleted: next == nil,
			Version: strconv.FormatUint(s.version, 10),
		})
	}
	return next.DeepCopy(), nil
}

// stored is the object as it would be read back; current if nothing changes.
func (s *Store) stored(current, next *v1alpha1.PodIdentityAssociation) (*v1alpha1.PodIdentityAssociation, error) {
	next.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "PodIdentityAssociation"}
	if same, err := equal(current, next); err != nil || same {
		return current, err
	}
	next.ResourceVersion = strconv.FormatUint(s.version+1, 10)
	text, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	read := &v1alpha1.PodIdentityAssociation{}
	return read, json.Unmarshal(text, read)
}

// equal compares as an API server does: what is written, not how it is held.
func equal(a, b any) (bool, error) {
	first, err := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return string(first) == string(second), errors.Join(err, err2)
}

func (s *Store) all() []*v1alpha1.PodIdentityAssociation {
	all := make([]*v1alpha1.PodIdentityAssociation, 0, len(s.objects))
	for _, key := range slices.SortedFunc(maps.Keys(s.objects), compare) {
		all = append(all, s.objects[key])
	}
	return all
}

// time is now, to the second, as API servers keep it.
func (s *Store) time() metav1.Time { return metav1.NewTime(s.now().UTC().Truncate(time.Second)) }

// managed says when the spec was written; association.Modified reads it.
func (s *Store) managed() []metav1.ManagedFieldsEntry {
	at := s.time()
	return []metav1.ManagedFieldsEntry{{
		Manager:    "rolecall",
		Operation:  metav1.ManagedFieldsOperationUpdate,
		APIVersion: v1alpha1.GroupVersion.String(),
		Time:       &at,
		FieldsType: "FieldsV1",
		FieldsV1:   metav1.NewFieldsV1(`{"f:spec":{}}`),
	}}
}

func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, "the store of associations was not asked: %w", err)
	}
	if s.closed {
		return fault.New(fault.Unavailable, "the store of associations is closed")
	}
	return nil
}

func name(a *v1alpha1.PodIdentityAssociation) types.NamespacedName {
	return types.NamespacedName{Namespace: a.Namespace, Name: a.Name}
}

func notFound(key types.NamespacedName) error {
	return fault.New(fault.NotFound, "there is no association %s", key)
}
