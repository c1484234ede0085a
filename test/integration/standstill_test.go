package integration_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
)

// behindCable rewrites a kubeconfig to reach the API server over a cable.
func behindCable(t *testing.T, c *cluster.Cluster, kubeconfig string) *cable {
	t.Helper()
	api := newCable(t, strings.TrimPrefix(c.Config.Host, "https://"))
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.ReplaceAll(string(text), c.Config.Host, "https://"+api.address()))
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return api
}

// without takes verbs on a resource away from everybody who has a ClusterRole, waits until
// the API server goes by that, and returns what gives them back.
func without(t *testing.T, c *cluster.Cluster, role, user, resource string, verbs ...string) (restore func()) {
	t.Helper()
	roles := c.Client.RbacV1().ClusterRoles()
	before, err := roles.Get(t.Context(), role, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	changed := before.DeepCopy()
	changed.Rules = nil
	group := ""
	for _, rule := range before.Rules {
		if !slices.Contains(rule.Resources, resource) {
			changed.Rules = append(changed.Rules, rule)
			continue
		}
		group = rule.APIGroups[0]
		if others := slices.DeleteFunc(
			slices.Clone(rule.Resources),
			func(r string) bool { return r == resource },
		); len(
			others,
		) > 0 {
			changed.Rules = append(
				changed.Rules,
				rbacv1.PolicyRule{APIGroups: rule.APIGroups, Resources: others, Verbs: rule.Verbs},
			)
		}
		left := slices.DeleteFunc(slices.Clone(rule.Verbs), func(v string) bool { return slices.Contains(verbs, v) })
		if len(left) > 0 {
			changed.Rules = append(changed.Rules, rbacv1.PolicyRule{
				APIGroups:     rule.APIGroups,
				Resources:     []string{resource},
				Verbs:         left,
				ResourceNames: rule.ResourceNames,
			})
		}
	}
	if _, err := roles.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until := func(want bool) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			answer, err := c.Client.AuthorizationV1().
				SubjectAccessReviews().
				Create(ctx, &authorizationv1.SubjectAccessReview{
					Spec: authorizationv1.SubjectAccessReviewSpec{
						User: user,
						ResourceAttributes: &authorizationv1.ResourceAttributes{
							Group: group, Resource: resource, Verb: verbs[0],
						},
					},
				}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if answer.Status.Allowed == want {
				return
			}
		}
	}
	until(false)
	return func() {
		t.Helper()
		now, err := roles.Get(t.Context(), role, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		now.Rules = before.Rules
		if _, err := roles.Update(t.Context(), now, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		until(true)
	}
}

// body reads what an address answers.
func body(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestBrokerStandsStill: when a watch of the broker stands still, what was deleted since
// gives no session. The API server is asked, and if it does not say the answer is 503.
func TestBrokerStandsStill(t *testing.T) {
	t.Parallel()
	w := newBrokerWorld(t)
	const user = "system:serviceaccount:rolecall-system:rolecall-broker"
	all := []string{"list", "watch", "get"}
	grants := w.objects.Resource(rolecallResource("rolegrants"))
	for i, row := range []struct {
		name, resource, watch string
		verbs                 []string // taken away
		verify                string
		deleted               string // pod, account, association or grant
		code, message         string
	}{
		{"pods", "pods", "pods", all[:2], "auto", "pod", "InvalidTokenException", ""},
		{"pods, by keys", "pods", "pods", all[:2], "jwks", "pod", "InvalidTokenException", "its pod no longer exists"},
		{"service accounts", "serviceaccounts", "service accounts", all[:2], "auto", "account", "InvalidTokenException", ""},
		{
			"service accounts, by keys", "serviceaccounts", "service accounts", all[:2], "jwks", "account",
			"InvalidTokenException", "its service account no longer exists",
		},
		{"associations", "podidentityassociations", "PodIdentityAssociations", all[1:2], "auto", "association", "ResourceNotFoundException", ""},
		{
			"associations that cannot be read", "podidentityassociations", "PodIdentityAssociations", all, "auto", "association",
			"ServiceUnavailableException", "associations are not known: their watch stands still",
		},
		{"grants", "rolegrants", "RoleGrants", all[1:2], "auto", "grant", "AccessDeniedException", "not granted"},
		{
			"grants that cannot be read", "rolegrants", "RoleGrants", all, "auto", "grant",
			"ServiceUnavailableException", "RoleGrants are not known: their watch stands still",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.t = t
			for name, namespace := range map[string]string{"shop": "shop", "others": "others"} {
				w.must(grants.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "rolecall.io/v1alpha1",
					"kind":       "RoleGrant",
					"metadata":   map[string]any{"name": name},
					"spec": map[string]any{
						"subjects": []any{map[string]any{"namespace": namespace}},
						"roles":    []any{"*"},
					},
				}}, metav1.CreateOptions{}))
			}
			w.limited = kubeconfigOf(t, w.c, "rolecall-broker")
			api := behindCable(t, w.c, w.limited)
			w.associate("cart-federated", "")
			pod := w.pod("shop", fmt.Sprint("cart-", i), "cart-federated", "n1")
			raw := w.token(pod, "pods.eks.amazonaws.com")
			broker := w.startBehind("--verify", row.verify)
			w.eventually("a session", raw, "")

			restore := without(t, w.c, "rolecall-broker", user, row.resource, row.verbs...)
			api.set(true)
			api.set(false)
			ctx := t.Context()
			switch row.deleted {
			case "pod":
				now := int64(0)
				w.must(
					nil,
					w.c.Client.CoreV1().
						Pods("shop").
						Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}),
				)
			case "account":
				w.must(
					nil,
					w.c.Client.CoreV1().ServiceAccounts("shop").Delete(ctx, "cart-federated", metav1.DeleteOptions{}),
				)
			case "association":
				w.must(nil, w.associations().Delete(ctx, "cart-federated", metav1.DeleteOptions{}))
			case "grant":
				w.must(nil, grants.Delete(ctx, "shop", metav1.DeleteOptions{}))
			}
			broker.ahead(t, 2*time.Minute)
			got := w.ask("n1", raw)
			// A review on the connection that was just cut: agents ask again.
			for strings.Contains(got.message, "cannot be asked about the token") && ctx.Err() == nil {
				got = w.ask("n1", raw)
			}
			// By keys the broker goes on with what it knows when it has asked in vain a moment ago,
			// as on a connection that was just cut; ten seconds later it asks again.
			for more := 15 * time.Second; row.verify == "jwks" && got.code == "" && more < time.Minute; more += 15 * time.Second {
				broker.ahead(t, 2*time.Minute+more)
				got = w.ask("n1", raw)
			}
			w.expect(row.name, got, row.code, row.message)
			if text := body(
				t,
				http.DefaultClient,
				"http://"+w.probes+"/readyz",
			); !strings.Contains(
				text,
				"the watch of "+row.watch+" stands still",
			) {
				t.Errorf("/readyz: %q", text)
			}
			if age := `rolecall_watch_age_seconds{watch="` + row.watch + `"} 1`; !strings.Contains(
				body(t, http.DefaultClient, "http://"+w.metrics+"/metrics"),
				age,
			) {
				t.Errorf("metrics do not have %s…", age)
			}

			restore()
			broker.stop(t)
			if row.deleted == "account" {
				w.must(w.c.Client.CoreV1().ServiceAccounts("shop").Create(ctx, &corev1.ServiceAccount{
					ObjectMeta: metav1.ObjectMeta{Name: "cart-federated"},
				}, metav1.CreateOptions{}))
			}
			for _, name := range []string{"shop", "others"} {
				_ = grants.Delete(ctx, name, metav1.DeleteOptions{})
			}
			_ = w.associations().Delete(ctx, "cart-federated", metav1.DeleteOptions{})
		})
	}
}

// TestWebhookStandsStill is the same of the webhook: no pod is given what was taken
// away, and a pod about which nothing can be found out is not silently let in.
func TestWebhookStandsStill(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	prepareModes(t, c)
	objects, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	waitForAssociations(t, objects)
	dir := t.TempDir()
	authority := writeServingPair(t, dir)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool()},
	}}
	rules := readPermissions(t)
	associate := func(t *testing.T, account string) {
		t.Helper()
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rolecall.io/v1alpha1", "kind": "PodIdentityAssociation",
			"metadata": map[string]any{"name": account},
			"spec":     map[string]any{"serviceAccountName": account, "roleARN": roleARN},
		}}
		if _, err := objects.Resource(rolecallResource("podidentityassociations")).
			Namespace("default").
			Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	associate(t, "plain")
	for i, row := range []struct {
		name, resource, watch string
		verbs                 []string
		account               string
		delete                func(context.Context) error
		before, after         string // in the answer
	}{
		{
			"service accounts", "serviceaccounts", "service accounts",
			[]string{"list", "watch"},
			"by-annotation",
			func(ctx context.Context) error {
				return c.Client.CoreV1().ServiceAccounts("default").Delete(ctx, "by-annotation", metav1.DeleteOptions{})
			},
			`"patch"`, "there is no such service account",
		},
		{
			"service accounts that cannot be read", "serviceaccounts", "service accounts",
			[]string{"list", "watch", "get"},
			"not-granted", func(context.Context) error { return nil },
			"no RoleGrant", "service accounts: their watch stands still",
		},
		{
			"associations", "podidentityassociations", "PodIdentityAssociations",
			[]string{"watch"},
			"plain",
			func(ctx context.Context) error {
				return objects.Resource(rolecallResource("podidentityassociations")).Namespace("default").Delete(ctx, "plain", metav1.DeleteOptions{})
			},
			`"patch"`, "the service account has no role",
		},
		{
			"associations that cannot be read", "podidentityassociations", "PodIdentityAssociations",
			[]string{"list", "watch"},
			"by-map",
			func(context.Context) error { return nil },
			`"patch"`, "PodIdentityAssociations: their watch stands still",
		},
		{
			"the ConfigMap that cannot be read", "configmaps", "the ConfigMap",
			[]string{"list", "watch"},
			"by-map",
			func(context.Context) error { return nil },
			`"patch"`, "the ConfigMap, which names the account: their watch stands still",
		},
		{
			"grants that cannot be read", "rolegrants", "RoleGrants",
			[]string{"list", "watch"},
			"by-map",
			func(context.Context) error { return nil },
			`"patch"`, "RoleGrants: their watch stands still",
		},
		{
			"grants", "rolegrants", "RoleGrants",
			[]string{"watch"},
			"by-map",
			func(ctx context.Context) error {
				grant := &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "rolecall.io/v1alpha1", "kind": "RoleGrant", "metadata": map[string]any{"name": "others"},
					"spec": map[string]any{"subjects": []any{map[string]any{"namespace": "others"}}, "roles": []any{"*"}},
				}}
				api := objects.Resource(rolecallResource("rolegrants"))
				if _, err := api.Create(ctx, grant, metav1.CreateOptions{}); err != nil {
					return err
				}
				return api.Delete(ctx, "readers", metav1.DeleteOptions{})
			},
			`"patch"`, "no RoleGrant",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			name := fmt.Sprint("still-", i)
			everywhere := slices.Clone(rules)
			for i := range everywhere { // of what a Role has only the ConfigMap is read here
				if everywhere[i].namespace == "eks" {
					everywhere[i].namespace = ""
				}
			}
			kubeconfig := limited(t, c, name, everywhere)
			api := behindCable(t, c, kubeconfig)
			listen, metrics := freeport.Address(t), freeport.Address(t)
			hook := startProgram(t, nil,
				"serve", "webhook", "--listen", listen, "--metrics-listen", metrics, "--kubeconfig", kubeconfig,
				"--tls-cert", filepath.Join(dir, "tls.crt"), "--tls-key", filepath.Join(dir, "tls.key"),
				"--watch-associations", "--watch-config-map", "--enforce-role-grants", "--shutdown-delay", "0s")
			untilReady(t, client, "https://"+listen+"/readyz", hook.ended, hook.log)
			review := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",` +
				`"namespace":"default","operation":"CREATE","resource":{"version":"v1","resource":"pods"},` +
				`"object":{"spec":{"serviceAccountName":"` + row.account + `","containers":[{"name":"a","image":"i"}]}}}}`
			if answer := call(
				t,
				client,
				http.MethodPost,
				"https://"+listen+"/mutate",
				review,
			); !strings.Contains(
				answer,
				row.before,
			) {
				t.Fatalf("before: %s", answer)
			}
			without(t, c, name, "system:serviceaccount:eks:"+name, row.resource, row.verbs...)
			api.set(true)
			api.set(false)
			if err := row.delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			hook.ahead(t, 2*time.Minute)
			if answer := call(
				t,
				client,
				http.MethodPost,
				"https://"+listen+"/mutate",
				review,
			); !strings.Contains(
				answer,
				row.after,
			) ||
				strings.Contains(answer, `"patch"`) {
				t.Errorf("after: %s", answer)
			}
			if text := body(
				t,
				client,
				"https://"+listen+"/readyz",
			); !strings.Contains(
				text,
				"the watch of "+row.watch+" stands still",
			) {
				t.Errorf("/readyz: %q", text)
			}
			if code := hook.stop(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
