package serve

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// TestLastGrantIsTold: when the last RoleGrant goes away there is an Event, a count and a
// line of the log, and not before.
func TestLastGrantIsTold(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		build func([]grant.Grant) *grant.Set
		says  string
		open  bool
	}{
		"without the requirement": {grant.NewSet, "everybody may use every role", true},
		"required":                {grant.NewRequired, "nobody may use any role", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				resource := schema.GroupVersionResource{Group: "rolecall.io", Version: "v1alpha1", Resource: "rolegrants"}
				objects := func(names ...string) (all []runtime.Object) {
					for _, name := range names {
						all = append(all, &unstructured.Unstructured{Object: map[string]any{
							"apiVersion": "rolecall.io/v1alpha1", "kind": "RoleGrant", "metadata": map[string]any{"name": name},
							"spec": map[string]any{"subjects": []any{map[string]any{"namespace": "n"}}, "roles": []any{"*"}},
						}})
					}
					return all
				}
				client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
					map[schema.GroupVersionResource]string{resource: "RoleGrantList"}, objects("first", "last")...)
				kube, log := fake.NewClientset(), &lockedbuffer.Buffer{}
				written := make(chan *eventsv1.Event, 10)
				kube.PrependReactor("create", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
					create, _ := action.(clienttesting.CreateAction)
					event, _ := create.GetObject().(*eventsv1.Event)
					written <- event
					return true, event, nil
				})
				r := newRunner(slog.New(slog.NewTextHandler(log, nil)))
				r.registry = prometheus.NewRegistry()
				source := follow.Grants(client, row.build, time.Now, r.log)
				if err := r.tellGrants(cli.System{Now: time.Now}, source, kube, "rolecall-test"); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				defer running.Wait()
				defer cancel()
				for _, run := range append(r.parts, source.Run) {
					running.Go(func() { _ = run(ctx) })
				}
				<-source.Synced()
				remove := func(name string) {
					if err := client.Resource(resource).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				remove("first")
				until(t, func() bool { return source.Current().Len() == 1 })
				if strings.Contains(log.String(), "the last RoleGrant is gone") {
					t.Errorf("too early:\n%s", log)
				}
				remove("last")
				select {
				case event := <-written:
					if event.Reason != "NoRoleGrants" || event.Type != "Warning" || event.Regarding.Name != "last" ||
						event.Regarding.Kind != "RoleGrant" || !strings.Contains(event.Note, row.says) {
						t.Errorf("event %+v", event)
					}
				case <-time.After(time.Minute):
					t.Fatal("no Event")
				}
				if got := source.Current().Allows("other", "s", "arn:aws:iam::111122223333:role/r"); got.Allowed != row.open {
					t.Errorf("%+v", got)
				}
				if !strings.Contains(log.String(), "the last RoleGrant is gone") || !strings.Contains(log.String(), row.says) {
					t.Errorf("log:\n%s", log)
				}
				families, err := r.registry.Gather()
				if err != nil {
					t.Fatal(err)
				}
				for _, family := range families {
					want := map[string]float64{"rolecall_role_grants_emptied_total": 1}[family.GetName()]
					if got := family.GetMetric()[0]; got.GetCounter().GetValue()+got.GetGauge().GetValue() != want {
						t.Errorf("%s: %v, want %v", family.GetName(), got, want)
					}
				}
			})
		})
	}
}

// TestGrantsUnreadAreTold: a kind that is no longer defined does not make the grants that
// were known none.
func TestGrantsUnreadAreTold(t *testing.T) {
	t.Parallel()
	resource := schema.GroupVersionResource{Group: "rolecall.io", Version: "v1alpha1", Resource: "rolegrants"}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{resource: "RoleGrantList"})
	client.PrependReactor("list", "rolegrants", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("the server could not find the requested resource")
	})
	log := &lockedbuffer.Buffer{}
	r := newRunner(slog.New(slog.NewTextHandler(log, nil)))
	r.registry = prometheus.NewRegistry()
	source := follow.Grants(client, grant.NewSet, time.Now, r.log)
	if err := r.tellGrants(cli.System{Now: time.Now}, source, nil, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = source.Run(ctx) }()
	until(t, func() bool { return strings.Contains(log.String(), "RoleGrants not read") })
	select {
	case <-source.Synced():
		t.Error("it looks as if there were none")
	default:
	}
}

// until waits for what another goroutine does.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}
