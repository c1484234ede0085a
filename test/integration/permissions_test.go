package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/internal/app"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/freeport"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// documented is a row of the page's table of permissions.
type documented struct {
	rule rbacv1.PolicyRule
	// namespace is where the rule holds; empty for everywhere.
	namespace string
}

// TestPermissions runs the command with every source there is and with the
// permissions that its page lists, no others; and without each one of them, which
// it must name.
func TestPermissions(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	prepareModes(t, c)
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	waitForAssociations(t, client)
	rules := readPermissions(t)
	if len(rules) < 9 {
		t.Fatalf("only %d rules on the page", len(rules))
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(
		file, []byte(`{"identities":[{"namespace":"default","serviceAccount":"by-agent"}]}`), 0o644,
	); err != nil {
		t.Fatal(err)
	}
	plane := filepath.Join(t.TempDir(), "plane.yaml")
	if err := os.WriteFile(
		plane, []byte("apiVersion: rolecall.io/v1alpha1\nkind: Plane\ncluster: {region: eu-west-1}\n"), 0o600,
	); err != nil {
		t.Fatal(err)
	}
	all := []string{
		"--plane", plane,
		"--watch-associations", "--service-account-lookup-grace-period", "9s", "--watch-config-map",
		"--watch-container-credentials-config", file, "--enforce-role-grants", "--validate-associations",
		"--node-role-fallback", "deny",
	}
	t.Run("all", func(t *testing.T) {
		balancer := newBalancer(t)
		hook := startReplica(t, c, balancer.address(), append(all, "--kubeconfig", limited(t, c, "all", rules))...)
		balancer.set(hook.address)
		waitUntilCalled(t, c)
		for name, variable := range map[string]string{
			"by-annotation": "AWS_ROLE_ARN",
			"by-map":        "AWS_ROLE_ARN",
			"by-agent":      "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		} {
			pod := createPod(t, c, name, name)
			if !slices.ContainsFunc(
				pod.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == variable },
			) {
				t.Errorf("%s: %v", name, pod.Spec.Containers[0].Env)
			}
		}
		justAssociated(t, c, client, "by-association", false)
		if _, err := c.Client.CoreV1().Pods("default").Create(
			t.Context(), newPod("refused", "not-granted"), metav1.CreateOptions{},
		); err == nil ||
			!strings.Contains(err.Error(), "no RoleGrant") {
			t.Errorf("not granted: %v", err)
		}
		findEvent(t, c, "RoleNotGranted", "not-granted")
		untilHeld(t, client)
		hook.stop(t)
		if log := hook.stderr.String(); strings.Contains(log, "forbidden") ||
			strings.Contains(log, "permission missing") {
			t.Error(log)
		}
	})
	for i, without := range rules {
		t.Run(fmt.Sprint("without ", without.rule), func(t *testing.T) {
			left := slices.Delete(slices.Clone(rules), i, i+1)
			log := untilLogged(
				t,
				append(
					all, "--kubeconfig", limited(t, c, fmt.Sprint("without-", i), left), "--webhook-url",
					"https://127.0.0.1:1/mutate",
				),
				`"permission missing"`,
			)
			where := "ClusterRole"
			if without.namespace != "" {
				where = "Role in namespace " + without.namespace
			}
			for _, want := range []string{
				"add this rule to the webhook's " + where + ":", "resources: [" + without.rule.Resources[0] + "]",
				"verbs: [" + strings.Join(without.rule.Verbs, ", ") + "]",
				`apiGroups: [\"` + without.rule.APIGroups[0] + `\"]`,
			} {
				if strings.Count(log, `"permission missing"`) != 1 || !strings.Contains(log, want) {
					t.Errorf("want one record with %q:\n%s", want, log)
				}
			}
		})
	}
}

// untilHeld writes an association in dry runs until the API server asks the webhook,
// which does not let it in.
func untilHeld(t *testing.T, client dynamic.Interface) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rolecall.io/v1alpha1",
		"kind":       "PodIdentityAssociation",
		"metadata":   map[string]any{"name": "held"},
		"spec":       map[string]any{"serviceAccountName": "held", "roleARN": roleARN + "-admin"},
	}}
	for {
		_, err := client.Resource(rolecallResource("podidentityassociations")).
			Namespace("default").
			Create(ctx, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "no RoleGrant lets default/held use"):
			return
		case err != nil:
			t.Fatal(err)
		}
	}
}

// untilLogged runs the command until it has said something and stopped.
func untilLogged(t *testing.T, args []string, want string) string {
	t.Helper()
	stderr := &lockedbuffer.Buffer{}
	system := app.NewSystem()
	system.Stderr = stderr
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan int, 1)
	args = append(
		[]string{
			"serve", "webhook", "--listen", freeport.Address(t), "--metrics-listen", freeport.Address(t),
			"--log-format", "json", "--shutdown-delay", "0s",
		},
		args...)
	go func() { ended <- app.Run(ctx, system, args) }()
	for !strings.Contains(stderr.String(), want) {
		select {
		case code := <-ended:
			t.Fatalf("ended with %d:\n%s", code, stderr)
		case <-time.After(20 * time.Millisecond):
		}
	}
	cancel()
	<-ended
	return stderr.String()
}

// readPermissions reads the table. The flags that name objects have one default.
func readPermissions(t *testing.T) []documented {
	t.Helper()
	page, err := os.ReadFile("../../docs/reference/webhook-flags.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "<!-- permissions -->\n")
	table, _, _ = strings.Cut(table, "<!-- end -->")
	var rules []documented
	for _, line := range strings.Split(strings.TrimSpace(table), "\n")[2:] {
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
		}
		d := documented{
			rule: rbacv1.PolicyRule{
				APIGroups: []string{strings.TrimPrefix(cells[0], "core")},
				Resources: []string{cells[1]},
				Verbs:     strings.Split(cells[3], ", "),
			},
		}
		switch where := strings.Trim(strings.TrimPrefix(cells[4], "in "), "`"); where {
		case "everywhere":
		case "--namespace":
			d.namespace = "eks"
		default:
			d.namespace = where
		}
		switch name := cells[2]; {
		case strings.HasPrefix(name, "--"): // of the flag's default
			d.rule.ResourceNames = []string{"pod-identity-webhook"}
		case name != "":
			d.rule.ResourceNames = []string{name}
		}
		rules = append(rules, d)
	}
	return rules
}

// limited makes a service account with the rules, and a kubeconfig of it.
func limited(t *testing.T, c *cluster.Cluster, name string, rules []documented) string {
	t.Helper()
	ctx := t.Context()
	accounts := c.Client.CoreV1().ServiceAccounts("eks")
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	everywhere := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
	in := map[string][]rbacv1.PolicyRule{}
	for _, d := range rules {
		if d.namespace == "" {
			everywhere.Rules = append(everywhere.Rules, d.rule)
		} else {
			in[d.namespace] = append(in[d.namespace], d.rule)
		}
	}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "eks", Name: name}}
	reference := func(kind string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	rbac := c.Client.RbacV1()
	_, err1 := rbac.ClusterRoles().Create(ctx, everywhere, metav1.CreateOptions{})
	_, err2 := rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Subjects:   subjects,
		RoleRef:    reference("ClusterRole"),
	}, metav1.CreateOptions{})
	token, err3 := accounts.CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for namespace, rules := range in {
		_, err1 := rbac.Roles(namespace).Create(ctx, &rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Rules:      rules,
		}, metav1.CreateOptions{})
		_, err2 := rbac.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Subjects:   subjects,
			RoleRef:    reference("Role"),
		}, metav1.CreateOptions{})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range rules {
		untilAllowed(t, c, "system:serviceaccount:eks:"+name, d)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			"test": {Server: c.Config.Host, CertificateAuthority: c.Config.CAFile},
		},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {Token: token.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: name}},
		CurrentContext: "test",
	}, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// untilAllowed waits for the authorizer to have seen the rule.
func untilAllowed(t *testing.T, c *cluster.Cluster, user string, d documented) {
	t.Helper()
	wanted := &authorizationv1.ResourceAttributes{
		Group:    d.rule.APIGroups[0],
		Resource: d.rule.Resources[0],
		Verb:     d.rule.Verbs[0],
	}
	if len(d.rule.ResourceNames) > 0 {
		wanted.Name = d.rule.ResourceNames[0]
	}
	wanted.Namespace = d.namespace
	for {
		review := &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: wanted},
		}
		answer, err := c.Client.AuthorizationV1().
			SubjectAccessReviews().
			Create(t.Context(), review, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status.Allowed {
			return
		}
	}
}
