package integration_test

import (
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/store/kubestore"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/storecontract"
)

// TestKubestore checks the store's contract on a real API server.
func TestKubestore(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	open := func(config *rest.Config) *kubestore.Store {
		store, err := kubestore.New(config)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	store := open(c.Config)
	if _, err := store.List(t.Context(), ""); fault.KindOf(err) != fault.Unavailable ||
		!strings.Contains(err.Error(), "does not know") {
		t.Errorf("without the definition: %v", err)
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, client)
	for _, name := range storecontract.Namespaces() {
		if _, err := c.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Create(t.Context(), storecontract.New("nowhere", "cart")); fault.KindOf(err) != fault.NotFound ||
		!strings.Contains(err.Error(), "no namespace nowhere") {
		t.Errorf("no namespace: %v", err)
	}
	nobody := rest.CopyConfig(c.Config)
	nobody.BearerToken = "nobody's"
	if _, err := open(nobody).List(t.Context(), ""); fault.KindOf(err) != fault.Denied {
		t.Errorf("unknown caller: %v", err)
	}
	keeper := open(keeperOf(t, c))
	t.Run("EKS", func(t *testing.T) { storecontract.RunService(t, keeper) })
	storecontract.Run(t, keeper, func() { c.Stop(c.APIServers[0]) })
}

// keeperOf is somebody who may do what the store's documentation says, and
// nothing else.
func keeperOf(t *testing.T, c *cluster.Cluster) *rest.Config {
	t.Helper()
	rules := []rbacv1.PolicyRule{
		{
			APIGroups: []string{"rolecall.io"},
			Resources: []string{"podidentityassociations"},
			Verbs:     []string{"get", "list", "create", "update", "delete"},
		},
		{
			APIGroups: []string{"rolecall.io"},
			Resources: []string{"podidentityassociations/status"},
			Verbs:     []string{"update"},
		},
	}
	if _, err := c.Client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "keeper"},
		Rules:      rules,
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "keeper"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "keeper"},
		Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "keeper"}},
	}
	if _, err := c.Client.RbacV1().ClusterRoleBindings().Create(
		t.Context(), binding, metav1.CreateOptions{},
	); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "keeper"}
	for { // the authorizer follows RBAC by a watch
		answer, err := kubernetes.NewForConfigOrDie(config).
			AuthorizationV1().
			SelfSubjectAccessReviews().
			Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{
					ResourceAttributes: &authorizationv1.ResourceAttributes{
						Group:    "rolecall.io",
						Resource: "podidentityassociations",
						Verb:     "list",
					},
				},
			}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status.Allowed {
			return config
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the keeper never may")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
