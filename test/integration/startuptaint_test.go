package integration_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/test/cluster"
)

// TestStartupTaint: the agent takes the taint off its node, and no other, with
// the permissions that the guide gives it; with these it can do nothing else.
func TestStartupTaint(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Issuer: issuerURL})
	ctx := t.Context()
	core := c.Client.CoreV1()
	if _, err := core.Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "rolecall-system"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.ServiceAccounts("rolecall-system").Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "rolecall-agent"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	foreign := corev1.Taint{Key: "example.com/other", Value: "x", Effect: corev1.TaintEffectNoSchedule}
	for _, name := range []string{"n1", "n2"} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{
			foreign, {
				Key:    agent.TaintKey,
				Effect: corev1.TaintEffectNoSchedule,
			}, {
				Key:    agent.TaintKey + "-too",
				Effect: corev1.TaintEffectNoExecute,
			},
		}}}
		if _, err := core.Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	applyGuide(t, c, "pod-identity-agent.md", "startup-taint")
	limited := limitedAgent(t, c)
	client, err := clientOf(limited)
	if err != nil {
		t.Fatal(err)
	}
	// The policy is not in force the moment it is written.
	poll(t, func() bool {
		_, err = client.CoreV1().
			Nodes().
			Patch(
				ctx, "n2", types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"tried":"`+time.Now().Format("150405.000000")+`"}}}`),
				metav1.PatchOptions{},
			)
		return apierrors.IsForbidden(err) || apierrors.IsInvalid(err)
	}, func() { t.Fatalf("the policy is not in force: %v", err) })
	broker := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }),
	)
	t.Cleanup(broker.Close)
	own := filepath.Join(t.TempDir(), "token") // not there yet: no credentials of its own
	_, stop := startAgent(
		t,
		&cluster.Cluster{Kubeconfig: limited},
		broker.URL,
		own,
		"--startup-taint",
		"--pod-liveness",
		"off",
		"--local-keys",
		"off",
	)
	taints := func(node string) (keys []string) {
		t.Helper()
		found, err := core.Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, taint := range found.Spec.Taints {
			if taint.Key != corev1.TaintNodeNotReady { // the API server's own
				keys = append(keys, taint.Key)
			}
		}
		return keys
	}
	all := []string{foreign.Key, agent.TaintKey, agent.TaintKey + "-too"}
	if got := taints("n1"); !slices.Equal(got, all) {
		t.Errorf("without credentials of its own: taints %v", got)
	}
	if err := os.WriteFile(own, []byte("own"), 0o600); err != nil {
		t.Fatal(err)
	}
	poll(
		t, func() bool { return !slices.Contains(taints("n1"), agent.TaintKey) }, func() { t.Fatal("the taint stays") },
	)
	if got := taints("n1"); !slices.Equal(got, []string{foreign.Key, agent.TaintKey + "-too"}) {
		t.Errorf("taints of n1: %v", got)
	}
	if got := taints("n2"); !slices.Equal(got, all) {
		t.Errorf("taints of n2: %v", got)
	}
	for what, row := range map[string]struct{ node, patch string }{
		"another node":  {"n2", `[{"op":"remove","path":"/spec/taints/1"}]`},
		"another taint": {"n1", `[{"op":"remove","path":"/spec/taints/0"}]`},
		"one more taint": {
			"n1",
			`[{"op":"add","path":"/spec/taints/-","value":{"key":"x","effect":"NoSchedule"}}]`,
		},
		"a label":             {"n1", `[{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]`},
		"an annotation":       {"n1", `[{"op":"add","path":"/metadata/annotations","value":{"x":"y"}}]`},
		"whether to schedule": {"n1", `[{"op":"add","path":"/spec/unschedulable","value":true}]`},
	} {
		if _, err := client.CoreV1().Nodes().Patch(
			ctx, row.node, types.JSONPatchType, []byte(row.patch), metav1.PatchOptions{},
		); err == nil {
			t.Errorf("the agent may change %s", what)
		} else if !strings.Contains(err.Error(), "the agent may") {
			t.Errorf("%s: refused by something else: %v", what, err)
		}
	}
	if code := stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// limitedAgent is a kubeconfig with the token of the agent's pod on n1, as
// kubelet would mint it.
func limitedAgent(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	pod := newPod("agent-n1", "rolecall-agent")
	pod.Namespace, pod.Spec.NodeName = "rolecall-system", "n1"
	pod, err := c.Client.CoreV1().Pods("rolecall-system").Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	minted, err := c.Client.CoreV1().
		ServiceAccounts("rolecall-system").
		CreateToken(t.Context(), "rolecall-agent", &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{
				BoundObjectRef: &authenticationv1.BoundObjectReference{
					APIVersion: "v1",
					Kind:       "Pod",
					Name:       pod.Name,
					UID:        pod.UID,
				},
			},
		}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(c.Config)
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			"c": {Server: config.Host, CertificateAuthority: config.CAFile, CertificateAuthorityData: config.CAData},
		},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"agent": {Token: minted.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "agent"}},
		CurrentContext: "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func clientOf(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}
