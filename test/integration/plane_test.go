package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/agreement"
	"github.com/rolecall/rolecall/test/freeport"
)

// TestRolesDisagree: a broker that was started with another region than the controller
// says so at its start, with the guide's permissions and no more; one that reads the same
// file does not.
func TestRolesDisagree(t *testing.T) {
	t.Parallel()
	w := newControlledWorld(t)
	c := w.c
	w.must(c.Client.CoreV1().ServiceAccounts("rolecall-system").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "rolecall-broker"},
	}, metav1.CreateOptions{}))
	applyGuide(t, c, "broker.md", "rbac")
	file := filepath.Join(t.TempDir(), "plane.yaml")
	const plane = "apiVersion: rolecall.io/v1alpha1\nkind: Plane\n" +
		"cluster: {name: prod, region: eu-west-1, account: \"111122223333\"}\nsessions: {mode: PassThrough}\n"
	if err := os.WriteFile(file, []byte(plane), 0o600); err != nil {
		t.Fatal(err)
	}
	controller := startProgram(
		t, w.env, "serve", "controller", "--kubeconfig", kubeconfigOf(t, c, "rolecall-controller"),
		"--metrics-listen", freeport.Address(t), "--plane", file,
	)
	said := func(role, fact string) bool {
		object, err := c.Client.CoreV1().
			ConfigMaps("rolecall-system").
			Get(t.Context(), agreement.Name, metav1.GetOptions{})
		return err == nil && strings.Contains(object.Data[role], fact)
	}
	poll(
		t,
		func() bool { return said("controller", "region: eu-west-1") },
		func() { t.Fatal("the controller says what it goes by") },
	)
	broker := func(more ...string) *program {
		return startProgram(t, []string{"AWS_ENDPOINT_URL_STS=http://127.0.0.1:1"}, append([]string{
			"serve", "broker", "--kubeconfig", kubeconfigOf(t, c, "rolecall-broker"), "--plane", file,
			"--listen", freeport.Address(t), "--probe-listen", freeport.Address(t), "--metrics-listen",
			freeport.Address(t), "--agent-auth", "none", "--shutdown-delay", "0s",
		}, more...)...)
	}
	other := broker("--region", "eu-west-2")
	poll(
		t, func() bool { return strings.Contains(other.log.String(), "roles disagree about the plane") },
		func() { t.Fatalf("the broker disagrees: %s", other.log) },
	)
	for _, want := range []string{"fact=cluster.region", "ours=eu-west-2", "theirs=eu-west-1", "role=controller"} {
		if !strings.Contains(other.log.String(), want) {
			t.Errorf("%q is not said: %s", want, other.log)
		}
	}
	other.stop(t)

	same := broker()
	poll(
		t,
		func() bool { return said("broker", "region: eu-west-1") },
		func() { t.Fatal("the broker says what it goes by") },
	)
	same.stop(t)
	controller.stop(t)
	for _, log := range []string{same.log.String(), controller.log.String()} {
		if strings.Contains(log, "roles disagree") || strings.Contains(log, "forbidden") {
			t.Error(log)
		}
	}
}
