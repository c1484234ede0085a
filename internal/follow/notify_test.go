package follow_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
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

// follows is a client of a fake API server whose associations have generations, as real
// ones do, and a follower of it.
func follows(t *testing.T) (
	dynamic.ResourceInterface, *follow.Objects[*v1alpha1.PodIdentityAssociation, *association.Set],
) {
	t.Helper()
	resource := v1alpha1.GroupVersion.WithResource("podidentityassociations")
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(
		runtime.NewScheme(), map[schema.GroupVersionResource]string{resource: "PodIdentityAssociationList"},
	)
	source := follow.Associations(client, time.Now, discard)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- source.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-source.Synced()
	return client.Resource(resource).Namespace("n"), source
}

// TestEventsBuildWhatAListWould: after any sequence of events Current has the very same
// as one that lists.
func TestEventsBuildWhatAListWould(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			objects, source := follows(t)
			for i := range 60 {
				name := fmt.Sprint("a", random.IntN(6))
				account, pattern := name, random.IntN(3) == 0
				if pattern {
					account = name[:random.IntN(3)] + "*"
				}
				again := random.IntN(2) // an object of the name that was made again has another UID, and time
				object := &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "rolecall.io/v1alpha1",
					"kind":       "PodIdentityAssociation",
					"metadata": map[string]any{
						"namespace": "n", "name": name, "uid": fmt.Sprint(name, again),
						"generation":        int64(random.IntN(3)), // 0 is one that has none
						"creationTimestamp": time.Unix(int64(again+len(name)), 0).UTC().Format(time.RFC3339),
					},
					"spec": map[string]any{
						"serviceAccountName": account, "allowPatterns": pattern, "roleARN": fmt.Sprint("r", i),
						"paused": []any{true, "perhaps"}[random.IntN(2)],
					},
				}}
				if old, err := objects.Get(t.Context(), name, metav1.GetOptions{}); err == nil &&
					old.GetGeneration() == object.GetGeneration() && old.GetUID() == object.GetUID() {
					object.Object["spec"] = old.Object["spec"] // as an API server sees to it
				}
				switch random.IntN(3) {
				case 0:
					_ = objects.Delete(t.Context(), name, metav1.DeleteOptions{}) // if it is there
				default:
					if _, err := objects.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
						if _, err = objects.Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
							t.Fatal(err)
						}
					}
				}
				synctest.Wait()
				read, err := source.Read(t.Context(), "n")
				if err != nil {
					t.Fatal(err)
				}
				if got, want := said(source.Current()), said(read); !slices.Equal(got, want) {
					t.Fatalf("seed %d, event %d: followed %q, listed %q", seed, i, got, want)
				}
			}
		})
	}
}

func said(s *association.Set) []string {
	all := []string{fmt.Sprint(s.Len())}
	for _, account := range []string{"a0", "a1", "a2", "a3", "a4", "a5", "a", "b"} {
		if a := s.Of("n", account); a != nil {
			all = append(all, fmt.Sprint(account, " ", a.Name, a.UID, a.Spec.RoleARN, a.Spec.Paused))
		}
	}
	return all
}

// TestStatusCostsNothing: what the controller writes into a status changes nothing, but
// that an association was used does: it is written once an hour.
func TestStatusCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		objects, source := follows(t)
		object := func(status map[string]any) *unstructured.Unstructured {
			return &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "rolecall.io/v1alpha1",
				"kind":       "PodIdentityAssociation",
				"metadata":   map[string]any{"namespace": "n", "name": "s", "uid": "u", "generation": int64(1)},
				"spec":       map[string]any{"serviceAccountName": "s", "roleARN": "r"},
				"status":     status,
			}}
		}
		if _, err := objects.Create(t.Context(), object(nil), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, row := range []struct {
			name    string
			status  map[string]any
			changes bool
		}{
			{"conditions", map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}, false},
			{"an id", map[string]any{"associationID": "a-0"}, false},
			{"used", map[string]any{"lastUsedTime": "2026-11-30T12:00:00Z"}, true},
			{"used, and conditions", map[string]any{"lastUsedTime": "2026-11-30T12:00:00Z", "conditions": []any{}}, false},
			{"used again", map[string]any{"lastUsedTime": "2026-11-30T13:00:00Z"}, true},
		} {
			before := source.Current()
			if _, err := objects.Update(t.Context(), object(row.status), metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if changed := source.Current() != before; changed != row.changes {
				t.Errorf("%s: changed %t", row.name, changed)
			}
		}
		labelled := object(nil)
		labelled.SetLabels(map[string]string{"a": "b"})
		before := source.Current()
		if _, err := objects.Update(t.Context(), labelled, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if source.Current() == before {
			t.Error("a label was not seen")
		}
	})
}

// BenchmarkEvent is what an event of one among so many associations costs a follower.
func BenchmarkEvent(b *testing.B) {
	for _, kind := range []string{"specification", "status"} {
		for _, count := range []int{100, 5000} {
			b.Run(fmt.Sprint(kind, " ", count), func(b *testing.B) {
				objects := make([]any, count)
				for i := range objects {
					objects[i] = &unstructured.Unstructured{Object: map[string]any{
						"apiVersion": "rolecall.io/v1alpha1",
						"kind":       "PodIdentityAssociation",
						"metadata": map[string]any{
							"namespace": "n", "name": fmt.Sprint("a", i), "uid": fmt.Sprint("a", i), "generation": int64(1),
						},
						"spec": map[string]any{"serviceAccountName": fmt.Sprint("a", i), "roleARN": "r"},
					}}
				}
				store := follow.Associations(nil, time.Now, discard).Store()
				if err := store.Replace(objects, "1"); err != nil {
					b.Fatal(err)
				}
				for i := 0; b.Loop(); i++ {
					object, _ := objects[i%count].(*unstructured.Unstructured)
					if kind == "specification" {
						object.SetGeneration(object.GetGeneration() + 1)
					}
					if err := store.Update(object); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
