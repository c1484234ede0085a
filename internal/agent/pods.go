package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	kubecache "k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/internal/limit"
)

const (
	// goneGrace is how long a pod keeps what it has after it ended: as long as
	// the API server goes on accepting its token.
	goneGrace = time.Minute
	maxGone   = 4096
)

// Pods follows the pods of one node. It is never needed for an answer: without
// it, credentials of pods that ended are kept until nobody asked for a while.
type Pods struct {
	informer kubecache.SharedIndexInformer
	factory  informers.SharedInformerFactory
	synced   kubecache.InformerSynced
	now      func() time.Time

	mu    sync.Mutex
	here  map[string]place // by UID
	ended *limit.LRU[string, time.Time]
	// changing is closed at the next change of here; nil if nobody waits.
	changing chan struct{}
}

// place is where a pod's requests come from.
type place struct {
	hostNetwork bool // then from any address of the node itself
	addresses   []netip.Addr
}

// NewPods prepares a watch; Run starts it.
func NewPods(client kubernetes.Interface, node string, now func() time.Time) (*Pods, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(
		o *metav1.ListOptions,
	) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node).String()
	}))
	p := &Pods{
		factory:  factory,
		informer: factory.Core().V1().Pods().Informer(),
		now:      now,
		here:     map[string]place{},
		ended:    limit.NewLRU[string, time.Time](maxGone),
	}
	if err := p.informer.SetTransform(stripPod); err != nil {
		return nil, fmt.Errorf("prepare the watch of pods: %w", err)
	}
	handler, err := p.informer.AddEventHandler(kubecache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { p.seen(object, false) },
		UpdateFunc: func(_, object any) { p.seen(object, false) },
		DeleteFunc: func(object any) { p.seen(object, true) },
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the watch of pods: %w", err)
	}
	p.synced = handler.HasSynced
	return p, nil
}

// Run follows the pods until ctx is done. Without permission it says so once;
// losing the watch changes nothing that is known.
func (p *Pods) Run(ctx context.Context, log *slog.Logger) error {
	var once sync.Once
	if err := p.informer.SetWatchErrorHandler(func(_ *kubecache.Reflector, err error) {
		once.Do(func() { log.Warn("pods of this node cannot be watched", "error", err) })
	}); err != nil {
		return err
	}
	p.factory.Start(ctx.Done())
	defer p.factory.Shutdown()
	<-ctx.Done()
	return nil
}

// stripPod leaves of a pod what is needed.
func stripPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil // a tombstone
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:            pod.Name,
			Namespace:       pod.Namespace,
			UID:             pod.UID,
			ResourceVersion: pod.ResourceVersion,
		},
		Spec:   corev1.PodSpec{HostNetwork: pod.Spec.HostNetwork},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, PodIPs: pod.Status.PodIPs},
	}, nil
}

func (p *Pods) seen(object any, deleted bool) {
	if tombstone, ok := object.(kubecache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	uid := string(pod.UID)
	if !deleted && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		p.here[uid] = placeOf(pod)
		if p.changing != nil {
			close(p.changing)
			p.changing = nil
		}
		return
	}
	delete(p.here, uid)
	if _, known := p.ended.Get(uid); !known {
		p.ended.Put(uid, p.now())
	}
}

// gone reports whether a pod ended long enough ago.
func (p *Pods) gone(uid string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.ended.Get(uid)
	return known && now.Sub(at) >= goneGrace
}

// absent reports whether the node is known not to have a pod that was there
// before.
func (p *Pods) absent(uid string) bool { return p.synced() && !p.running(uid) }

func (p *Pods) running(uid string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, here := p.here[uid]
	return here
}

func placeOf(pod *corev1.Pod) place {
	at := place{hostNetwork: pod.Spec.HostNetwork}
	for _, one := range pod.Status.PodIPs {
		if address, err := netip.ParseAddr(one.IP); err == nil {
			at.addresses = append(at.addresses, address.Unmap())
		}
	}
	return at
}

// sends reports whether a pod's requests come from an address; own says whether the
// node has it. While the pod, or its addresses, are not known, it returns a channel to
// wait on.
func (p *Pods) sends(uid string, from netip.Addr, own func(netip.Addr) bool) (yes bool, changing <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, here := p.here[uid]
	switch {
	case here && at.hostNetwork:
		return own(from), nil
	case here && len(at.addresses) > 0:
		return slices.Contains(at.addresses, from), nil
	}
	if p.changing == nil {
		p.changing = make(chan struct{})
	}
	return false, p.changing
}
