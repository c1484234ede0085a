// Package kubestore keeps the associations of a cluster in its API server.
//
// It needs these permissions on podidentityassociations of rolecall.io: get and list;
// create, update and delete to change them; update on podidentityassociations/status
// for UpdateStatus. It watches nothing: package follow does.
package kubestore

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

// pageSize is how many objects are asked for at once.
const pageSize = 500

// Store is an association.Store.
type Store struct{ client client.Client }

var _ association.Store = (*Store)(nil)

// New returns a store that reads what is there, not a cache: a client that has
// created an object must see it.
func New(config *rest.Config) (*Store, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	made, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fault.New(fault.Unavailable, "reach the API server: %w", err)
	}
	return &Store{made}, nil
}

// Create writes a new object.
func (s *Store) Create(
	ctx context.Context, a *v1alpha1.PodIdentityAssociation,
) (*v1alpha1.PodIdentityAssociation, error) {
	if err := association.Validate(a, false); err != nil {
		return nil, err
	}
	next := a.DeepCopy()
	next.ResourceVersion, next.UID = "", ""
	if err := s.client.Create(ctx, next); err != nil {
		return nil, classify(err, a.Namespace, a.Name)
	}
	return next, nil
}

// Get returns an object.
func (s *Store) Get(ctx context.Context, namespace, name string) (*v1alpha1.PodIdentityAssociation, error) {
	found := &v1alpha1.PodIdentityAssociation{}
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, found); err != nil {
		return nil, classify(err, namespace, name)
	}
	return found, nil
}

// Update replaces spec, labels and annotations.
func (s *Store) Update(
	ctx context.Context, a *v1alpha1.PodIdentityAssociation,
) (*v1alpha1.PodIdentityAssociation, error) {
	if err := association.Validate(a, false); err != nil {
		return nil, err
	}
	next := a.DeepCopy()
	if err := s.client.Update(ctx, next); err != nil {
		return nil, classify(err, a.Namespace, a.Name)
	}
	return next, nil
}

// UpdateStatus replaces the status.
func (s *Store) UpdateStatus(
	ctx context.Context, a *v1alpha1.PodIdentityAssociation,
) (*v1alpha1.PodIdentityAssociation, error) {
	next := a.DeepCopy()
	if err := s.client.Status().Update(ctx, next); err != nil {
		return nil, classify(err, a.Namespace, a.Name)
	}
	return next, nil
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, namespace, name, uid string) error {
	var options []client.DeleteOption
	if uid != "" {
		options = append(options, client.Preconditions{UID: new(types.UID(uid))})
	}
	object := &v1alpha1.PodIdentityAssociation{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := s.client.Delete(ctx, object, options...); err != nil {
		return classify(err, namespace, name)
	}
	return nil
}

// List returns objects in order of namespace and name.
func (s *Store) List(ctx context.Context, namespace string) ([]v1alpha1.PodIdentityAssociation, error) {
	all := []v1alpha1.PodIdentityAssociation{}
	options := &client.ListOptions{Namespace: namespace, Limit: pageSize}
	for {
		var page v1alpha1.PodIdentityAssociationList
		if err := s.client.List(ctx, &page, options); err != nil {
			return nil, classify(err, namespace, "")
		}
		all = append(all, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.PodIdentityAssociation) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return all, nil
}

// classify turns an answer of the API server into a fault that names what it is
// about.
func classify(err error, namespace, name string) error {
	what := "the associations"
	if namespace != "" {
		what = strings.TrimSuffix("association "+namespace+"/"+name, "/")
	}
	status, answered := errors.AsType[*apierrors.StatusError](err)
	switch {
	case meta.IsNoMatchError(err):
		return noKind()
	case !answered:
		return fault.New(fault.Unavailable, "%s: the API server does not answer: %w", what, err)
	}
	details := status.ErrStatus.Details
	switch code := int(status.ErrStatus.Code); {
	case code == http.StatusNotFound && details != nil && details.Kind == "namespaces":
		return fault.New(fault.NotFound, "there is no namespace %s", namespace).
			Hint("kubectl create namespace %s", namespace)
	case code == http.StatusNotFound && (details == nil || details.Name == ""):
		return noKind()
	case code == http.StatusNotFound:
		return fault.New(fault.NotFound, "there is no %s", what)
	case apierrors.IsAlreadyExists(err):
		return fault.New(fault.Conflict, "%s already exists", what)
	case code == http.StatusConflict:
		return fault.New(fault.Conflict, "%s has changed in the meantime", what).
			Hint("read it again and apply the change to what it is now")
	case code == http.StatusUnprocessableEntity || code == http.StatusBadRequest:
		return invalid(&status.ErrStatus)
	case code == http.StatusForbidden && !strings.Contains(status.ErrStatus.Message, byRBAC):
		return fault.New(fault.Denied, "%s: %w", what, err) // by admission, or by a quota
	case code == http.StatusForbidden || code == http.StatusUnauthorized:
		return fault.New(fault.Denied, "%s: %w", what, err).Hint("kubectl auth can-i --list says what you may do")
	case code == http.StatusTooManyRequests:
		return fault.New(fault.Throttled, "%s: %w", what, err)
	case code >= http.StatusInternalServerError:
		return fault.New(fault.Unavailable, "%s: %w", what, err)
	}
	return fault.New(fault.Internal, "%s: %w", what, err)
}

// byRBAC is in what an API server says of a user who may not do something.
const byRBAC = "is forbidden: User "

func noKind() error {
	return fault.New(fault.Unavailable, "the cluster does not know PodIdentityAssociations").
		Hint("apply the definitions of api/crds")
}

func invalid(status *metav1.Status) error {
	refusal := &association.Refusal{Reason: association.ErrInvalid, Message: status.Message}
	if status.Details != nil && len(status.Details.Causes) > 0 {
		first := status.Details.Causes[0]
		refusal.Message = first.Message
		if refusal.Field = first.Field; first.Field == "<nil>" { // a rule of the whole object
			refusal.Field = ""
		}
	}
	return &fault.Error{Kind: fault.Invalid, Cause: refusal}
}
