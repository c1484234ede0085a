package missed

import (
	"sync"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

type assoc = v1alpha1.PodIdentityAssociation

// store gives a reflector's objects to functions, which are called with a lock held.
type store struct {
	lock      sync.Locker
	put, drop func(any)
	// clear forgets all; what there is follows.
	clear func()
}

// Add is an event of the watch.
func (s store) Add(object any) error { return s.Update(object) }

// Update is an event of the watch.
func (s store) Update(object any) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.put(object)
	return nil
}

// Delete is an event of the watch.
func (s store) Delete(object any) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.drop(object)
	return nil
}

// Replace is a list.
func (s store) Replace(objects []any, _ string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.clear()
	for _, object := range objects {
		s.put(object)
	}
	return nil
}

// Resync has nothing to do.
func (s store) Resync() error { return nil }
