package integration_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/rolecall/rolecall/test/cluster"
)

// TestWebhookModes runs the command with every source there is, against a real
// API server: annotations, ConfigMap, identities file, RoleGrants; and finds the
// Event of a refusal.
func TestWebhookModes(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	prepareModes(t, c)
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(
		file, []byte(`{"identities":[{"namespace":"default","serviceAccount":"by-agent"}]}`), 0o644,
	); err != nil {
		t.Fatal(err)
	}
	balancer := newBalancer(t)
	hook := startReplica(
		t, c, balancer.address(), "--watch-config-map", "--watch-container-credentials-config", file,
		"--enforce-role-grants", "--node-role-fallback", "deny", "--identity-required-namespaces", "strict",
		"--aws-default-region", "eu-west-1", "--role-session-name-from-pod",
	)
	balancer.set(hook.address)
	waitUntilCalled(t, c)
	for name, want := range map[string]string{
		"by-annotation": "AWS_DEFAULT_REGION=eu-west-1 AWS_REGION=eu-west-1 AWS_ROLE_ARN=" + roleARN +
			" AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/eks.amazonaws.com/serviceaccount/token" +
			" AWS_ROLE_SESSION_NAME=by-annotation",
		"by-map": "AWS_DEFAULT_REGION=eu-west-1 AWS_REGION=eu-west-1 AWS_ROLE_ARN=" + roleARN +
			" AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/eks.amazonaws.com/serviceaccount/token" +
			" AWS_ROLE_SESSION_NAME=by-map",
		"by-agent": "AWS_DEFAULT_REGION=eu-west-1 AWS_REGION=eu-west-1 " +
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.23/v1/credentials " +
			"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" +
			"/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token",
		"plain": "",
	} {
		pod := createPod(t, c, name, name)
		var got []string
		for _, variable := range pod.Spec.Containers[0].Env {
			got = append(got, variable.Name+"="+variable.Value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if label := pod.Labels["eks.amazonaws.com/pod-identity"]; (label == "enabled") != (name == "by-agent") {
			t.Errorf("%s: label %q", name, label)
		}
	}
	for namespace, account := range map[string]string{"default": "not-granted", "strict": "default"} {
		_, err := c.Client.CoreV1().
			Pods(namespace).
			Create(t.Context(), newPod("refused", account), metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), map[string]string{
			"default": "no RoleGrant lets default/not-granted use",
			"strict":  "pods of namespace strict must have an AWS identity",
		}[namespace]) {
			t.Errorf("%s/%s: %v", namespace, account, err)
		}
	}
	findEvent(t, c, "RoleNotGranted", "not-granted")
	hook.stop(t)
}

func prepareModes(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx := t.Context()
	for _, name := range []string{"eks", "rolecall-system", "strict"} {
		if _, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	annotated := map[string]string{"eks.amazonaws.com/role-arn": roleARN}
	for _, account := range []metav1.ObjectMeta{
		{Name: "by-annotation", Annotations: annotated},
		{Name: "not-granted", Annotations: map[string]string{"eks.amazonaws.com/role-arn": roleARN + "-admin"}},
		{Name: "by-map"},
		{Name: "by-agent"},
		{Name: "plain"},
		{Name: "default", Namespace: "strict"},
	} {
		if account.Namespace == "" {
			account.Namespace = "default"
		}
		if _, err := c.Client.CoreV1().ServiceAccounts(account.Namespace).Create(
			ctx, &corev1.ServiceAccount{ObjectMeta: account}, metav1.CreateOptions{},
		); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Client.CoreV1().ConfigMaps("eks").Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "pod-identity-webhook"},
		Data:       map[string]string{"config": `{"default/by-map":{"RoleARN":"` + roleARN + `"}}`},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, client)
	grant := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rolecall.io/v1alpha1", "kind": "RoleGrant", "metadata": map[string]any{"name": "readers"},
		"spec": map[string]any{"subjects": []any{map[string]any{"namespace": "default"}}, "roles": []any{roleARN}},
	}}
	if _, err := client.Resource(rolecallResource("rolegrants")).Create(
		ctx, grant, metav1.CreateOptions{},
	); err != nil {
		t.Fatal(err)
	}
}

func findEvent(t *testing.T, c *cluster.Cluster, reason, account string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		list, err := c.Client.EventsV1().Events("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatalf("no Event %s: %v", reason, err)
		}
		for _, event := range list.Items {
			if event.Reason == reason && event.Regarding.Name == account {
				if event.Regarding.UID == "" ||
					!slices.Contains([]string{"rolecall-webhook"}, event.ReportingController) {
					t.Errorf("%+v", event)
				}
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}
