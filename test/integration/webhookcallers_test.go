package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/test/cluster"
)

// clientPair writes an authority, and a client certificate of it, into a folder.
func clientPair(t *testing.T, dir, name string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	make := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		if by == nil {
			parent, by = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		must(err)
		certificate, err := x509.ParseCertificate(der)
		must(err)
		return certificate, key, der
	}
	write := func(file, kind string, der []byte) {
		must(os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	authority, key, der := make(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	write("client-ca.crt", "CERTIFICATE", der)
	_, own, der := make(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority, key)
	write("client.crt", "CERTIFICATE", der)
	text, err := x509.MarshalECPrivateKey(own)
	must(err)
	write("client.key", "EC PRIVATE KEY", text)
}

// TestWebhookCallers: an API server that has a client certificate for the webhook is
// answered, and others are not.
func TestWebhookCallers(t *testing.T) {
	t.Parallel()
	balancer := newBalancer(t)
	dir := t.TempDir()
	clientPair(t, dir, "kube-apiserver-webhooks")
	write := func(file, text string) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	credentials := write("kubeconfig", `{"apiVersion":"v1","kind":"Config","users":[{"name":"`+balancer.address()+
		`","user":{"client-certificate":"`+filepath.Join(dir, "client.crt")+`","client-key":"`+
		filepath.Join(dir, "client.key")+`"}}]}`)
	admission := write("admission.yaml", `
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: MutatingAdmissionWebhook
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: `+credentials+`
- name: ValidatingAdmissionWebhook
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: `+credentials+"\n")
	c := cluster.Start(t, cluster.Options{APIServerArgs: []string{"--admission-control-config-file=" + admission}})
	prepareModes(t, c)
	hook := startReplica(t, c, balancer.address(),
		"--client-ca", filepath.Join(dir, "client-ca.crt"), "--client-names", "kube-apiserver-webhooks")
	balancer.set(hook.address)
	waitUntilCalled(t, c)
	if pod := createPod(t, c, "by-annotation", "by-annotation"); !slices.ContainsFunc(pod.Spec.Volumes, isTokenVolume) {
		t.Error("no role over a client certificate")
	}
	hook.stop(t)

	// One that takes certificates of other names only.
	hook = startReplica(t, c, balancer.address(),
		"--client-ca", filepath.Join(dir, "client-ca.crt"), "--client-names", "another")
	balancer.set(hook.address)
	if pod := createPod(t, c, "refused", "by-annotation"); slices.ContainsFunc(pod.Spec.Volumes, isTokenVolume) {
		t.Error("a role over a certificate of another name")
	}
	hook.stop(t)
	if log := hook.stderr.String(); !strings.Contains(log, "the client certificate is not one of an API server") {
		t.Errorf("log: %s", log)
	}
}

// TestWebhookFailsAndComesBack: with failurePolicy Fail nothing is let in without the webhook
// but what it needs to come back: pods of its own namespace, and static pods.
func TestWebhookFailsAndComesBack(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	prepareModes(t, c)
	if _, err := c.Client.CoreV1().ServiceAccounts("eks").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "webhook"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	balancer := newBalancer(t)
	hook := startReplica(t, c, balancer.address())
	balancer.set(hook.address)
	waitUntilCalled(t, c)
	patch := []byte(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Fail"}]`)
	if _, err := c.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(
		t.Context(), "pod-identity-webhook", types.JSONPatchType, patch, metav1.PatchOptions{},
	); err != nil {
		t.Fatal(err)
	}
	hook.stop(t)
	balancer.set()
	create := func(namespace string, pod *corev1.Pod) error {
		_, err := c.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
		return err
	}
	// Until the API server has read the patch pods are let in.
	for i := 0; ; i++ {
		if err := create("default", newPod("lost-"+time.Now().Format("150405.000000000"), "plain")); err != nil {
			if !strings.Contains(err.Error(), "failed calling webhook") {
				t.Fatal(err)
			}
			break
		}
	}
	if err := create("eks", newPod("webhook", "webhook")); err != nil {
		t.Errorf("a pod of the webhook's namespace: %v", err)
	}
	mirror := newPod("static", "")
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash"}
	mirror.Spec.NodeName = "n1"
	mirror.OwnerReferences = nil
	if err := create("default", mirror); err != nil && strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("a static pod: %v", err)
	}
	hook = startReplica(t, c, balancer.address())
	balancer.set(hook.address)
	pod := createPod(t, c, "back", "by-annotation")
	if !slices.ContainsFunc(pod.Spec.Volumes, isTokenVolume) {
		t.Error("no role after the webhook came back")
	}
	hook.stop(t)
}
