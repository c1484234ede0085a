package integration_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/association/kubestore"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/test/cluster"
	"github.com/rolecall/rolecall/test/storecontract"
)

// TestKubestore holds the store to the contract on a real API server.
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
	if _, err := store.List(t.Context(), ""); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("without the definition: %v", err)
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, client)
	for _, name := range storecontract.Namespaces() {
		if _, err := c.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Create(t.Context(), storecontract.New("nowhere", "cart")); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "no namespace nowhere") {
		t.Errorf("no namespace: %v", err)
	}
	nobody := rest.CopyConfig(c.Config)
	nobody.BearerToken = "nobody's"
	if _, err := open(nobody).List(t.Context(), ""); fault.KindOf(err) != fault.Denied {
		t.Errorf("unknown caller: %v", err)
	}
	t.Run("EKS", func(t *testing.T) { storecontract.RunService(t, store) })
	storecontract.Run(t, store, func() { c.Stop(c.APIServers[0]) })
}
