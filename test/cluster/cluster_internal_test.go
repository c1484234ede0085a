package cluster

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func TestStart(t *testing.T) {
	t.Parallel()
	var c *Cluster
	t.Run("running", func(t *testing.T) {
		c = Start(t, Options{APIServerArgs: []string{"--api-audiences=demo"}})
		use(t, c)
		watchOn(t, c)
	})
	if len(c.processes) != 2 {
		t.Fatalf("%d processes, want etcd and kube-apiserver", len(c.processes))
	}
	for _, p := range c.processes {
		if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s is left after the test: %v", p.Name, err)
		}
		// An API server that waits for its watchers is killed in the end.
		if status, isStatus := p.State().Sys().(syscall.WaitStatus); !isStatus ||
			status.Signal() == syscall.SIGKILL {
			t.Errorf("%s did not end by itself: %s", p.Name, p.State())
		}
	}
}

// watchOn watches until the API server ends it.
func watchOn(t *testing.T, c *Cluster) {
	t.Helper()
	watched, err := c.Client.CoreV1().Secrets("").Watch(context.WithoutCancel(t.Context()), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for range watched.ResultChan() { //nolint:revive // until it is closed
		}
	}()
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
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	accounts := client.CoreV1().ServiceAccounts("shop")
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "till"},
	}, metav1.CreateOptions{}); err != nil {
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

// TestPortTaken: the ports that were free when chosen are another cluster's by
// the time of their use. Its answers are not taken for ours.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	var stranger []string // etcd for clients, etcd for peers, kube-apiserver
	other, err := startUntilPortsAreFree(
		t.Context(),
		programDir(t),
		t.TempDir(),
		Options{},
		func(ctx context.Context, count int) ([]string, error) {
			found, err := freeAddress(ctx, count)
			stranger = append(stranger, found...)
			return found, err
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.stop)
	stranger = stranger[len(stranger)-3:]
	for _, row := range []struct {
		name         string
		asked, index int // which addresses, counted from 1, and which of them is taken
		taken        string
	}{
		{"etcd for clients", 1, 0, stranger[0]},
		{"etcd for peers", 1, 1, stranger[1]},
		{"kube-apiserver", 2, 0, stranger[2]},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			c, err := startUntilPortsAreFree(
				t.Context(),
				programDir(t),
				t.TempDir(),
				Options{},
				func(ctx context.Context, count int) ([]string, error) {
					asked++
					found, err := freeAddress(ctx, count)
					if err == nil && asked == row.asked {
						found[row.index] = row.taken
					}
					return found, err
				},
			)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.stop)
			if asked <= 2 {
				t.Errorf("addresses were chosen %d times: the taken one was used", asked)
			}
			theirs, ours := systemUID(t, other), systemUID(t, c)
			if theirs == ours {
				t.Errorf("both clusters have the namespace with UID %s: they share a database", ours)
			}
		})
	}
}

func programDir(t *testing.T) string {
	t.Helper()
	dir, err := findPrograms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// systemUID tells one database from another.
func systemUID(t *testing.T, c *Cluster) types.UID {
	t.Helper()
	namespace, err := c.Client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return namespace.UID
}

// TestRefusedFlag: what the program said is in the error, and it comes at once.
func TestRefusedFlag(t *testing.T) {
	t.Parallel()
	asked := 0
	_, err := startUntilPortsAreFree(t.Context(), programDir(t), t.TempDir(), Options{
		APIServerArgs: []string{"--no-such-flag"},
	}, func(ctx context.Context, count int) ([]string, error) {
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
