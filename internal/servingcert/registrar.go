package servingcert

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
)

// Registrar keeps the caBundle of webhook configurations, and creates those that
// are not there. Everything else of one that is there is left to its owner.
type Registrar struct {
	Client kubernetes.Interface
	// Mutating and Validating are what is created; their names find those that are
	// there. Nil keeps none of the kind.
	Mutating   *admissionregistrationv1.MutatingWebhookConfiguration
	Validating *admissionregistrationv1.ValidatingWebhookConfiguration
}

// Registrations are configurations as they were at one time. A bundle that is
// read after them is never older than what they hold: if anybody wrote one of them
// since, Put fails with a conflict rather than write an older bundle over a newer
// one.
type Registrations struct{ puts []put }

// put gives one configuration, as it was read, a bundle.
type put func(ctx context.Context, bundle []byte) (written string, err error)

// Current reads the configurations.
func (r *Registrar) Current(ctx context.Context) (*Registrations, error) {
	var current Registrations
	for _, k := range r.kept() {
		one, err := k.current(ctx)
		if err != nil {
			return nil, err
		}
		current.puts = append(current.puts, one)
	}
	return &current, nil
}

// Put gives all webhooks of all configurations the bundle, and names those that it
// wrote. One that cannot be written does not keep it from the others.
func (r *Registrations) Put(ctx context.Context, bundle []byte) (written []string, err error) {
	for _, one := range r.puts {
		name, failed := one(ctx, bundle)
		if name != "" {
			written = append(written, name)
		}
		err = errors.Join(err, failed)
	}
	return written, err
}

// kept is one configuration, of either kind.
type kept interface {
	current(ctx context.Context) (put, error)
	// watch rings when it changes, until ctx is done.
	watch(ctx context.Context, client kubernetes.Interface, changed chan<- struct{})
}

func (r *Registrar) kept() []kept {
	var all []kept
	api := r.Client.AdmissionregistrationV1()
	if r.Mutating != nil {
		all = append(all, &configuration[
			*admissionregistrationv1.MutatingWebhookConfiguration,
			*admissionregistrationv1.MutatingWebhookConfigurationList,
		]{
			"MutatingWebhookConfiguration", api.MutatingWebhookConfigurations(), r.Mutating,
			func(
				c *admissionregistrationv1.MutatingWebhookConfiguration,
			) (clients []*admissionregistrationv1.WebhookClientConfig) {
				for i := range c.Webhooks {
					clients = append(clients, &c.Webhooks[i].ClientConfig)
				}
				return clients
			},
		})
	}
	if r.Validating != nil {
		all = append(all, &configuration[
			*admissionregistrationv1.ValidatingWebhookConfiguration,
			*admissionregistrationv1.ValidatingWebhookConfigurationList,
		]{
			"ValidatingWebhookConfiguration", api.ValidatingWebhookConfigurations(), r.Validating,
			func(
				c *admissionregistrationv1.ValidatingWebhookConfiguration,
			) (clients []*admissionregistrationv1.WebhookClientConfig) {
				for i := range c.Webhooks {
					clients = append(clients, &c.Webhooks[i].ClientConfig)
				}
				return clients
			},
		})
	}
	return all
}

// registered is an object of either kind, T.
type registered[T any] interface {
	runtime.Object
	metav1.Object
	DeepCopy() T
}

// api is the client of either kind; L is its list.
type api[T, L any] interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (T, error)
	Create(ctx context.Context, object T, options metav1.CreateOptions) (T, error)
	Update(ctx context.Context, object T, options metav1.UpdateOptions) (T, error)
	lister[L]
}

type configuration[T registered[T], L runtime.Object] struct {
	kind    string
	api     api[T, L]
	wanted  T
	clients func(T) []*admissionregistrationv1.WebhookClientConfig
}

func (c *configuration[T, L]) String() string { return c.kind + " " + c.wanted.GetName() }

func (c *configuration[T, L]) current(ctx context.Context) (put, error) {
	current, err := c.api.Get(ctx, c.wanted.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return c.create, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", c, err)
	}
	return func(ctx context.Context, bundle []byte) (string, error) { return c.update(ctx, current, bundle) }, nil
}

func (c *configuration[T, L]) create(ctx context.Context, bundle []byte) (written string, err error) {
	created := c.wanted.DeepCopy()
	c.setBundle(created, bundle)
	if _, err := c.api.Create(ctx, created, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("create %s: %w", c, err)
	}
	return c.String(), nil
}

func (c *configuration[T, L]) update(ctx context.Context, current T, bundle []byte) (written string, err error) {
	updated := current.DeepCopy()
	if !c.setBundle(updated, bundle) {
		return "", nil
	}
	if _, err := c.api.Update(ctx, updated, metav1.UpdateOptions{}); err != nil {
		return "", fmt.Errorf("update %s: %w", c, err)
	}
	return c.String(), nil
}

func (c *configuration[T, L]) setBundle(object T, bundle []byte) (changed bool) {
	for _, client := range c.clients(object) {
		if !bytes.Equal(client.CABundle, bundle) {
			client.CABundle, changed = bundle, true
		}
	}
	return changed
}

func (c *configuration[T, L]) watch(ctx context.Context, client kubernetes.Interface, changed chan<- struct{}) {
	watchOne(ctx, client, c.api, c.wanted.GetName(), c.wanted, changed)
}
