package servingcert

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
)

// Registrar tells the bundle to those who verify certificates: it keeps the
// caBundle of webhook configurations, and ca.crt of a ConfigMap that clients
// mount, and creates those that are not there. Everything else of one that is
// there is left to its owner.
//
// Clients must not mount the Secret for that: a node may read the whole of each
// object that one of its pods mounts an item of, and the Secret has keys.
type Registrar struct {
	Client kubernetes.Interface
	// Mutating, Validating and ConfigMap are what is created; their names find
	// those that are there. Nil keeps none of the kind.
	Mutating   *admissionregistrationv1.MutatingWebhookConfiguration
	Validating *admissionregistrationv1.ValidatingWebhookConfiguration
	ConfigMap  *corev1.ConfigMap
}

// Registrations are configurations and ConfigMaps as they were at one time. A bundle that is
// read after them is never older than what they hold: if anybody wrote one of them
// since, Put fails with a conflict rather than write an older bundle over a newer
// one.
type Registrations struct{ puts []put }

// put gives one of them, as it was read, a bundle.
type put func(ctx context.Context, bundle []byte) (written string, err error)

// Current reads them.
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

// Put gives all of them the bundle, and names those that it wrote. One that cannot be written does not keep it from the others.
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

// kept is one configuration or ConfigMap.
type kept interface {
	current(ctx context.Context) (put, error)
	// watch rings when it changes, until ctx is done.
	watch(ctx context.Context, client kubernetes.Interface, changed chan<- struct{})
}

func (r *Registrar) kept() []kept {
	var all []kept
	api := r.Client.AdmissionregistrationV1()
	if r.Mutating != nil {
		all = append(all, &object[
			*admissionregistrationv1.MutatingWebhookConfiguration,
			*admissionregistrationv1.MutatingWebhookConfigurationList,
		]{
			"MutatingWebhookConfiguration", api.MutatingWebhookConfigurations(), r.Mutating,
			func(c *admissionregistrationv1.MutatingWebhookConfiguration, bundle []byte) (changed bool) {
				for i := range c.Webhooks {
					changed = setBundle(&c.Webhooks[i].ClientConfig, bundle) || changed
				}
				return changed
			},
		})
	}
	if r.Validating != nil {
		all = append(all, &object[
			*admissionregistrationv1.ValidatingWebhookConfiguration,
			*admissionregistrationv1.ValidatingWebhookConfigurationList,
		]{
			"ValidatingWebhookConfiguration", api.ValidatingWebhookConfigurations(), r.Validating,
			func(c *admissionregistrationv1.ValidatingWebhookConfiguration, bundle []byte) (changed bool) {
				for i := range c.Webhooks {
					changed = setBundle(&c.Webhooks[i].ClientConfig, bundle) || changed
				}
				return changed
			},
		})
	}
	if r.ConfigMap != nil {
		all = append(all, &object[*corev1.ConfigMap, *corev1.ConfigMapList]{
			"ConfigMap", r.Client.CoreV1().ConfigMaps(r.ConfigMap.Namespace), r.ConfigMap,
			func(c *corev1.ConfigMap, bundle []byte) (changed bool) {
				if c.Data[authoritiesMember] == string(bundle) {
					return false
				}
				if c.Data == nil {
					c.Data = map[string]string{}
				}
				c.Data[authoritiesMember] = string(bundle)
				return true
			},
		})
	}
	return all
}

func setBundle(client *admissionregistrationv1.WebhookClientConfig, bundle []byte) (changed bool) {
	if bytes.Equal(client.CABundle, bundle) {
		return false
	}
	client.CABundle = bundle
	return true
}

// registered is an object of a kind that holds bundles, T.
type registered[T any] interface {
	runtime.Object
	metav1.Object
	DeepCopy() T
}

// api is the client of such a kind; L is its list.
type api[T, L any] interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (T, error)
	Create(ctx context.Context, object T, options metav1.CreateOptions) (T, error)
	Update(ctx context.Context, object T, options metav1.UpdateOptions) (T, error)
	lister[L]
}

type object[T registered[T], L runtime.Object] struct {
	kind   string
	api    api[T, L]
	wanted T
	// set gives it the bundle, and reports whether it had another.
	set func(T, []byte) (changed bool)
}

func (o *object[T, L]) String() string { return o.kind + " " + o.wanted.GetName() }

func (o *object[T, L]) current(ctx context.Context) (put, error) {
	current, err := o.api.Get(ctx, o.wanted.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return o.create, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", o, err)
	}
	return func(ctx context.Context, bundle []byte) (string, error) { return o.update(ctx, current, bundle) }, nil
}

func (o *object[T, L]) create(ctx context.Context, bundle []byte) (written string, err error) {
	created := o.wanted.DeepCopy()
	o.set(created, bundle)
	if _, err := o.api.Create(ctx, created, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("create %s: %w", o, err)
	}
	return o.String(), nil
}

func (o *object[T, L]) update(ctx context.Context, current T, bundle []byte) (written string, err error) {
	updated := current.DeepCopy()
	if !o.set(updated, bundle) {
		return "", nil
	}
	if _, err := o.api.Update(ctx, updated, metav1.UpdateOptions{}); err != nil {
		return "", fmt.Errorf("update %s: %w", o, err)
	}
	return o.String(), nil
}

func (o *object[T, L]) watch(ctx context.Context, client kubernetes.Interface, changed chan<- struct{}) {
	watchOne(ctx, client, o.api, o.wanted.GetName(), o.wanted, changed)
}
