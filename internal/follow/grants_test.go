package follow_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
)

const role = "arn:aws:iam::111122223333:role/r"

var discard = slog.New(slog.DiscardHandler)

// TestGrantsFollow: a grant that cannot be read does not look like none.
func TestGrantsFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		resource := schema.GroupVersionResource{Group: "rolecall.io", Version: "v1alpha1", Resource: "rolegrants"}
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(
			runtime.NewScheme(), map[schema.GroupVersionResource]string{resource: "RoleGrantList"},
		)
		source := follow.Grants(client, grant.NewSet, time.Now, discard)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- source.Run(ctx) }()
		<-source.Synced()
		expect := func(what string, want bool) {
			t.Helper()
			synctest.Wait()
			if got := source.Current().Allows("n", "s", role); got.Allowed != want {
				t.Errorf("%s: %+v", what, got)
			}
		}
		create := func(name string, spec any) {
			object := &unstructured.Unstructured{
				Object: map[string]any{
					"apiVersion": "rolecall.io/v1alpha1",
					"kind":       "RoleGrant",
					"metadata":   map[string]any{"name": name},
					"spec":       spec,
				},
			}
			if _, err := client.Resource(resource).Create(ctx, object, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		expect("no grant", true)
		create("broken", map[string]any{"subjects": "everybody", "roles": []any{"*"}})
		expect("a grant that cannot be read", false)
		create("good", map[string]any{"subjects": []any{map[string]any{"namespace": "n"}}, "roles": []any{role}})
		expect("a grant", true)
		for name, want := range map[string]bool{"good": false} {
			if err := client.Resource(resource).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			expect("the grant deleted", want)
		}
		if err := client.Resource(resource).Delete(ctx, "broken", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		expect("none left, it seems", false)
		time.Sleep(time.Minute)
		expect("none left", true)
		cancel()
		<-done
	})
}
