package servingcert

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

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

// lister is the client of one kind of object; L is its list.
type lister[L any] interface {
	List(ctx context.Context, options metav1.ListOptions) (L, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

// watchOne rings when the object of a name changes, until ctx is done.
func watchOne[L runtime.Object](
	ctx context.Context,
	client kubernetes.Interface,
	api lister[L],
	name string,
	kind runtime.Object,
	changed chan<- struct{},
) {
	one := fields.OneTermEqualSelector("metadata.name", name).String()
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = one
			return api.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = one
			return api.Watch(ctx, options)
		},
	}
	cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(source, client), kind, bell(changed),
		cache.ReflectorOptions{Name: name}).RunWithContext(ctx)
}
