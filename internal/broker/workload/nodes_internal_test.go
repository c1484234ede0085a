package workload

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/broker/refusal"
)

const (
	instance = "i-0123456789abcdef0"
	other    = "i-00000000000000001"
)

func newNode(name, provider string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{ProviderID: provider}}
}

func TestInstanceIDs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		instance: true, "i-01234567": true, "i-0123456": false, instance +
			"0": false, "i-0123456789ABCDEF0": false, "0123456789abcdef0": false, "": false,
	} {
		if got := IsInstanceID(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	for provider, want := range map[string]string{
		"aws:///eu-west-1a/" + instance: instance,
		"aws:///" + instance:            instance,
		"aws://eu-west-1a/" + instance:  "",
		"aws:///eu-west-1a/fargate-ip":  "",
		"gce:///zone/" + instance:       "",
		instance:                        "",
		"":                              "",
	} {
		if got := instanceOf(newNode("n", provider)); got != want {
			t.Errorf("%q is instance %q, want %q", provider, got, want)
		}
	}
}

// nodesOf are the nodes of a cluster that were read now, and the clock that says so.
func nodesOf(t *testing.T, mode Mode, names map[string]string) (*Nodes, *fake.Clientset, *time.Time) {
	t.Helper()
	now := issued
	client := fake.NewClientset()
	n := NewNodes(client, mode, func() time.Time { return now })
	var list []any
	for name, id := range names {
		node := newNode(name, "aws:///eu-west-1a/"+id)
		if err := client.Tracker().Add(node); err != nil {
			t.Fatal(err)
		}
		list = append(list, node)
	}
	if err := n.Replace(append(list, "junk"), ""); err != nil {
		t.Fatal(err)
	}
	return n, client, &now
}

// TestOneNodeIsAnInstance: no name, or several, is no answer.
func TestOneNodeIsAnInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, _, now := nodesOf(t, Auto, map[string]string{"a": instance, "b": other, "c": other, "d": "fargate"})
		got, err := n.OfInstance(t.Context(), instance)
		if got != "a" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_, err = n.OfInstance(t.Context(), other)
		wantRefused(t, "two nodes", err, refusal.AccessDenied, "The nodes b, c all have the instance ID")
		before := time.Now()
		_, err = n.OfInstance(t.Context(), "i-99999999")
		wantRefused(t, "no node", err, refusal.AccessDenied, "No node")
		if waited := time.Since(before); waited != newcomerWait {
			t.Errorf("waited %s for a newcomer, want %s", waited, newcomerWait)
		}
		*now = now.Add(fresh + 1)
		_, err = n.OfInstance(t.Context(), "i-99999999")
		wantRefused(t, "no node that is known, and the watch stands still", err, refusal.Unavailable, "stands still")
		_, err = n.OfInstance(t.Context(), other)
		wantRefused(t, "two nodes, and the watch stands still", err, refusal.AccessDenied, "b, c")

		ctx, cancel := context.WithTimeout(t.Context(), newcomerWait/2)
		defer cancel()
		_, err = n.OfInstance(ctx, "i-99999999")
		wantRefused(t, "given up", err, refusal.Unavailable, "deadline exceeded")
	})
}

func TestNodesThatWereNeverRead(t *testing.T) {
	t.Parallel()
	n := NewNodes(fake.NewClientset(), Auto, time.Now)
	_, err := n.OfInstance(t.Context(), instance)
	wantRefused(t, "never read", err, refusal.Unavailable, "not known yet")
	if isClosed(n.Synced()) {
		t.Error("synced before anything was read")
	}
}

// TestNewNodesAreWaitedFor, and nothing but the wanted one ends the waiting.
func TestNewNodesAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, _, _ := nodesOf(t, Auto, map[string]string{"a": other})
		add := func(after time.Duration, name, id string) {
			time.AfterFunc(after, func() {
				if err := n.Add(newNode(name, "aws:///eu-west-1a/"+id)); err != nil {
					t.Error(err)
				}
			})
		}
		add(newcomerWait/4, "b", "i-11111111")
		add(newcomerWait/2, "c", instance)
		before := time.Now()
		got, err := n.OfInstance(t.Context(), instance)
		if took := time.Since(before); got != "c" || err != nil || took != newcomerWait/2 {
			t.Errorf("%q, %v after %s", got, err, took)
		}
	})
}

// TestKnownNodesAreReadWhenTheWatchIsOld: one that may be gone unnoticed does not
// count. By keys alone they count ten minutes, as pods do.
func TestKnownNodesAreReadWhenTheWatchIsOld(t *testing.T) {
	t.Parallel()
	resource := corev1.SchemeGroupVersion.WithResource("nodes")
	for mode, within := range map[Mode]time.Duration{Auto: fresh, TokenReview: fresh, Both: fresh, JWKS: stale} {
		n, client, now := nodesOf(t, mode, map[string]string{"a": instance})
		*now = now.Add(within)
		reads := func() int { return len(client.Actions()) }
		if got, err := n.OfInstance(t.Context(), instance); got != "a" || err != nil || reads() != 0 {
			t.Errorf("%s: up to date: %q, %v, %d reads", mode, got, err, reads())
		}
		*now = now.Add(1)
		if got, err := n.OfInstance(t.Context(), instance); got != "a" || err != nil || reads() != 1 {
			t.Errorf("%s: old: %q, %v, %d reads", mode, got, err, reads())
		}
		if err := client.Tracker().Update(resource, newNode("a", "aws:///eu-west-1a/"+other), ""); err != nil {
			t.Fatal(err)
		}
		_, err := n.OfInstance(t.Context(), instance)
		wantRefused(t, "another instance by now", err, refusal.AccessDenied, "No node")
		if err := client.Tracker().Delete(resource, "", "a"); err != nil {
			t.Fatal(err)
		}
		_, err = n.OfInstance(t.Context(), instance)
		wantRefused(t, "gone by now", err, refusal.AccessDenied, "No node")
		client.PrependReactor("get", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("connection refused")
		})
		_, err = n.OfInstance(t.Context(), instance)
		wantRefused(t, "the API server is away", err, refusal.Unavailable, "whether the node exists")
	}
}

// TestIndexOfInstances follows the watch: names and instances come, change and go.
func TestIndexOfInstances(t *testing.T) {
	t.Parallel()
	n, _, _ := nodesOf(t, Auto, map[string]string{"a": instance})
	expect := func(after string, want map[string][]string) {
		t.Helper()
		if diff := cmp.Diff(want, n.byID); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", after, diff)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	node := func(name, id string) *corev1.Node { return newNode(name, "aws:///eu-west-1a/"+id) }
	must(n.Add(node("c", instance)))
	must(n.Add(node("b", instance)))
	must(n.Add(node("d", "fargate")))
	expect("additions", map[string][]string{instance: {"a", "b", "c"}})
	must(n.Update(node("b", instance)))
	expect("an update that changes nothing", map[string][]string{instance: {"a", "b", "c"}})
	must(n.Update(node("a", other)))
	expect("another instance", map[string][]string{instance: {"b", "c"}, other: {"a"}})
	must(n.Delete(node("b", instance)))
	must(n.Delete(node("a", other)))
	expect("deletions", map[string][]string{instance: {"c"}})
	must(n.Update("junk"))
	must(n.Delete("junk"))
	must(n.Replace([]any{node("e", other)}, ""))
	expect("a list", map[string][]string{other: {"e"}})
	if diff := cmp.Diff(map[string]map[string]string{"": {"e": other}}, n.known); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
}
