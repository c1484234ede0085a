package agent_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/internal/agent"
)

// TestPodEnds: a minute after its pod ended a session is gone, its token goes to
// the upstream again, which refuses it; and what the upstream grants in that
// minute is not kept beyond it (spec podidentity row D12, §20).
func TestPodEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(context.Context, *fake.Clientset) error{
		"deleted": func(ctx context.Context, client *fake.Clientset) error {
			return client.CoreV1().Pods("shop").Delete(ctx, "cart-0", metav1.DeleteOptions{})
		},
		"failed": func(ctx context.Context, client *fake.Clientset) error {
			_, err := client.CoreV1().Pods("shop").UpdateStatus(
				ctx, runningPod(corev1.PodFailed), metav1.UpdateOptions{},
			)
			return err
		},
		"succeeded": func(ctx context.Context, client *fake.Clientset) error {
			_, err := client.CoreV1().Pods("shop").UpdateStatus(
				ctx, runningPod(corev1.PodSucceeded), metav1.UpdateOptions{},
			)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset(runningPod(corev1.PodRunning))
				dead := map[string]bool{}
				upstream := &fakeUpstream{answer: verifying(dead)}
				r := withPods(t, client, upstream)
				start(t, r)
				raw := cart(time.Now()).mint(t)
				answerOf(t, r.get(raw), http.StatusOK)
				if err := end(t.Context(), client); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				time.Sleep(30 * time.Second)
				answerOf(t, r.get(raw), http.StatusOK)
				// The service still accepts another token of the pod.
				answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
				time.Sleep(32 * time.Second)
				if entries := r.metric(t, "rolecall_agent_cache_entries"); entries != 0 {
					t.Errorf("%v entries", entries)
				}
				// A service that is slow to notice may grant, but nothing is kept.
				before := upstream.count()
				answerOf(t, r.get(raw), http.StatusOK)
				answerOf(t, r.get(raw), http.StatusOK)
				if upstream.count() != before+2 {
					t.Errorf("%d calls, want each request to ask", upstream.count()-before)
				}
				upstream.mu.Lock()
				dead["u1"] = true
				upstream.mu.Unlock()
				answerOf(t, r.get(raw), http.StatusBadRequest)
			})
		})
	}
}

// TestPodRunsOn: a pod that is known to run is renewed though it does not ask.
func TestPodRunsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := &fakeUpstream{answer: lasting(time.Hour)}
		r := withPods(t, fake.NewClientset(runningPod(corev1.PodRunning)), upstream)
		start(t, r)
		raw := cart(time.Now()).mint(t)
		answerOf(t, r.get(raw), http.StatusOK)
		time.Sleep(12 * time.Hour)
		if calls := upstream.count(); calls < 24 {
			t.Errorf("%d calls in twelve hours", calls)
		}
		calls := upstream.count()
		answerOf(t, r.get(raw), http.StatusOK)
		if upstream.count() != calls {
			t.Error("the pod had to wait for the upstream")
		}
	})
}

func runningPod(phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-0", UID: types.UID("u1")},
		Spec:       corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{Phase: phase},
	}
}

func withPods(t *testing.T, client *fake.Clientset, upstream agent.Upstream, change ...func(*agent.Config)) *rig {
	t.Helper()
	pods, err := agent.NewPods(client, "n1", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, upstream, func(c *agent.Config) {
		c.Pods = pods
		for _, one := range change {
			if one != nil {
				one(c)
			}
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pods.Run(ctx, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return r
}
