package follow_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/follow"
)

// TestAssociationsNotify: each change is told once, when Current shows it.
func TestAssociationsNotify(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		resource := schema.GroupVersionResource{
			Group:    "rolecall.io",
			Version:  "v1alpha1",
			Resource: "podidentityassociations",
		}
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(
			runtime.NewScheme(), map[schema.GroupVersionResource]string{resource: "PodIdentityAssociationList"},
		)
		object := func(name, role string) *unstructured.Unstructured {
			return &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "rolecall.io/v1alpha1",
				"kind":       "PodIdentityAssociation",
				"metadata":   map[string]any{"namespace": "n", "name": name, "uid": name, "resourceVersion": "7"},
				"spec":       map[string]any{"serviceAccountName": name, "roleARN": role},
			}}
		}
		associations := client.Resource(resource).Namespace("n")
		if _, err := associations.Create(t.Context(), object("there", "before"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		source := follow.Associations(client, time.Now, discard)
		var mu sync.Mutex
		var told []string
		source.Notify(func(c follow.Change[*v1alpha1.PodIdentityAssociation]) {
			mu.Lock()
			defer mu.Unlock()
			shown := source.Current().Of("n", c.Object.Name)
			if (shown == nil) != c.Deleted || shown != nil && shown.Spec.RoleARN != c.Object.Spec.RoleARN {
				t.Errorf("%s is told before it is shown", c.Object.Name)
			}
			told = append(told, fmt.Sprint(c.Object.Name, " ", c.Object.Spec.RoleARN, " ", c.Deleted))
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- source.Run(ctx) }()
		expect := func(what ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(told, what) {
				t.Errorf("told %q, want %q", told, what)
			}
			told = nil
		}
		<-source.Synced()
		expect("there before false")
		_, err := associations.Create(t.Context(), object("new", "a"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		expect("new a false")
		if _, err := associations.Update(t.Context(), object("new", "b"), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		expect("new b false")
		if err := associations.Delete(t.Context(), "new", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		expect("new b true")
		cancel()
		<-done
	})
}
