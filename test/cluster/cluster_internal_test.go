package cluster

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func TestStart(t *testing.T) {
	t.Parallel()
	var c *Cluster
	t.Run("running", func(t *testing.T) {
		c = Start(t, Options{APIServerArgs: []string{"--api-audiences=demo"}})
		use(t, c)
	})
	if len(c.processes) != 2 {
		t.Fatalf("%d processes, want etcd and kube-apiserver", len(c.processes))
	}
	for _, p := range c.processes {
		if err := syscall.Kill(p.command.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s is left after the test: %v", p.name, err)
		}
	}
}

// use goes through the kubeconfig, as a program under test does.
func use(t *testing.T, c *Cluster) {
	t.Helper()
	ctx := t.Context()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	accounts := client.CoreV1().ServiceAccounts("shop")
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "till"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	answer, err := accounts.CreateToken(ctx, "till", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"demo"}, answer.Spec.Audiences); diff != "" {
		t.Errorf("audiences, from the further flag (-want +got):\n%s", diff)
	}
	jwks, err := c.Client.CoreV1().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(ctx)
	if err != nil || !strings.Contains(string(jwks), c.Key.ID()) {
		t.Errorf("JWKS %s: %v, want the kid %s", jwks, err, c.Key.ID())
	}
}

// TestPortTaken: somebody else's server on a port that was free when chosen,
// answering as if it were ours, is not believed.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		taken func(asked int) int // which of the addresses asked for first, -1 for none
	}{
		{"etcd for clients", func(asked int) int { return []int{0, -1}[min(asked-1, 1)] }},
		{"etcd for peers", func(asked int) int { return []int{1, -1}[min(asked-1, 1)] }},
		{"kube-apiserver", func(asked int) int { return []int{-1, 0, -1}[min(asked-1, 2)] }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			t.Cleanup(stranger.Close)
			asked := 0
			c, err := startUntilPortsAreFree(t.Context(), programDir(t), t.TempDir(), Options{}, func(ctx context.Context, count int) ([]string, error) {
				asked++
				found, err := freeAddress(ctx, count)
				if i := row.taken(asked); err == nil && i >= 0 {
					found[i] = stranger.Listener.Addr().String()
				}
				return found, err
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.stop)
			if asked < 3 {
				t.Errorf("addresses were chosen %d times: the taken one was used", asked)
			}
			if c.Config.Host == "https://"+stranger.Listener.Addr().String() {
				t.Errorf("the cluster is said to be at the stranger's address %s", c.Config.Host)
			}
			if _, err := c.Client.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefusedFlag: what the program said is in the error, and it comes at once.
func TestRefusedFlag(t *testing.T) {
	t.Parallel()
	asked := 0
	_, err := startUntilPortsAreFree(t.Context(), programDir(t), t.TempDir(), Options{APIServerArgs: []string{"--no-such-flag"}}, func(ctx context.Context, count int) ([]string, error) {
		asked++
		return freeAddress(ctx, count)
	})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("error %v, want the API server's own words", err)
	}
	if asked != 2 {
		t.Errorf("addresses were chosen %d times, want 2: a refused flag is not a lost port", asked)
	}
}
