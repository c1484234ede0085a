package association

import (
	"context"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// Store keeps the associations of one cluster. Implementations: Kubernetes
// (package kubestore) and the embedded database (package boltstore), which keeps
// UID, generation, resourceVersion and times as an API server does. One contract
// test holds for both.
//
// Errors are faults: NotFound; Conflict for a second association of an account
// and for a write with an outdated resourceVersion; Invalid for what the rules of
// the kind refuse; Unavailable when the store cannot be reached. What is returned
// belongs to the caller.
type Store interface {
	// Create writes a new object and returns it as written.
	Create(ctx context.Context, a *v1alpha1.PodIdentityAssociation) (*v1alpha1.PodIdentityAssociation, error)
	// Get returns the object of this namespace and name.
	Get(ctx context.Context, namespace, name string) (*v1alpha1.PodIdentityAssociation, error)
	// Update replaces spec, labels and annotations, and counts the generation up
	// if the spec changed.
	Update(ctx context.Context, a *v1alpha1.PodIdentityAssociation) (*v1alpha1.PodIdentityAssociation, error)
	// UpdateStatus replaces the status only.
	UpdateStatus(ctx context.Context, a *v1alpha1.PodIdentityAssociation) (*v1alpha1.PodIdentityAssociation, error)
	// Delete removes the object if it still has this UID; an empty UID means any.
	Delete(ctx context.Context, namespace, name, uid string) error
	// List returns all objects of a namespace, of all if it is empty, in order of
	// namespace and name.
	List(ctx context.Context, namespace string) ([]v1alpha1.PodIdentityAssociation, error)
}
