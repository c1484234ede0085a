package integration_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/webhook"
	"github.com/rolecall/rolecall/test/cluster"
)

// TestCertManager renews the certificate as cert-manager and the kubelet do: the
// bundle is injected into the configuration by its annotation, the files change
// by one swapped link. Every pod has its role, and nobody else touches the
// configuration.
func TestCertManager(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	volume := t.TempDir()
	first := secretVolume(t, volume, "..1")
	for _, file := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(volume, file)); err != nil {
			t.Fatal(err)
		}
	}
	balancer := newBalancer(t)
	url := "https://" + balancer.address() + "/mutate"
	configuration := webhook.Registration(
		admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: first.PEM()},
		"",
	)
	configuration.Annotations = map[string]string{"cert-manager.io/inject-ca-from": "eks/pod-identity-webhook"}
	configurations := c.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := configurations.Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	hook := startReplica(
		t, c, balancer.address(), "--tls-cert", filepath.Join(volume, "tls.crt"), "--tls-key",
		filepath.Join(volume, "tls.key"),
	)
	balancer.set(hook.address)
	waitUntilCalled(t, c)
	// inject is what cert-manager's injector does, the only writer.
	inject := func(trusted ...*pki.Authority) string {
		current, err := configurations.Get(t.Context(), configuration.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		current.Webhooks[0].ClientConfig.CABundle = nil
		for _, authority := range trusted {
			current.Webhooks[0].ClientConfig.CABundle = append(
				current.Webhooks[0].ClientConfig.CABundle,
				authority.PEM()...)
		}
		if current, err = configurations.Update(t.Context(), current, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		return current.ResourceVersion
	}
	injected := func(what string) {
		for range 20 {
			pod, err := c.Client.CoreV1().
				Pods("default").
				Create(t.Context(), newPod("probe", "probe"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil || !slices.ContainsFunc(pod.Spec.Volumes, isTokenVolume) {
				t.Errorf("%s: no role, error %v", what, err)
			}
		}
	}
	injected("first certificate")
	second := secretVolume(t, volume, "..2")
	inject(first, second)
	injected("both trusted, certificate swapped")
	last := inject(second)
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: second.Pool()}}
	connection, err := dialer.DialContext(t.Context(), "tcp", hook.address)
	if err != nil {
		t.Fatalf("the new certificate is not served: %v", err)
	}
	_ = connection.Close()
	injected("second certificate")
	hook.stop(t)
	current, err := configurations.Get(t.Context(), configuration.Name, metav1.GetOptions{})
	if err != nil || current.ResourceVersion != last {
		t.Errorf("somebody else wrote the configuration: %v %+v", err, current)
	}
}

// secretVolume writes a new pair as the kubelet updates a Secret volume: into a
// folder of its own, to which one link is swapped; the old folder goes.
func secretVolume(t *testing.T, volume, version string) *pki.Authority {
	t.Helper()
	dir := filepath.Join(volume, version)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	authority := writeServingPair(t, dir)
	old, _ := os.Readlink(filepath.Join(volume, "..data"))
	next := filepath.Join(volume, "..data_tmp")
	if err := os.Symlink(version, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(volume, "..data")); err != nil {
		t.Fatal(err)
	}
	if old != "" {
		if err := os.RemoveAll(filepath.Join(volume, old)); err != nil {
			t.Fatal(err)
		}
	}
	return authority
}
