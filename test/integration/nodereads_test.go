package integration_test

import (
	"crypto/elliptic"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

// TestNodeReadsNoKey installs the broker by its guide, puts a pod of the agent's
// guide on a node, and reads as that node's kubelet. The Node authorizer gives it
// the whole of each object that a pod of its own mounts: that must be a ConfigMap
// with certificates and nothing else. A pod that mounts one item of the Secret
// shows what would happen otherwise.
func TestNodeReadsNoKey(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	ctx := t.Context()
	if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "rolecall-system"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	applyGuide(t, c, "broker.md", "rbac")
	applyGuide(t, c, "broker.md", "deploy")
	applyGuide(t, c, "pod-identity-agent.md", "deploy")
	startInstalledBroker(t, c)
	secrets := c.Client.CoreV1().Secrets("rolecall-system")
	poll(t, func() bool {
		secret, err := secrets.Get(ctx, "rolecall-broker-tls", metav1.GetOptions{})
		return err == nil && strings.Contains(string(secret.Data["ca.key"]), "PRIVATE KEY")
	}, func() { t.Fatal("the broker has no Secret with the key of its authority") })

	daemons, err := c.Client.AppsV1().DaemonSets("rolecall-system").Get(ctx, "rolecall-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	place(t, c, "n1", daemons.Spec.Template.Spec)
	careless := daemons.Spec.Template.Spec.DeepCopy()
	for i := range careless.Volumes {
		if careless.Volumes[i].Name == "broker-ca" {
			careless.Volumes[i].VolumeSource = corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: "rolecall-broker-tls", Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}}
		}
	}
	place(t, c, "n2", *careless)

	// The authorizer follows pods by watch, so what is allowed is waited for.
	node := kubeletOf(t, c, "n1")
	poll(t, func() bool {
		published, err := node.CoreV1().ConfigMaps("rolecall-system").Get(ctx, "rolecall-broker-ca", metav1.GetOptions{})
		return err == nil && strings.Contains(published.Data["ca.crt"], "BEGIN CERTIFICATE") &&
			len(published.Data) == 1 && !strings.Contains(published.Data["ca.crt"], "PRIVATE")
	}, func() { t.Fatal("the node of an agent cannot read the authorities, or there is more in the ConfigMap") })
	poll(t, func() bool {
		secret, err := kubeletOf(t, c, "n2").CoreV1().Secrets("rolecall-system").
			Get(ctx, "rolecall-broker-tls", metav1.GetOptions{})
		return err == nil && len(secret.Data["ca.key"]) > 0
	}, func() { t.Fatal("a node that mounts one item cannot read the Secret: this test would notice nothing") })
	all, err := secrets.List(ctx, metav1.ListOptions{})
	if err != nil || len(all.Items) == 0 {
		t.Fatalf("%v, %d Secrets", err, len(all.Items))
	}
	for i := range all.Items {
		name := all.Items[i].Name
		if _, err := node.CoreV1().Secrets("rolecall-system").
			Get(ctx, name, metav1.GetOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("the node of an agent reads the Secret %s: %v", name, err)
		}
	}
}

// startInstalledBroker runs the container of the guide's Deployment, with its own
// permissions, and files and ports of this machine.
func startInstalledBroker(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	var deployment appsv1.Deployment
	for text := range strings.SplitSeq(guideBlock(t, "broker.md", "deploy"), "---\n") {
		if strings.Contains(text, "kind: Deployment") {
			if err := yaml.UnmarshalStrict([]byte(text), &deployment); err != nil {
				t.Fatal(err)
			}
		}
	}
	key := filepath.Join(t.TempDir(), "sa.key")
	signing, err := token.GenerateEC(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	text, err := signing.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, text, 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := deployment.Spec.Template.Spec.Containers[0].Args
	for i := range arguments {
		arguments[i] = strings.Replace(arguments[i], "/key/sa.key", key, 1)
	}
	arguments = append(
		arguments, "--kubeconfig", kubeconfigOf(t, c, "rolecall-broker"), "--listen", freeport.Address(t),
		"--probe-listen", freeport.Address(t), "--metrics-listen", freeport.Address(t), "--shutdown-delay", "0s",
	)
	startProgram(t, nil, arguments...)
}

// place puts a pod on a node, which is made.
func place(t *testing.T, c *cluster.Cluster, node string, spec corev1.PodSpec) {
	t.Helper()
	ctx := t.Context()
	if _, err := c.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	spec.NodeName = node
	if _, err := c.Client.CoreV1().Pods("rolecall-system").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent-" + node}, Spec: spec,
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// kubeletOf is a client of the identity that a kubelet's certificate has.
func kubeletOf(t *testing.T, c *cluster.Cluster, node string) kubernetes.Interface {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:node:" + node, Groups: []string{"system:nodes", "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
