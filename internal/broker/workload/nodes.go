package workload

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// instanceID is the name of an EC2 instance, old or new.
var instanceID = lazyregexp.New(`^i-[0-9a-f]{8,17}$`)

// IsInstanceID reports whether a text is built as the ID of an EC2 instance.
func IsInstanceID(text string) bool { return instanceID.MatchString(text) }

// Nodes are the nodes of the cluster, by the EC2 instances that they are. Only
// names and instance IDs are kept.
type Nodes struct {
	*kept[string] // instance IDs by name; empty if it is no instance
	client        kubernetes.Interface
	// within is how long ago the watch may have moved for an answer to rely on
	// it.
	within time.Duration
	byID   map[string][]string // names by instance ID; guarded by kept.mu
}

// NewNodes reads nothing yet. The mode says how long known nodes count while
// the API server is down, as it does for pods.
func NewNodes(client kubernetes.Interface, mode Mode, now func() time.Time) *Nodes {
	return &Nodes{
		client: client,
		within: mode.Patience(),
		byID:   map[string][]string{},
		kept: newKept("nodes", now, func(
			object metav1.Object,
		) string {
			if node, ok := object.(*corev1.Node); ok {
				return instanceOf(node)
			}
			return ""
		}),
	}
}

// instanceOf reads aws:///ZONE/i-… of spec.providerID.
func instanceOf(node *corev1.Node) string {
	id := node.Spec.ProviderID[strings.LastIndexByte(node.Spec.ProviderID, '/')+1:]
	if !strings.HasPrefix(node.Spec.ProviderID, "aws:///") || !IsInstanceID(id) {
		return ""
	}
	return id
}

// Run follows the nodes until ctx is done.
func (n *Nodes) Run(ctx context.Context) error {
	nodes := n.client.CoreV1().Nodes()
	followObjects(ctx, &corev1.Node{}, n.client, n.watch, n, listWatch{
		func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return nodes.List(ctx, options)
		},
		func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return nodes.Watch(ctx, options)
		},
	})
	return nil
}

// Watched is how the nodes are followed.
func (n *Nodes) Watched() *follow.Watch { return n.watch }

// Synced is closed when the nodes have been read once.
func (n *Nodes) Synced() <-chan struct{} { return n.synced }

// OfInstance returns the one node that is an instance. A node that is not known yet
// is waited for; one that may be gone unnoticed is read. Every error is a
// *refusal.Error.
func (n *Nodes) OfInstance(ctx context.Context, id string) (string, error) {
	if !isClosed(n.synced) {
		return "", unavailable(nil, "The nodes of the cluster are not known yet.")
	}
	names, changing := n.lookInstance(id)
	if len(names) == 0 {
		timer := time.NewTimer(newcomerWait)
		defer timer.Stop()
		for waiting := true; waiting && len(names) == 0; names, changing = n.lookInstance(id) {
			select {
			case <-changing:
			case <-timer.C:
				waiting = false
			case <-ctx.Done():
				return "", unavailable(ctx.Err(), "The broker cannot find out which node asks.")
			}
		}
	}
	isFresh := n.fresh(n.within)
	switch {
	case len(names) > 1:
		return "", refusal.New(
			refusal.AccessDenied, "The nodes %s all have the instance ID %s.", strings.Join(names, ", "), id,
		)
	case len(names) == 1 && isFresh:
		return names[0], nil
	case len(names) == 1:
		if err := n.confirm(ctx, names[0], id); err != nil {
			return "", err
		}
		return names[0], nil
	case !isFresh:
		return "", unavailable(nil, "The nodes of the cluster are not known: their watch stands still.")
	}
	return "", refusal.New(refusal.AccessDenied, "No node of the cluster has the instance ID %s in its providerID.", id)
}

// confirm reads one node.
func (n *Nodes) confirm(ctx context.Context, name, id string) error {
	found, exists, err := n.readOne(ctx, func(ctx context.Context) (metav1.Object, error) {
		return n.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	})
	switch {
	case err != nil:
		return unavailable(err, "The broker cannot find out whether the node exists.")
	case !exists || found != id:
		return refusal.New(refusal.AccessDenied, "No node of the cluster has the instance ID %s in its providerID.", id)
	}
	return nil
}

// lookInstance returns the names of an instance's nodes or, without any, what is
// closed at the next change.
func (n *Nodes) lookInstance(id string) ([]string, <-chan struct{}) {
	n.mu.RLock()
	names := slices.Clone(n.byID[id])
	n.mu.RUnlock()
	if len(names) > 0 {
		return names, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changing == nil {
		n.changing = make(chan struct{})
	}
	return slices.Clone(n.byID[id]), n.changing
}

// index keeps byID like known, for one node. The caller holds the lock.
func (n *Nodes) index(name, old, now string) {
	if old == now {
		return
	}
	n.byID[old] = slices.DeleteFunc(n.byID[old], func(other string) bool { return other == name })
	if len(n.byID[old]) == 0 {
		delete(n.byID, old)
	}
	if now != "" {
		n.byID[now] = append(n.byID[now], name)
		slices.Sort(n.byID[now])
	}
}

// Add is an event of the watch.
func (n *Nodes) Add(object any) error { return n.Update(object) }

// Update is an event of the watch.
func (n *Nodes) Update(object any) error {
	if node, ok := object.(*corev1.Node); ok {
		n.change(func() {
			old := n.known[""][node.Name]
			n.put(node)
			n.index(node.Name, old, n.known[""][node.Name])
		})
	}
	return nil
}

// Delete is an event of the watch.
func (n *Nodes) Delete(object any) error {
	if node, ok := object.(*corev1.Node); ok {
		n.change(func() {
			n.index(node.Name, n.known[""][node.Name], "")
			delete(n.known[""], node.Name)
		})
	}
	return nil
}

// Replace is a list.
func (n *Nodes) Replace(objects []any, _ string) error {
	n.change(func() {
		n.known, n.byID = map[string]map[string]string{}, map[string][]string{}
		for _, object := range objects {
			if node, ok := object.(*corev1.Node); ok {
				n.put(node)
				n.index(node.Name, "", n.known[""][node.Name])
			}
		}
	})
	n.once.Do(func() { close(n.synced) })
	return nil
}
