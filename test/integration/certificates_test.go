package integration_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// TestRotationsAndRestartsLoseNothing runs two replicas that make their own
// certificates, with lifetimes of seconds, behind one address, while pods are
// created: certificates and authorities are rotated, one replica is replaced,
// and every pod has its role.
func TestRotationsAndRestartsLoseNothing(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	ctx := t.Context()
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "eks"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	balancer := newBalancer(t)
	first, second := startReplica(t, c, balancer.address()), startReplica(t, c, balancer.address())
	balancer.set(first.address, second.address)
	waitUntilCalled(t, c)

	load, stopLoad := context.WithCancel(ctx)
	var made, missed atomic.Int64
	var creators sync.WaitGroup
	for range 2 {
		creators.Go(func() {
			for load.Err() == nil {
				pod, err := c.Client.CoreV1().
					Pods("default").
					Create(ctx, newPod("probe", "probe"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				made.Add(1)
				if err != nil || !slices.ContainsFunc(pod.Spec.Volumes, isTokenVolume) {
					missed.Add(1)
					t.Errorf("pod %d at %s: no role, error %v", made.Load(), time.Now().Format(time.TimeOnly), err)
				}
			}
		})
	}
	seen := watchRotations(t, c, 3, func(rotations int) {
		if rotations == 1 { // replace a replica in the middle of it
			balancer.set(second.address)
			first.stop(t)
			first = startReplica(t, c, balancer.address())
			balancer.set(first.address, second.address)
		}
	})
	stopLoad()
	creators.Wait()
	t.Logf(
		"%d pods, %d without role, %d authorities, %d serving certificates", made.Load(), missed.Load(),
		seen.authorities, seen.certificates,
	)
	if made.Load() < 50 {
		t.Errorf("only %d pods", made.Load())
	}
	first.stop(t)
	second.stop(t)
}

type rotations struct{ authorities, certificates int }

// watchRotations looks at the Secret until so many authorities were added after
// the first and the old ones forgotten; it calls each after an authority's end.
func watchRotations(t *testing.T, c *cluster.Cluster, want int, each func(done int)) rotations {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	authorities, certificates, done := map[string]bool{}, map[string]bool{}, 0
	for {
		secret, err := c.Client.CoreV1().Secrets("eks").Get(ctx, "pod-identity-webhook", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		bundle := string(secret.Data["ca.crt"])
		certificates[string(secret.Data["tls.crt"])] = true
		if strings.Count(bundle, "BEGIN") == 1 && !authorities[bundle] {
			authorities[bundle] = true
			if done = len(authorities) - 1; done >= want {
				return rotations{len(authorities), len(certificates)}
			}
			if done > 0 {
				each(done)
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d rotations in time", done)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// replica is `serve webhook` running.
type replica struct {
	address string
	cancel  context.CancelFunc
	ended   chan int
	stderr  *lockedbuffer.Buffer
}

func startReplica(t *testing.T, c *cluster.Cluster, url string, more ...string) *replica {
	t.Helper()
	r := &replica{address: freeport.Address(t), ended: make(chan int, 1), stderr: &lockedbuffer.Buffer{}}
	system := app.NewSystem()
	system.Stderr = r.stderr
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	metrics := freeport.Address(t)
	go func() {
		r.ended <- app.Run(ctx, system, append([]string{
			"serve", "webhook", "--listen", r.address, "--metrics-listen", metrics, "--kubeconfig", c.Kubeconfig,
			"--webhook-url", "https://" + url + "/mutate", "--cert-lifetime", "20s", "--ca-lifetime", "24s",
			"--ca-settle", "3s", "--shutdown-delay", "500ms", "--log-format", "json",
		}, more...))
	}()
	deadline, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for {
		text := r.stderr.String()
		if strings.Contains(text, `"msg":"listening"`) && isReady(deadline, r.address) {
			return r
		}
		select {
		case code := <-r.ended:
			t.Fatalf("ended with %d:\n%s", code, text)
		case <-deadline.Done():
			t.Fatalf("not ready:\n%s", text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (r *replica) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if code := <-r.ended; code != 0 {
		t.Errorf("exit code %d:\n%s", code, r.stderr)
	}
}

// balancer is a Service: one address, new connections go around its backends.
type balancer struct {
	listener net.Listener
	mu       sync.Mutex
	backends []string
	next     int
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	return newBalancerAt(t, "127.0.0.1:0")
}

func newBalancerAt(t *testing.T, address string) *balancer {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	b := &balancer{listener: listener}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go b.pass(t.Context(), connection)
		}
	}()
	return b
}

func (b *balancer) address() string { return b.listener.Addr().String() }

func (b *balancer) set(backends ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = backends
}

func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.backends) == 0 {
		return ""
	}
	b.next++
	return b.backends[b.next%len(b.backends)]
}

func (b *balancer) pass(ctx context.Context, from net.Conn) {
	defer func() { _ = from.Close() }()
	var dialer net.Dialer
	to, err := dialer.DialContext(ctx, "tcp", b.pick())
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
}

// isReady asks without checking the certificate, which has just been made.
func isReady(ctx context.Context, address string) bool {
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
