package agent_test

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/internal/agent"
)

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address }
}

// at is the pod with addresses, as kubelet reports them.
func at(addresses ...string) *corev1.Pod {
	pod := runningPod(corev1.PodRunning)
	for _, one := range addresses {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: one})
	}
	return pod
}

func verifySource(c *agent.Config) { c.VerifySource = true }

// nodeHas verifies, on a node with two addresses.
func nodeHas(c *agent.Config) {
	c.VerifySource = true
	c.NodeAddresses = func() ([]net.Addr, error) {
		return []net.Addr{
			&net.IPNet{IP: net.ParseIP("192.0.2.1"), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("2001:db8::1"), Mask: net.CIDRMask(64, 128)},
		}, nil
	}
}

// nodeHasNone verifies, on a node that does not say which addresses it has.
func nodeHasNone(c *agent.Config) {
	c.VerifySource = true
	c.NodeAddresses = func() ([]net.Addr, error) { return nil, errors.New("not now") }
}

// TestNewNodeAddress: an address that the node gets later counts a second later, and one
// that it had does not for long.
func TestNewNodeAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		onHost := at("192.0.2.1")
		onHost.Spec.HostNetwork = true
		has := []net.Addr{}
		r := withPods(t, fake.NewClientset(onHost), &fakeUpstream{}, func(c *agent.Config) {
			c.VerifySource = true
			c.NodeAddresses = func() ([]net.Addr, error) { return has, nil }
		})
		raw := cart(time.Now()).mint(t)
		ask := func(status int) { t.Helper(); answerOf(t, r.get(raw, from("192.0.2.9:1")), status) }
		ask(http.StatusForbidden)
		has = []net.Addr{&net.IPNet{IP: net.ParseIP("192.0.2.9").To4(), Mask: net.CIDRMask(24, 32)}}
		time.Sleep(time.Second)
		ask(http.StatusOK)
		has = nil
		time.Sleep(10 * time.Second)
		ask(http.StatusForbidden)
	})
}

// TestSender: with --verify-source-ip a token is good from its pod's addresses
// only, cached or not; without, from everywhere (spec podidentity §20).
func TestSender(t *testing.T) {
	t.Parallel()
	onHost := at("192.0.2.1")
	onHost.Spec.HostNetwork = true
	for _, row := range []struct {
		name   string
		pod    *corev1.Pod
		change func(*agent.Config)
		from   string
		status int
		calls  int
	}{
		{"its address", at("10.1.0.7"), verifySource, "10.1.0.7:4711", http.StatusOK, 1},
		{"its address, mapped", at("10.1.0.7"), verifySource, "[::ffff:10.1.0.7]:4711", http.StatusOK, 1},
		{"its other address", at("10.1.0.7", "fd00::7"), verifySource, "[fd00::7]:4711", http.StatusOK, 1},
		{"of another pod", at("10.1.0.7", "fd00::7"), verifySource, "10.1.0.8:4711", http.StatusForbidden, 0},
		{"of the node", at("10.1.0.7"), verifySource, "127.0.0.1:4711", http.StatusForbidden, 0},
		{"on the host's network", onHost, verifySource, "127.0.0.1:4711", http.StatusOK, 1},
		{"on the host's network, by the node's address", onHost, nodeHas, "192.0.2.1:4711", http.StatusOK, 1},
		{"on the host's network, by its other", onHost, nodeHas, "[2001:db8::1]:4711", http.StatusOK, 1},
		{"on the host's network, from a pod", onHost, nodeHas, "10.1.0.8:4711", http.StatusForbidden, 0},
		{"on the host's network, from a neighbour", onHost, nodeHas, "192.0.2.2:4711", http.StatusForbidden, 0},
		{"on the host's network, addresses not known", onHost, nodeHasNone, "192.0.2.1:4711", http.StatusForbidden, 0},
		{"off", at("10.1.0.7"), nil, "10.1.0.8:4711", http.StatusOK, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				upstream := &fakeUpstream{}
				r := withPods(t, fake.NewClientset(row.pod), upstream, row.change)
				raw := cart(time.Now()).mint(t)
				got := answerOf(t, r.get(raw, from(row.from)), row.status)
				if row.status != http.StatusOK && got["code"] != "AccessDenied" {
					t.Errorf("answer %v", got)
				}
				if upstream.count() != row.calls {
					t.Errorf("%d calls, want %d", upstream.count(), row.calls)
				}
			})
		})
	}
}

// TestSenderOfCached: somebody who holds the token of a pod that has credentials
// gets none from elsewhere, neither by that token nor, were it accepted, by
// another of the pod; the pod itself is not disturbed.
func TestSenderOfCached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream := &fakeUpstream{}
		r := withPods(t, fake.NewClientset(at("10.1.0.7")), upstream, verifySource)
		raw := cart(time.Now()).mint(t)
		answerOf(t, r.get(raw, from("10.1.0.7:1")), http.StatusOK)
		for range 30 {
			if got := r.get(
				raw, from("10.1.0.8:1"),
			); got.Code != http.StatusForbidden && got.Code != http.StatusTooManyRequests {
				t.Fatalf("%d %s", got.Code, got.Body)
			}
		}
		answerOf(t, r.get(raw, from("10.1.0.7:1")), http.StatusOK)
		if upstream.count() != 1 {
			t.Errorf("%d calls", upstream.count())
		}
	})
}

// TestSenderNotKnownYet: a pod that asks before the watch has brought its address
// is waited for, and asked to come again if it does not come.
func TestSenderNotKnownYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(at())
		upstream := &fakeUpstream{}
		r := withPods(t, client, upstream, verifySource)
		raw := cart(time.Now()).mint(t)
		began := time.Now()
		got := answerOf(t, r.get(raw, from("10.1.0.7:1")), http.StatusServiceUnavailable)
		if waited := time.Since(began); got["code"] != "ServiceUnavailableException" || waited != 900*time.Millisecond {
			t.Errorf("%v after %v", got, waited)
		}
		for address, status := range map[string]int{"10.1.0.8:1": http.StatusForbidden, "10.1.0.7:1": http.StatusOK} {
			if _, err := client.CoreV1().Pods("shop").UpdateStatus(
				t.Context(), at(), metav1.UpdateOptions{},
			); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			answered := make(chan int)
			go func() { answered <- r.get(raw, from(address)).Code }()
			time.Sleep(400 * time.Millisecond)
			select {
			case code := <-answered:
				t.Fatalf("%s: answered %d before the address was known", address, code)
			default:
			}
			if _, err := client.CoreV1().Pods("shop").UpdateStatus(
				t.Context(), at("10.1.0.7"), metav1.UpdateOptions{},
			); err != nil {
				t.Fatal(err)
			}
			if code := <-answered; code != status {
				t.Errorf("%s: %d, want %d", address, code, status)
			}
		}
		if upstream.count() != 1 {
			t.Errorf("%d calls", upstream.count())
		}
	})
}

// TestSenderNeedsPods: an agent that could not verify does not start.
func TestSenderNeedsPods(t *testing.T) {
	t.Parallel()
	config := agent.Defaults()
	config.VerifySource = true
	if _, err := agent.New(config); err == nil {
		t.Error("an agent that watches no pods verifies their addresses")
	}
}
