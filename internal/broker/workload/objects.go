package workload

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/internal/follow"
)

// Objects are the pods and service accounts of the cluster: followed, if Run
// runs, and read one by one where that does not say enough.
type Objects struct {
	client   kubernetes.Interface
	pods     *kept[pod]
	accounts *kept[string] // UIDs
}

// pod is what is kept of one.
type pod struct {
	uid, node, account string
	labels             map[string]string // those that are wanted, if it has them
	ended              bool
	deleted            time.Time // when it is to be gone; zero if it is not
}

const (
	newcomerWait = 500 * time.Millisecond // for the watch to bring a new object
	getTimeout   = time.Second
)

// NewObjects reads nothing yet. labels are the keys of pods' labels that are kept.
func NewObjects(client kubernetes.Interface, now func() time.Time, labels ...string) *Objects {
	return &Objects{
		client:   client,
		pods:     newKept("pods", now, podReader(labels)),
		accounts: newKept("service accounts", now, func(o metav1.Object) string { return string(o.GetUID()) }),
	}
}

func podReader(labels []string) func(metav1.Object) pod {
	return func(object metav1.Object) pod {
		p, ok := object.(*corev1.Pod)
		if !ok {
			return pod{ended: true}
		}
		read := pod{
			uid:     string(p.UID),
			node:    p.Spec.NodeName,
			account: p.Spec.ServiceAccountName,
			ended:   p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
		}
		for _, key := range labels {
			if value, has := p.Labels[key]; has {
				if read.labels == nil {
					read.labels = map[string]string{}
				}
				read.labels[key] = value
			}
		}
		if p.DeletionTimestamp != nil {
			read.deleted = p.DeletionTimestamp.Time
		}
		return read
	}
}

// Run follows both until ctx is done.
func (o *Objects) Run(ctx context.Context) error {
	var group sync.WaitGroup
	core := o.client.CoreV1()
	group.Go(func() {
		followObjects(ctx, &corev1.Pod{}, o.client, o.pods.watch, o.pods, listWatch{
			func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				return core.Pods("").List(ctx, options)
			},
			func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				return core.Pods("").Watch(ctx, options)
			},
		})
	})
	group.Go(func() {
		followObjects(ctx, &corev1.ServiceAccount{}, o.client, o.accounts.watch, o.accounts, listWatch{
			func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				return core.ServiceAccounts("").List(ctx, options)
			},
			func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				return core.ServiceAccounts("").Watch(ctx, options)
			},
		})
	})
	group.Wait()
	return nil
}

type listWatch struct {
	list  cache.ListWithContextFunc
	watch cache.WatchFuncWithContext
}

func followObjects(
	ctx context.Context, kind runtime.Object, client kubernetes.Interface, by *follow.Watch, into cache.ReflectorStore,
	from listWatch,
) {
	source := &cache.ListWatch{ListWithContextFunc: from.list, WatchFuncWithContext: from.watch}
	by.Run(ctx, cache.ToListWatcherWithWatchListSemantics(source, client), kind, into)
}

// Synced is closed when both have been read once.
func (o *Objects) Synced() []<-chan struct{} {
	return []<-chan struct{}{o.pods.synced, o.accounts.synced}
}

// Fresh reports whether both were read, and the API server was heard by both watches
// within a time: by them deletions come.
func (o *Objects) Fresh(within time.Duration) bool {
	return o.embedded() || o.pods.fresh(within) && o.accounts.fresh(within)
}

// Watches are those of both, for who looks at whether they stand still.
func (o *Objects) Watches() []*follow.Watch { return []*follow.Watch{o.pods.watch, o.accounts.watch} }

// UsesOn reports whether a pod of a namespace and node has an account that
// matches; known is false if pods are not followed.
func (o *Objects) UsesOn(node, namespace string, matches func(account string) bool) (uses, known bool) {
	if !isClosed(o.pods.synced) {
		return false, false
	}
	o.pods.mu.RLock()
	defer o.pods.mu.RUnlock()
	for _, p := range o.pods.known[namespace] {
		if p.node == node && matches(p.account) {
			return true, true
		}
	}
	return false, true
}

// account checks that the service account is there with the claimed UID.
func (o *Objects) account(ctx context.Context, i *Identity) error {
	uid, found, err := o.accounts.sure(ctx, i.Namespace, i.ServiceAccount,
		func(uid string) bool { return uid == i.ServiceAccountUID || o.embedded() },
		func(ctx context.Context) (metav1.Object, error) {
			if o.embedded() {
				return nil, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), i.ServiceAccount)
			}
			return o.client.CoreV1().ServiceAccounts(i.Namespace).Get(ctx, i.ServiceAccount, metav1.GetOptions{})
		})
	switch {
	case err != nil:
		return unavailable(err, "The broker cannot find out whether the service account exists.")
	case !found || uid != i.ServiceAccountUID:
		return invalid("its service account no longer exists")
	}
	return nil
}

// pod checks that the token's pod is there and runs, and fills in its node and labels. What
// is followed counts if trusted, as far as its watch does, else the API server is asked.
func (o *Objects) pod(ctx context.Context, i *Identity, now time.Time, trusted bool) error {
	if !i.Bound() {
		return nil
	}
	get := func(ctx context.Context) (metav1.Object, error) {
		if o.embedded() {
			return nil, apierrors.NewNotFound(corev1.Resource("pods"), i.Pod)
		}
		return o.client.CoreV1().Pods(i.Namespace).Get(ctx, i.Pod, metav1.GetOptions{})
	}
	var p pod
	var found bool
	var err error
	if trusted {
		p, found, err = o.pods.sure(
			ctx, i.Namespace, i.Pod, func(p pod) bool { return p.uid == i.PodUID || o.embedded() }, get,
		)
	} else {
		p, found, err = o.pods.readOne(ctx, get)
	}
	switch {
	case err != nil:
		return unavailable(err, "The broker cannot find out whether the pod exists.")
	case !found:
		return invalid("its pod no longer exists")
	case p.uid != i.PodUID:
		return invalid("its pod no longer exists; there is another of the same name")
	case p.account != i.ServiceAccount:
		return invalid("its pod has another service account")
	case p.ended:
		return invalid("its pod has ended")
	case !p.deleted.IsZero() && now.Sub(p.deleted) > goneGrace:
		return invalid("its pod was deleted")
	case i.Node != "" && p.node != "" && i.Node != p.node:
		return invalid("its pod is on another node than it says")
	}
	if i.Node == "" {
		i.Node = p.node
	}
	i.Labels = p.labels
	return nil
}

// kept holds the objects of one kind, filled by a reflector.
type kept[T any] struct {
	read   func(metav1.Object) T
	watch  *follow.Watch // nil if it is never behind
	synced chan struct{}
	once   sync.Once

	mu       sync.RWMutex
	known    map[string]map[string]T // by namespace and name
	changing chan struct{}           // closed at the next change; nil if nobody waits
}

func newKept[T any](name string, now func() time.Time, read func(metav1.Object) T) *kept[T] {
	return &kept[T]{
		read:   read,
		watch:  follow.NewWatch(name, now),
		synced: make(chan struct{}),
		known:  map[string]map[string]T{},
	}
}

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

func (k *kept[T]) fresh(within time.Duration) bool {
	return isClosed(k.synced) && (k.watch == nil || k.watch.Heard(within))
}

// sure is find while the watch counts. When it stands still the API server is asked;
// where that fails, what is known counts as far as jwks goes without it: who does not
// has asked the API server about the token already.
func (k *kept[T]) sure(
	ctx context.Context, namespace, name string, wanted func(T) bool, get func(context.Context) (metav1.Object, error),
) (one T, found bool, err error) {
	if k.watch == nil || k.watch.Relied(stale) {
		return k.find(ctx, namespace, name, wanted, get)
	}
	one, found, err = k.readOne(ctx, get)
	if k.watch.Asked(err); err == nil || !k.watch.Heard(stale) {
		return one, found, err
	}
	return k.find(ctx, namespace, name, wanted, get)
}

// find returns an object that is as wanted, if there is one: an object that is
// not known yet is waited for, then read; at once while the watch is down, which may be
// for half a minute after the API server is back. Without one it returns what there is.
func (k *kept[T]) find(
	ctx context.Context, namespace, name string, wanted func(T) bool, get func(context.Context) (metav1.Object, error),
) (one T, found bool, err error) {
	one, found, changing := k.look(namespace, name, wanted)
	switch {
	case changing == nil:
		return one, found, nil
	case k.watch != nil && k.watch.Down():
		return k.readOne(ctx, get)
	}
	timer := time.NewTimer(newcomerWait)
	defer timer.Stop()
	for {
		select {
		case <-changing:
		case <-ctx.Done():
			return one, false, ctx.Err()
		case <-timer.C:
			return k.readOne(ctx, get)
		}
		if one, found, changing = k.look(namespace, name, wanted); changing == nil {
			return one, found, nil
		}
	}
}

// look returns a channel to wait on unless the object is as wanted.
func (k *kept[T]) look(namespace, name string, wanted func(T) bool) (one T, found bool, changing <-chan struct{}) {
	k.mu.RLock()
	one, found = k.known[namespace][name]
	k.mu.RUnlock()
	if found && wanted(one) {
		return one, true, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if one, found = k.known[namespace][name]; found && wanted(one) {
		return one, true, nil
	}
	if k.changing == nil {
		k.changing = make(chan struct{})
	}
	return one, found, k.changing
}

// readOne asks the API server for one object.
func (k *kept[T]) readOne(
	ctx context.Context, get func(context.Context) (metav1.Object, error),
) (one T, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	object, err := get(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return one, false, nil
	case err != nil:
		return one, false, err
	}
	return k.read(object), true, nil
}

func (k *kept[T]) change(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
	if k.watch != nil {
		k.watch.Hear()
	}
	if k.changing != nil {
		close(k.changing)
		k.changing = nil
	}
}

func (k *kept[T]) put(object metav1.Object) {
	names := k.known[object.GetNamespace()]
	if names == nil {
		names = map[string]T{}
		k.known[object.GetNamespace()] = names
	}
	names[object.GetName()] = k.read(object)
}

// Add is an event of the watch.
func (k *kept[T]) Add(object any) error { return k.Update(object) }

// Update is an event of the watch.
func (k *kept[T]) Update(object any) error {
	read, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	k.change(func() { k.put(read) })
	return nil
}

// Delete is an event of the watch.
func (k *kept[T]) Delete(object any) error {
	read, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	k.change(func() {
		delete(k.known[read.GetNamespace()], read.GetName())
		if len(k.known[read.GetNamespace()]) == 0 {
			delete(k.known, read.GetNamespace())
		}
	})
	return nil
}

// Replace is a list.
func (k *kept[T]) Replace(objects []any, _ string) error {
	k.change(func() {
		k.known = map[string]map[string]T{}
		for _, object := range objects {
			if read, err := meta.Accessor(object); err == nil {
				k.put(read)
			}
		}
	})
	k.once.Do(func() { close(k.synced) })
	return nil
}

// Bookmark says that nothing changed.
func (k *kept[T]) Bookmark(string) error {
	k.change(func() {})
	return nil
}

// Resync has nothing to do.
func (k *kept[T]) Resync() error { return nil }

// NewEmbedded are the objects of a plane without an API server: what is put in is
// there, and nothing else is. Run must not be called.
func NewEmbedded(now func() time.Time) *Objects {
	o := NewObjects(nil, now)
	o.pods.watch, o.accounts.watch = nil, nil
	// Replace never fails: it is given nothing to read.
	_, _ = o.pods.Replace(nil, ""), o.accounts.Replace(nil, "")
	return o
}

// PutPod has a pod be there, as it is now.
func (o *Objects) PutPod(pod *corev1.Pod) error { return o.pods.Update(pod) }

// RemovePod has a pod be gone.
func (o *Objects) RemovePod(pod *corev1.Pod) error { return o.pods.Delete(pod) }

// PutServiceAccount has a service account be there.
func (o *Objects) PutServiceAccount(account *corev1.ServiceAccount) error {
	return o.accounts.Update(account)
}

func (o *Objects) embedded() bool { return o.client == nil }
