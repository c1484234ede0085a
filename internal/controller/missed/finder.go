// Package missed finds pods that run without the AWS identity of their service account,
// because they were created before the account had it, or while the webhook was away; it
// says so, and can have them made again.
//
// What a pod would have got is decided by package inject. It changes no pod.
package missed

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/events"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
)

// Source is what gives a pod's account its identity.
type Source string

// The sources.
const (
	Annotation  Source = "annotation"
	Association Source = "association"
)

// Pod is one that runs without its identity.
type Pod struct {
	Namespace, Name string
	UID             types.UID
	ServiceAccount  string
	Source          Source
	// Association is the name of the one that is for the account, if one is.
	Association string
	// Older says that the account had no identity yet when the pod was created, as far as
	// that is known.
	Older bool
	// Owner makes the pod again if it goes; nil if nobody does.
	Owner *metav1.OwnerReference
}

// Config is what a finder is made of. All fields but Changed and Restart are needed.
type Config struct {
	Client       kubernetes.Interface
	Associations dynamic.Interface
	Settings     inject.Settings
	// Changed is told of the name of each association whose pods became others.
	Changed func(types.NamespacedName)
	// Restart has pods evicted whose owners make them again.
	Restart bool
	Metrics prometheus.Registerer
	Log     *slog.Logger
	Now     func() time.Time
}

// Finder finds them; Run does.
type Finder struct {
	Config
	accounts, pods *follow.Watch
	associations   associations
	count          *prometheus.GaugeVec
	evicted        *prometheus.CounterVec
	said           *events.Writer
	restarts       restarts

	mu       sync.Mutex
	roles    map[association.Name]bool // accounts whose annotation names a role
	seen     map[types.NamespacedName]*seen
	present  map[types.UID]Pod // what the last look found
	dirty    chan struct{}
	complete [2]bool // accounts, pods: read for the first time
}

type associations = *follow.Objects[*assoc, *association.Set]

// seen is what is kept of a pod that lacks an identity, or shows that the webhook works.
type seen struct {
	uid        types.UID
	created    time.Time
	account    string
	owner      *metav1.OwnerReference
	web, agent bool // it lacks the one, the other
}

// settle is how long changes are collected before all is looked at.
const settle = 2 * time.Second

// sayAgain is how often an Event about the same pod is repeated.
const sayAgain = time.Hour

// New makes a finder.
func New(c Config) *Finder {
	f := &Finder{
		Config:       c,
		accounts:     follow.NewWatch("service accounts", c.Now),
		pods:         follow.NewWatch("pods", c.Now),
		associations: follow.Associations(c.Associations, c.Now, c.Log),
		said:         events.New(c.Client, "rolecall-controller", sayAgain, c.Now),
		count: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rolecall_pods_without_identity",
			Help: "Pods that run without the AWS identity of their service account, by where that comes from.",
		}, []string{"source"}),
		evicted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolecall_pods_without_identity_evicted_total",
			Help: "Evictions with --restart-missed, by result: evicted, later (a disruption budget), failed.",
		}, []string{"result"}),
		roles:   map[association.Name]bool{},
		seen:    map[types.NamespacedName]*seen{},
		present: map[types.UID]Pod{},
		dirty:   make(chan struct{}, 1),
	}
	f.restarts.init()
	c.Metrics.MustRegister(f.count, f.evicted)
	return f
}

// Watched are its watches.
func (f *Finder) Watched() []*follow.Watch {
	return []*follow.Watch{f.accounts, f.pods, f.associations.Watched()}
}

// Missed are the pods that the last look found of an association, by name.
func (f *Finder) Missed(a types.NamespacedName) []Pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []Pod
	for _, pod := range f.present {
		if pod.Namespace == a.Namespace && pod.Association == a.Name {
			found = append(found, pod)
		}
	}
	slices.SortFunc(found, func(a, b Pod) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// Run follows pods, accounts and associations until ctx is done. Without permission to it
// finds nothing, and says in the log what it lacks; nothing else depends on it.
func (f *Finder) Run(ctx context.Context) error {
	f.associations.Notify(func(follow.Change[*assoc]) { f.touch() })
	var parts sync.WaitGroup
	parts.Go(func() { _ = f.associations.Run(ctx) }) // ends with ctx
	parts.Go(func() { _ = f.said.Run(ctx) })
	core := f.Client.CoreV1()
	parts.Go(func() {
		f.accounts.Run(ctx, listWatch(f.Client, core.ServiceAccounts("").List, core.ServiceAccounts("").Watch),
			&corev1.ServiceAccount{}, store{&f.mu, f.putAccount, f.dropAccount, f.replaceAccounts})
	})
	parts.Go(func() {
		f.pods.Run(ctx, listWatch(f.Client, core.Pods("").List, core.Pods("").Watch),
			&corev1.Pod{}, store{&f.mu, f.putPod, f.dropPod, f.replacePods})
	})
	for {
		select {
		case <-ctx.Done():
			parts.Wait()
			return nil
		case <-f.dirty:
		case <-f.restarts.next():
			f.restart(ctx)
			continue
		}
		if !sleep(ctx, settle) {
			continue
		}
		f.look()
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (f *Finder) touch() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// look compares all pods with what their accounts have, and says what is new.
func (f *Finder) look() {
	select {
	case <-f.associations.Synced():
	default:
		return
	}
	set := f.associations.Current()
	f.mu.Lock()
	if !f.complete[0] || !f.complete[1] {
		f.mu.Unlock()
		return
	}
	now := map[types.UID]Pod{}
	for name, s := range f.seen {
		if pod, missed := f.judge(set, name, s); missed {
			now[s.uid] = pod
		}
	}
	before := f.present
	f.present = now
	f.mu.Unlock()
	counts := map[Source]int{Annotation: 0, Association: 0}
	changed := map[types.NamespacedName]bool{}
	for uid, pod := range now {
		counts[pod.Source]++
		if was, known := before[uid]; !known || was.Association != pod.Association {
			changed[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Association}] = true
			f.say(pod)
		}
	}
	for uid, pod := range before {
		if _, still := now[uid]; !still || now[uid].Association != pod.Association {
			changed[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Association}] = true
		}
	}
	for source, count := range counts {
		f.count.WithLabelValues(string(source)).Set(float64(count))
	}
	if f.Changed != nil {
		for name := range changed {
			if name.Name != "" {
				f.Changed(name)
			}
		}
	}
	if f.Restart {
		f.restarts.want(slices.Collect(maps.Values(now)))
	}
}

// judge is called with the lock held.
func (f *Finder) judge(set *association.Set, name types.NamespacedName, s *seen) (Pod, bool) {
	pod := Pod{
		Namespace: name.Namespace, Name: name.Name, UID: s.uid, ServiceAccount: s.account, Owner: s.owner,
		Source: Annotation,
	}
	if a := set.Of(name.Namespace, s.account); a != nil {
		pod.Source, pod.Association = Association, a.Name
		pod.Older = s.created.Before(a.CreationTimestamp.Time)
		return pod, s.agent && !a.Spec.Paused
	}
	return pod, s.web && f.roles[association.Name{Namespace: name.Namespace, ServiceAccount: s.account}]
}

func (f *Finder) say(pod Pod) {
	why := "it was created while the webhook could not be asked, or before the annotation was written"
	if pod.Source == Association {
		why = "it was created while the webhook could not be asked"
		if pod.Older {
			why = "it is older than PodIdentityAssociation " + pod.Association
		}
	}
	note := fmt.Sprintf(
		"The pod runs without the AWS identity of service account %s: %s. Restart it.", pod.ServiceAccount, why,
	)
	f.Log.Warn("pod runs without its identity", "namespace", pod.Namespace, "pod", pod.Name,
		"serviceAccount", pod.ServiceAccount, "source", string(pod.Source), "reason", why)
	f.said.Say(string(pod.UID)+" "+pod.Association, events.Event{
		About: &corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
		Reason: "IdentityMissed", Action: "Inject", Note: note,
	})
}

func (f *Finder) putAccount(object any) {
	if account, ok := object.(*corev1.ServiceAccount); ok {
		name := association.Name{Namespace: account.Namespace, ServiceAccount: account.Name}
		read := inject.ReadAccount(account.Annotations, f.Settings)
		if has := read.Role != ""; has != f.roles[name] {
			if f.roles[name] = has; !has {
				delete(f.roles, name)
			}
			f.touch()
		}
	}
}

func (f *Finder) dropAccount(object any) {
	if account, ok := object.(metav1.Object); ok {
		delete(f.roles, association.Name{Namespace: account.GetNamespace(), ServiceAccount: account.GetName()})
		f.touch()
	}
}

func (f *Finder) replaceAccounts() { clear(f.roles); f.complete[0] = true; f.touch() }

func (f *Finder) putPod(object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	key := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	if !watchedFor(pod) {
		f.dropPod(pod)
		return
	}
	text, err := json.Marshal(pod)
	if err != nil {
		return
	}
	web, agent, err := inject.Lacks(text, f.Settings)
	if err != nil {
		f.Log.Warn("pod not understood", "namespace", pod.Namespace, "pod", pod.Name, "error", err)
		return
	}
	was := f.seen[key]
	f.seen[key] = &seen{
		uid: pod.UID, created: pod.CreationTimestamp.Time, account: pod.Spec.ServiceAccountName,
		owner: metav1.GetControllerOf(pod), web: web, agent: agent,
	}
	if was == nil || was.uid != pod.UID || was.web != web || was.agent != agent {
		f.touch()
	}
}

// watchedFor: a pod that has ended or is going needs nothing any longer, and static pods
// have no service account.
func watchedFor(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Spec.ServiceAccountName != "" &&
		pod.Annotations[corev1.MirrorPodAnnotationKey] == "" &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

func (f *Finder) dropPod(object any) {
	if pod, ok := object.(metav1.Object); ok {
		key := types.NamespacedName{Namespace: pod.GetNamespace(), Name: pod.GetName()}
		if _, found := f.seen[key]; found {
			delete(f.seen, key)
			f.touch()
		}
	}
}

func (f *Finder) replacePods() { clear(f.seen); f.complete[1] = true; f.touch() }

// listWatch is a client's list and watch of one kind in all namespaces.
func listWatch[L runtime.Object](
	client any, list func(context.Context, metav1.ListOptions) (L, error),
	from func(context.Context, metav1.ListOptions) (watch.Interface, error),
) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return list(ctx, options)
		},
		WatchFuncWithContext: from,
	}, client)
}
