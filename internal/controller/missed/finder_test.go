package missed_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/controller/missed"
	"github.com/rolecall/rolecall/internal/inject"
)

// world is a cluster in which webhook and kubelet are the test.
type world struct {
	t            *testing.T
	core         *fake.Clientset
	associations *dynamicfake.FakeDynamicClient
	finder       *missed.Finder

	mu      sync.Mutex
	evicted []string
	changed []types.NamespacedName
	busy    bool // disruption budgets allow nothing
	onEvict func(name string)
}

func newWorld(t *testing.T, restart bool, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{
		t:    t,
		core: fake.NewClientset(objects...),
		associations: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
			map[schema.GroupVersionResource]string{
				v1alpha1.GroupVersion.WithResource("podidentityassociations"): "PodIdentityAssociationList",
			}),
	}
	w.core.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		created, _ := action.(clienttesting.CreateAction)
		eviction, _ := created.GetObject().(*policyv1.Eviction)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.busy {
			return true, nil, apierrors.NewTooManyRequests("the budget", 1)
		}
		w.evicted = append(w.evicted, eviction.Name)
		go w.onEvict(eviction.Name)
		return true, nil, nil
	})
	w.onEvict = func(name string) {
		_ = w.core.CoreV1().Pods("n").Delete(t.Context(), name, metav1.DeleteOptions{}) // when the bubble ends
	}
	w.finder = missed.New(missed.Config{
		Client: w.core, Associations: w.associations, Settings: inject.Defaults(), Restart: restart,
		Changed: func(name types.NamespacedName) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changed = append(w.changed, name)
		},
		Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.finder.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *world) associate(name, account string, paused bool) {
	w.t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rolecall.io/v1alpha1", "kind": "PodIdentityAssociation",
		"metadata": map[string]any{
			"namespace": "n", "name": name, "uid": name, "creationTimestamp": time.Now().UTC().Format(time.RFC3339),
		},
		"spec": map[string]any{
			"serviceAccountName": account, "allowPatterns": strings.HasSuffix(account, "*"), "paused": paused,
			"roleARN": "arn:aws:iam::111122223333:role/r",
		},
	}}
	if _, err := w.associations.Resource(v1alpha1.GroupVersion.WithResource("podidentityassociations")).Namespace("n").
		Create(w.t.Context(), object, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// events are the names of pods with an Event, and what it says.
func (w *world) events() map[string]string {
	w.t.Helper()
	list, err := w.core.EventsV1().Events("n").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	said := map[string]string{}
	for _, event := range list.Items {
		if event.Reason == "IdentityMissed" && event.Regarding.Kind == "Pod" {
			said[event.Regarding.Name] = event.Note
		}
	}
	return said
}

func account(name, role string) *corev1.ServiceAccount {
	made := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
	if role != "" {
		made.Annotations = map[string]string{"eks.amazonaws.com/role-arn": role}
	}
	return made
}

func pod(name, account string, edits ...func(*corev1.Pod)) *corev1.Pod {
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: name, UID: types.UID(name), CreationTimestamp: metav1.Now(),
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, Containers: []corev1.Container{{Name: "c", Image: "i"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, edit := range edits {
		edit(made)
	}
	return made
}

func env(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: name, Value: "v"}} }
}

func owned(kind, version string) func(*corev1.Pod) {
	yes := true
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: version, Kind: kind, Name: "o-" + kind, UID: types.UID("o-" + kind), Controller: &yes,
		}}
	}
}

const role = "arn:aws:iam::111122223333:role/r"

// TestMissed: which pods have an Event and count, and which do not though their account
// has an identity.
func TestMissed(t *testing.T) {
	t.Parallel()
	label := func(p *corev1.Pod) { p.Labels = map[string]string{inject.SkipLabel: "true"} }
	annotate := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations = map[string]string{key: value} }
	}
	rows := []struct {
		pod    *corev1.Pod
		missed string // part of the Event; empty for none
	}{
		{pod("irsa", "annotated"), "before the annotation"},
		{pod("associated", "associated"), "older than PodIdentityAssociation associated"},
		{pod("pattern", "team-a"), "older than PodIdentityAssociation team"},
		{pod("both", "both"), "before the annotation"}, // it was, and is said once
		{pod("host", "annotated", func(p *corev1.Pod) { p.Spec.HostNetwork = true }), "before the annotation"},
		{pod("plain", "plain"), ""},
		{pod("unknown", "unknown"), ""},
		{pod("paused", "paused"), ""},
		{pod("has-web", "annotated", env("AWS_WEB_IDENTITY_TOKEN_FILE")), ""},
		{pod("has-agent", "associated", env("AWS_CONTAINER_CREDENTIALS_FULL_URI")), ""},
		{pod("has-old", "both", env("AWS_ROLE_ARN")), ""},
		{pod("has-keys", "annotated", env("AWS_ACCESS_KEY_ID")), ""},
		{pod("opted-out", "annotated", label), ""},
		{pod("skips", "annotated", annotate("eks.amazonaws.com/skip-containers", "c")), ""},
		{pod("static", "annotated", annotate(corev1.MirrorPodAnnotationKey, "x")), ""},
		{pod("nobody", ""), ""},
		{pod("done", "annotated", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), ""},
		{pod("failed", "annotated", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), ""},
		{pod("going", "annotated", func(p *corev1.Pod) {
			now := metav1.Now()
			p.DeletionTimestamp, p.Finalizers = &now, []string{"x"}
		}), ""},
	}
	synctest.Test(t, func(t *testing.T) {
		objects := []runtime.Object{
			account("annotated", role), account("associated", ""), account("both", role), account("plain", ""),
			account("paused", ""), account("team-a", ""),
		}
		for _, row := range rows {
			row.pod.CreationTimestamp = metav1.Now()
			objects = append(objects, row.pod)
		}
		w := newWorld(t, false, objects...)
		time.Sleep(time.Minute)
		w.associate("associated", "associated", false)
		w.associate("both", "both", false)
		w.associate("team", "team-*", false)
		w.associate("paused", "paused", true)
		time.Sleep(time.Minute)
		said := w.events()
		for _, row := range rows {
			note, found := said[row.pod.Name]
			if found != (row.missed != "") || !strings.Contains(note, row.missed) {
				t.Errorf("%s: %q, want %q", row.pod.Name, note, row.missed)
			}
		}
		missedOf := func(name string) (names []string) {
			for _, one := range w.finder.Missed(types.NamespacedName{Namespace: "n", Name: name}) {
				names = append(names, one.Name)
			}
			return names
		}
		if got := missedOf("associated"); !slices.Equal(got, []string{"associated"}) {
			t.Errorf("of the association: %v", got)
		}
		if got := missedOf("both"); !slices.Equal(got, []string{"both"}) {
			t.Errorf("of the association of an annotated account: %v", got)
		}
		// Once it is restarted, nothing is missed, and the association is told.
		w.mu.Lock()
		w.changed = nil
		w.mu.Unlock()
		pods := w.core.CoreV1().Pods("n")
		if err := pods.Delete(t.Context(), "associated", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := pods.Create(t.Context(), pod("again", "associated", env("AWS_CONTAINER_CREDENTIALS_FULL_URI")),
			metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := missedOf("associated"); got != nil || len(w.changed) != 1 || w.changed[0].Name != "associated" {
			t.Errorf("after the restart: %v, told %v", got, w.changed)
		}
	})
}

// TestAnnotatedLater: an account that is annotated after its pod was created.
func TestAnnotatedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, account("s", ""), pod("p", "s"))
		time.Sleep(time.Minute)
		if said := w.events(); len(said) != 0 {
			t.Errorf("before: %v", said)
		}
		if _, err := w.core.CoreV1().ServiceAccounts("n").Update(
			t.Context(), account("s", role), metav1.UpdateOptions{},
		); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if said := w.events(); said["p"] == "" {
			t.Errorf("after: %v", said)
		}
	})
}

// TestNotAllowedToLook: without permission nothing is found, and nothing ends.
func TestNotAllowedToLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, account("s", role), pod("p", "s"))
		refuse := func(action clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(action.GetResource().GroupResource(), "", nil)
		}
		w.core.PrependReactor("list", "pods", refuse)
		time.Sleep(time.Minute)
		if said := w.events(); len(said) != 0 {
			t.Errorf("found %v", said)
		}
	})
}

// TestRestart: who is evicted with --restart-missed, and who is not.
func TestRestart(t *testing.T) {
	t.Parallel()
	limit := func(n int32) *int32 { return &n }
	job := func(name string, backoff *int32, failed int32) *batchv1.Job {
		return &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: types.UID(name)},
			Spec:       batchv1.JobSpec{BackoffLimit: backoff},
			Status:     batchv1.JobStatus{Failed: failed},
		}
	}
	for _, row := range []struct {
		name    string
		edit    func(*corev1.Pod)
		more    []runtime.Object
		restart bool
		evicted bool
	}{
		{"ReplicaSet", owned("ReplicaSet", "apps/v1"), nil, true, true},
		{"StatefulSet", owned("StatefulSet", "apps/v1"), nil, true, true},
		{"DaemonSet", owned("DaemonSet", "apps/v1"), nil, true, true},
		{"ReplicationController", owned("ReplicationController", "v1"), nil, true, true},
		{"Job", owned("Job", "batch/v1"), []runtime.Object{job("o-Job", nil, 0)}, true, true},
		{"Job that may not fail", owned("Job", "batch/v1"), []runtime.Object{job("o-Job", limit(0), 0)}, true, false},
		{"Job at its limit", owned("Job", "batch/v1"), []runtime.Object{job("o-Job", limit(2), 2)}, true, false},
		{"Job that is gone", owned("Job", "batch/v1"), nil, true, false},
		{"bare", func(*corev1.Pod) {}, nil, true, false},
		{"owner that nobody knows", owned("ReplicaSet", "example.com/v1"), nil, true, false},
		{"Node, of a static pod", owned("Node", "v1"), nil, true, false},
		{"not told to", owned("ReplicaSet", "apps/v1"), nil, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, row.restart, append(row.more, account("s", role), pod("p", "s", row.edit))...)
				time.Sleep(time.Minute)
				w.mu.Lock()
				defer w.mu.Unlock()
				if got := len(w.evicted) > 0; got != row.evicted {
					t.Errorf("evicted %v", w.evicted)
				}
			})
		})
	}
}

// TestRestartNeedsProof: of an owner whose next pod has no identity either, one pod is
// evicted and no more; once its next pod has one, the others follow, one after the other,
// and disruption budgets are obeyed.
func TestRestartNeedsProof(t *testing.T) {
	t.Parallel()
	for _, injected := range []bool{false, true} {
		t.Run(fmt.Sprint("webhook works ", injected), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				objects := []runtime.Object{account("s", role)}
				of := owned("ReplicaSet", "apps/v1")
				for i := range 4 {
					objects = append(objects, pod(fmt.Sprint("p", i), "s", of))
				}
				w := newWorld(t, true, objects...)
				w.mu.Lock()
				w.busy = true
				w.onEvict = func(name string) { // the owner makes another
					pods := w.core.CoreV1().Pods("n")
					_ = pods.Delete(t.Context(), name, metav1.DeleteOptions{})
					next := pod(name+"x", "s", of)
					if injected {
						env("AWS_WEB_IDENTITY_TOKEN_FILE")(next)
					}
					_, _ = pods.Create(t.Context(), next, metav1.CreateOptions{})
				}
				w.mu.Unlock()
				time.Sleep(time.Minute)
				w.mu.Lock()
				if len(w.evicted) != 0 {
					t.Errorf("against the budget: %v", w.evicted)
				}
				w.busy = false
				w.mu.Unlock()
				time.Sleep(10 * time.Minute)
				w.mu.Lock()
				defer w.mu.Unlock()
				if want := map[bool]int{false: 1, true: 4}[injected]; len(w.evicted) != want {
					t.Errorf("evicted %v, want %d", w.evicted, want)
				}
			})
		})
	}
}
