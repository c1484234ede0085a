package agent_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/awsapi"
)

// fleet gives so many pods of the node credentials, in the course of two hours,
// and returns their tokens.
func fleet(t *testing.T, r *rig, pods int) []string {
	t.Helper()
	tokens := make([]string, pods)
	for i := range tokens {
		one := cart(time.Now())
		one.uid = fmt.Sprint("u", i)
		tokens[i] = one.mint(t)
		answerOf(t, r.get(tokens[i]), http.StatusOK)
		time.Sleep(2 * time.Hour / time.Duration(pods))
	}
	return tokens
}

// TestBrokerDownTenMinutes: 500 pods hold credentials while the broker is away
// for ten minutes, renewals falling due all the time. None is refused or waits,
// and what was missed is made up for at the rate of renewals.
func TestBrokerDownTenMinutes(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		tokens := fleet(t, r, 500)
		time.Sleep(time.Hour) // the first ones are due
		upstream.become(down)
		asked := upstream.count()
		for range 20 {
			time.Sleep(30 * time.Second)
			begin := time.Now()
			for _, raw := range tokens {
				if left := expires(t, r.get(raw)).Sub(begin); left < time.Hour {
					t.Fatalf("%s left", left)
				}
			}
			if time.Since(begin) != 0 {
				t.Fatalf("pods waited %s", time.Since(begin))
			}
		}
		// three attempts of three renewals a second
		if calls := upstream.count() - asked; calls == 0 || calls > 10*60*3*3 {
			t.Errorf("%d attempts in ten minutes", calls)
		}
		upstream.become(nil)
		back := upstream.count()
		time.Sleep(5 * time.Minute)
		upstream.mu.Lock()
		times := upstream.times[back:]
		upstream.mu.Unlock()
		for i := range times {
			if i >= 12 && times[i].Sub(times[i-12]) < 3*time.Second {
				t.Fatalf("12 calls within %s", times[i].Sub(times[i-12]))
			}
		}
		for i, raw := range tokens {
			if left := time.Until(expires(t, r.get(raw))); left < 2*time.Hour+30*time.Minute {
				t.Fatalf("pod %d was not made up for: %s left", i, left)
			}
		}
	})
}

// TestThrottlingOfRenewals: a service that throttles is asked less, pods notice
// nothing, and all are renewed when it recovers.
func TestThrottlingOfRenewals(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		tokens := fleet(t, r, 200)
		upstream.become(always(refuse(http.StatusTooManyRequests, "ThrottlingException")))
		time.Sleep(2 * time.Hour)
		for _, raw := range tokens {
			answerOf(t, r.get(raw), http.StatusOK)
		}
		// Full speed would be 3 renewals of 3 attempts a second.
		before := upstream.count()
		time.Sleep(10 * time.Minute)
		if calls := upstream.count() - before; calls > 10*60*3 {
			t.Errorf("%d attempts in ten minutes of throttling", calls)
		}
		upstream.become(nil)
		time.Sleep(30 * time.Minute)
		for i, raw := range tokens {
			if left := time.Until(expires(t, r.get(raw))); left < 3*time.Hour {
				t.Fatalf("pod %d has %s left", i, left)
			}
		}
	})
}

// TestAPIServerAway: a watch that is lost drops nothing and is not needed; when
// it is back, it counts.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(runningPod(corev1.PodRunning))
		var mu sync.Mutex
		away := false
		watching := []*watch.FakeWatcher{}
		fails := func(clienttesting.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			return away, nil, errDown
		}
		client.PrependReactor("list", "pods", fails)
		client.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
			mu.Lock()
			defer mu.Unlock()
			if away {
				return true, nil, errDown
			}
			made := watch.NewFake()
			watching = append(watching, made)
			return true, made, nil
		})
		upstream := &fakeUpstream{answer: lasting(time.Hour)}
		r := withPods(t, client, upstream)
		start(t, r)
		raw := cart(time.Now()).mint(t)
		answerOf(t, r.get(raw), http.StatusOK)
		mu.Lock()
		away = true
		for _, one := range watching {
			one.Stop()
		}
		mu.Unlock()
		time.Sleep(6 * time.Hour)
		calls := upstream.count()
		answerOf(t, r.get(raw), http.StatusOK)
		if calls < 12 || upstream.count() != calls {
			t.Errorf("%d calls in six hours, then %d: the pod is known to run", calls, upstream.count()-calls)
		}
		if err := client.Tracker().Delete(
			corev1.SchemeGroupVersion.WithResource("pods"), "shop", "cart-0", metav1.DeleteOptions{},
		); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		away = false
		mu.Unlock()
		time.Sleep(5 * time.Minute)
		if entries := r.metric(t, "rolecall_agent_cache_entries"); entries != 0 {
			t.Error("a pod that ended meanwhile is kept")
		}
	})
}

// TestRotationInFlight: kubelet replaces a token while a call with the old one is
// under way. Both requests are answered, and renewals go with the new token.
func TestRotationInFlight(t *testing.T) {
	upstream := &fakeUpstream{delay: 300 * time.Millisecond}
	bubble(t, upstream, withKeys, func(t *testing.T, r *rig) {
		old := cart(time.Now())
		old.life = time.Hour
		first, second := old.mint(t), cart(time.Now()).mint(t)
		tokens := []string{first, second, first, second}
		for i, got := range together(r, len(tokens), func(i int) string {
			time.Sleep(time.Duration(i) * 50 * time.Millisecond)
			return tokens[i]
		}) {
			if got.Code != http.StatusOK {
				t.Errorf("request %d: %s", i, got.Body)
			}
		}
		if upstream.count() > 2 {
			t.Errorf("%d calls for two tokens", upstream.count())
		}
		// A renewal is under way with the newest token when a newer one comes.
		time.Sleep(2*time.Hour + 55*time.Minute)
		renewed := upstream.count()
		third := cart(time.Now()).mint(t)
		answerOf(t, r.get(third), http.StatusOK)
		time.Sleep(4 * time.Hour)
		answerOf(t, r.get(third), http.StatusOK)
		time.Sleep(time.Hour)
		if upstream.count() == renewed {
			t.Fatal("no renewal")
		}
		for _, raw := range upstream.seen[2:] {
			if raw == first {
				t.Error("the old token is sent after the new one came")
			}
		}
	})
}

// TestExpiredByTheService: the service takes our stored token for expired, as
// with a clock that differs. The entry stays; the next token of the pod renews
// it (spec podidentity row D8).
func TestExpiredByTheService(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, withKeys, func(t *testing.T, r *rig) {
		old := cart(time.Now())
		first := old.mint(t)
		answerOf(t, r.get(first), http.StatusOK)
		upstream.become(func(raw string, _ int) (*awsapi.PodSession, error) {
			if raw == first {
				return nil, refuse(http.StatusBadRequest, "ExpiredTokenException")
			}
			return given(raw, 6*time.Hour), nil
		})
		time.Sleep(3*time.Hour + time.Minute)
		answerOf(t, r.get(first), http.StatusOK)
		calls := upstream.count()
		answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusOK)
		time.Sleep(5 * time.Second)
		if upstream.count() != calls+1 {
			t.Errorf("%d calls after the new token", upstream.count()-calls)
		}
		if left := time.Until(expires(t, r.get(first))); left < 5*time.Hour {
			t.Errorf("%s left", left)
		}
	})
}

// TestThrottledAlways: a pod without credentials is told 429 after three calls,
// not more (spec podidentity row E5).
func TestThrottledAlways(t *testing.T) {
	upstream := &fakeUpstream{answer: always(refuse(http.StatusTooManyRequests, "ThrottlingException"))}
	bubble(t, upstream, func(c *agent.Config) { c.ForegroundDeadline = 5 * time.Second }, func(t *testing.T, r *rig) {
		got := answerOf(t, r.get(cart(time.Now()).mint(t)), http.StatusTooManyRequests)
		if got["code"] != "ThrottlingException" || upstream.count() != 3 {
			t.Errorf("%d calls, %v", upstream.count(), got)
		}
	})
}

// TestTwoFamilies: listeners share one agent, so a token that came over IPv4 is
// known over IPv6 (spec podidentity row G4); a token without a pod is kept by its hash (spec podidentity row G15).
func TestTwoFamilies(t *testing.T) {
	upstream := &fakeUpstream{}
	bubble(t, upstream, nil, func(t *testing.T, r *rig) {
		unbound := cart(time.Now())
		unbound.uid = ""
		for calls, raw := range []string{cart(time.Now()).mint(t), unbound.mint(t)} {
			answerOf(t, r.get(raw), http.StatusOK)
			answerOf(
				t, r.get(raw, func(q *http.Request) { q.Host, q.RemoteAddr = "[fd00:ec2::23]", "[fd00::9]:1" }),
				http.StatusOK,
			)
			if upstream.count() != calls+1 {
				t.Errorf("%d calls", upstream.count())
			}
		}
	})
}
