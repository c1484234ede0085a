package integration_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/test/cluster"
)

// TestJustAssociated creates associations, and pods right after them: every pod
// has its Pod Identity, over the role of its account's annotation, also while the
// webhook hears nothing of changes.
func TestJustAssociated(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	if _, err := c.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "eks"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, client)
	waitForAssociations(t, client)
	watches := &gate{}
	balancer := newBalancer(t)
	hook := startReplica(
		t, c, balancer.address(), "--watch-associations", "--service-account-lookup-grace-period", "9s",
		"--kubeconfig", delayedAPI(t, c, watches),
	)
	balancer.set(hook.address)
	waitUntilCalled(t, c)
	const each = 200
	for _, delayed := range []bool{false, true} {
		t.Run(fmt.Sprintf("watch delayed %t", delayed), func(t *testing.T) {
			if delayed {
				watches.hold()
			}
			var creators sync.WaitGroup
			for creator := range 2 {
				creators.Go(func() {
					for i := range each / 2 {
						justAssociated(t, c, client, fmt.Sprintf("a-%t-%d-%d", delayed, creator, i), i%4 == 3)
					}
				})
			}
			creators.Wait()
		})
	}
	watches.release()
	t.Run("among thousands", func(t *testing.T) { amongThousands(t, c, client) })
	hook.stop(t)
	if log := hook.stderr.String(); strings.Contains(log, "associations not read") {
		t.Errorf("not read in time: %s", log)
	}
}

// amongThousands does the same where the namespace has 2,000 associations whose status
// is being written, and says how long pods without an association wait.
func amongThousands(t *testing.T, c *cluster.Cluster, client dynamic.Interface) {
	others := client.Resource(rolecallResource("podidentityassociations")).Namespace("default")
	const many = 2000
	var making sync.WaitGroup
	for maker := range 4 {
		making.Go(func() {
			for i := range many / 4 {
				name := fmt.Sprintf("other-%d-%d", maker, i)
				if _, err := others.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "rolecall.io/v1alpha1",
					"kind":       "PodIdentityAssociation",
					"metadata":   map[string]any{"name": name},
					"spec":       map[string]any{"serviceAccountName": name, "roleARN": roleARN},
				}}, metav1.CreateOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	making.Wait()
	if _, err := c.Client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "nobody"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, busy := range []bool{false, true} {
		ctx, quiet := context.WithCancel(t.Context())
		defer quiet()
		var writing sync.WaitGroup
		if busy {
			for maker := range 4 {
				writing.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						_, _ = others.Patch(
							ctx, fmt.Sprintf("other-%d-%d", maker, i%(many/4)), types.MergePatchType,
							fmt.Appendf(nil, `{"status":{"associationID":"a-%017d"}}`, i), metav1.PatchOptions{}, "status",
						) // the test's end cuts it off
					}
				})
			}
		}
		for _, at := range []int{1, 8} {
			var asking sync.WaitGroup
			var mu sync.Mutex
			var took []time.Duration
			for range at {
				asking.Go(func() {
					for range 100 {
						pod := newPod("nobody", "nobody")
						began := time.Now()
						if _, err := c.Client.CoreV1().Pods("default").Create(
							t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}},
						); err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						took = append(took, time.Since(began))
						mu.Unlock()
					}
				})
			}
			asking.Wait()
			if slices.Sort(took); t.Failed() {
				return
			}
			t.Logf("busy %t, %d pods without association at a time: creation p50 %s, p99 %s", busy, at,
				took[len(took)/2].Round(100*time.Microsecond), took[len(took)*99/100].Round(100*time.Microsecond))
		}
		var creators sync.WaitGroup
		for creator := range 2 {
			creators.Go(func() {
				for i := range 250 {
					justAssociated(t, c, client, fmt.Sprintf("among-%t-%d-%d", busy, creator, i), false)
				}
			})
		}
		creators.Wait()
		quiet()
		writing.Wait()
	}
}

// justAssociated creates an annotated account in a namespace of its creator's,
// its association, by a pattern if wanted, and a pod.
func justAssociated(t *testing.T, c *cluster.Cluster, client dynamic.Interface, name string, pattern bool) {
	t.Helper()
	ctx := t.Context()
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{"eks.amazonaws.com/role-arn": roleARN},
		},
	}
	if _, err := c.Client.CoreV1().ServiceAccounts("default").Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Error(err)
		return
	}
	spec := map[string]any{"serviceAccountName": name, "roleARN": roleARN}
	if pattern {
		spec["serviceAccountName"], spec["allowPatterns"] = name+"*", true
	}
	if _, err := client.Resource(
		rolecallResource("podidentityassociations"),
	).Namespace("default").Create(ctx, &unstructured.Unstructured{
		Object: map[string]any{
			"apiVersion": "rolecall.io/v1alpha1",
			"kind":       "PodIdentityAssociation",
			"metadata":   map[string]any{"name": name},
			"spec":       spec,
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Error(err)
		return
	}
	pod, err := c.Client.CoreV1().
		Pods("default").
		Create(ctx, newPod(name, name), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Error(err)
		return
	}
	variable := func(name string) bool {
		return slices.ContainsFunc(pod.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == name })
	}
	if !variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") || variable("AWS_ROLE_ARN") ||
		pod.Labels["eks.amazonaws.com/pod-identity"] != "enabled" {
		t.Errorf("%s: %v %v", name, pod.Labels, pod.Spec.Containers[0].Env)
	}
}

// waitForAssociations lists until the API server serves the kind.
func waitForAssociations(t testing.TB, client dynamic.Interface) {
	t.Helper()
	for {
		_, err := client.Resource(rolecallResource("podidentityassociations")).List(t.Context(), metav1.ListOptions{})
		if err == nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// delayedAPI serves the API server's API, but what its watches say only when the
// gate is open; it returns a kubeconfig.
func delayedAPI(t *testing.T, c *cluster.Cluster, watches *gate) string {
	t.Helper()
	target, err := url.Parse(c.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Query().Get("watch") != "" {
				r.Body = gated{r.Body, watches}
			}
			return nil
		},
	}
	server := httptest.NewUnstartedServer(proxy)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(watches.release)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: server.URL, InsecureSkipTLSVerify: true}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"admin": {Token: c.Config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "admin"}},
		CurrentContext: "test",
	}, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// gate lets through unless it is held.
type gate struct {
	mu     sync.Mutex
	opened chan struct{}
}

func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

func (g *gate) wait() {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened != nil {
		<-opened
	}
}

type gated struct {
	io.ReadCloser
	gate *gate
}

func (g gated) Read(p []byte) (int, error) {
	n, err := g.ReadCloser.Read(p)
	g.gate.wait()
	return n, err
}
