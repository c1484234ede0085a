package webhook

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	resync       = time.Minute
	fetchTimeout = time.Second
	// fetchRate bounds reads of accounts that the cache does not know (spec
	// webhook §10.3).
	fetchRate, fetchBurst = 10, 20
)

// Informer follows the service accounts of a cluster. Only names and the
// annotations of one prefix are kept in memory.
type Informer struct {
	client   kubernetes.Interface
	factory  informers.SharedInformerFactory
	informer cache.SharedIndexInformer
	lister   listers.ServiceAccountLister
	synced   chan struct{}
	flight   singleflight.Group
	limit    *rate.Limiter
}

// NewInformer prepares an informer; Run starts it.
func NewInformer(client kubernetes.Interface, prefix string) (*Informer, error) {
	factory := informers.NewSharedInformerFactory(client, resync)
	accounts := factory.Core().V1().ServiceAccounts()
	i := &Informer{
		client: client, factory: factory, informer: accounts.Informer(), lister: accounts.Lister(),
		synced: make(chan struct{}), limit: rate.NewLimiter(fetchRate, fetchBurst),
	}
	if err := i.informer.SetTransform(func(object any) (any, error) { return strip(object, prefix), nil }); err != nil {
		return nil, fmt.Errorf("prepare the service-account cache: %w", err)
	}
	return i, nil
}

// strip leaves of an account what reviews need.
func strip(object any, prefix string) any {
	account, ok := object.(*corev1.ServiceAccount)
	if !ok {
		return object // a tombstone
	}
	kept := map[string]string{}
	for key, text := range account.Annotations {
		if strings.HasPrefix(key, prefix+"/") {
			kept[key] = text
		}
	}
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Name: account.Name, Namespace: account.Namespace, ResourceVersion: account.ResourceVersion, Annotations: kept,
	}}
}

// Run follows the accounts until ctx is done. It returns when everything it
// started has ended.
func (i *Informer) Run(ctx context.Context) error {
	i.factory.Start(ctx.Done())
	defer i.factory.Shutdown()
	if cache.WaitForCacheSync(ctx.Done(), i.informer.HasSynced) {
		close(i.synced)
	}
	<-ctx.Done()
	return nil
}

// Synced is closed after the first complete list.
func (i *Informer) Synced() <-chan struct{} { return i.synced }

// Lookup reads the cache, and on a miss the API server: an account that was
// made a moment ago must not make a pod go without its role.
func (i *Informer) Lookup(ctx context.Context, namespace, name string) (map[string]string, bool, error) {
	account, err := i.lister.ServiceAccounts(namespace).Get(name)
	if err == nil {
		return account.Annotations, true, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, false, err
	}
	// Concurrent misses of one account share one read, and its answer.
	fetched, err, _ := i.flight.Do(namespace+"/"+name, func() (any, error) {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		if err := i.limit.Wait(bounded); err != nil {
			return nil, fmt.Errorf("too many unknown service accounts: %w", err)
		}
		return i.client.CoreV1().ServiceAccounts(namespace).Get(bounded, name, metav1.GetOptions{})
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("read service account %s/%s: %w", namespace, name, err)
	}
	return fetched.(*corev1.ServiceAccount).Annotations, true, nil //nolint:forcetypeassert // what the function above returns
}
