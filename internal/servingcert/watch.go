package servingcert

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

type registration = *admissionregistrationv1.MutatingWebhookConfiguration

// bell is a store that keeps nothing and only tells that something changed.
type bell chan<- struct{}

func (b bell) ring() error {
	select {
	case b <- struct{}{}:
	default: // it rings already
	}
	return nil
}

// Add rings.
func (b bell) Add(any) error { return b.ring() }

// Update rings.
func (b bell) Update(any) error { return b.ring() }

// Delete rings.
func (b bell) Delete(any) error { return b.ring() }

// Replace rings.
func (b bell) Replace([]any, string) error { return b.ring() }

// Resync has nothing to do.
func (b bell) Resync() error { return nil }

func watchSecret(ctx context.Context, client kubernetes.Interface, namespace, name string, changed chan<- struct{}) {
	secrets := client.CoreV1().Secrets(namespace)
	watchOne(ctx, client, name, &corev1.Secret{}, changed,
		func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return secrets.List(ctx, options)
		}, secrets.Watch)
}

func watchConfiguration(ctx context.Context, client kubernetes.Interface, name string, changed chan<- struct{}) {
	configurations := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	watchOne(ctx, client, name, &admissionregistrationv1.MutatingWebhookConfiguration{}, changed,
		func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return configurations.List(ctx, options)
		}, configurations.Watch)
}

func watchOne(ctx context.Context, client kubernetes.Interface, name string, kind runtime.Object, changed chan<- struct{},
	list cache.ListWithContextFunc, watcher func(context.Context, metav1.ListOptions) (watch.Interface, error),
) {
	one := fields.OneTermEqualSelector("metadata.name", name).String()
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = one
			return list(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = one
			return watcher(ctx, options)
		},
	}
	cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(source, client), kind, bell(changed), cache.ReflectorOptions{Name: name}).RunWithContext(ctx)
}
