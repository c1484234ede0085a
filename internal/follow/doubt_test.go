package follow_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
)

// notServed is what API servers answer about kinds that are not defined.
func notServed(resource string) error {
	return apierrors.NewGenericServerResponse(404, "list", v1alpha1.GroupVersion.WithResource(resource).GroupResource(),
		"", "404 page not found", 0, true)
}

// definable is a cluster in which RoleGrants can be undefined, and what follows them.
type definable struct {
	*follow.Objects[grant.Grant, *grant.Set]
	objects dynamic.ResourceInterface
	gone    atomic.Bool
	told    []string
}

func define(t *testing.T, build func([]grant.Grant) *grant.Set, names ...string) *definable {
	t.Helper()
	resource := v1alpha1.GroupVersion.WithResource("rolegrants")
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(
		runtime.NewScheme(), map[schema.GroupVersionResource]string{resource: "RoleGrantList"},
	)
	d := &definable{
		Objects: follow.Grants(client, build, time.Now, discard),
		objects: client.Resource(resource),
	}
	client.PrependReactor("list", "rolegrants", func(clienttesting.Action) (bool, runtime.Object, error) {
		return d.gone.Load(), nil, notServed("rolegrants")
	})
	client.PrependWatchReactor("rolegrants", func(clienttesting.Action) (bool, watch.Interface, error) {
		return d.gone.Load(), nil, notServed("rolegrants")
	})
	for _, name := range names {
		d.create(t, name)
	}
	d.Notify(func(change follow.Change[grant.Grant]) {
		d.told = append(d.told, fmt.Sprint(change.Object.Name, " ", change.Deleted, " ", d.Current().Len()))
	})
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-d.Synced()
	synctest.Wait()
	return d
}

func (d *definable) create(t *testing.T, name string) {
	t.Helper()
	_, err := d.objects.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rolecall.io/v1alpha1", "kind": "RoleGrant", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"subjects": []any{map[string]any{"namespace": name}}, "roles": []any{"*"}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (d *definable) delete(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := d.objects.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
}

// expect says who may use roles, by what is followed and, if it answers, by the API server.
func (d *definable) expect(t *testing.T, when string, answers bool, who ...string) {
	t.Helper()
	may := func(s *grant.Set) (may []string) {
		for _, namespace := range []string{"a", "b", "stranger"} {
			if s.Allows(namespace, "s", role).Allowed {
				may = append(may, namespace)
			}
		}
		return may
	}
	if got := may(d.Current()); !slices.Equal(got, who) {
		t.Errorf("%s: %v may, want %v", when, got, who)
	}
	switch read, err := d.Read(t.Context(), ""); {
	case (err == nil) != answers:
		t.Errorf("%s: the API server says %v", when, err)
	case err == nil && !slices.Equal(may(read), who):
		t.Errorf("%s: %v may by the API server, want %v", when, may(read), who)
	}
}

// TestDefinitionDeleted: that the definition of RoleGrants is deleted, with which the
// grants go first, lets nobody use a role, however long it takes, nor that it comes back
// together with grants.
func TestDefinitionDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := define(t, grant.NewSet, "a", "b")
		d.expect(t, "at first", true, "a", "b")
		d.delete(t, "a")
		d.expect(t, "one is gone", true, "b")
		d.delete(t, "b")
		d.expect(t, "all are gone", false, "b")
		time.Sleep(5 * time.Second)
		d.gone.Store(true)
		for range 100 {
			time.Sleep(time.Minute)
			d.expect(t, "the definition is gone", false, "b")
		}
		d.gone.Store(false)
		d.expect(t, "the definition is back", false, "b")
		time.Sleep(5 * time.Second)
		d.expect(t, "a little later", false, "b")
		d.create(t, "a")
		time.Sleep(time.Minute)
		d.expect(t, "with a grant", true, "a")
		if !slices.Contains(d.told, "b true 1") || slices.Contains(d.told, "b true 0") {
			t.Errorf("told %q", d.told)
		}
	})
}

// TestLastGrantDeleted: without a requirement all may use all once it is certain that the
// last grant was deleted, and is told then; with one nobody may at once.
func TestLastGrantDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := define(t, grant.NewSet, "a")
		d.delete(t, "a")
		d.expect(t, "at once", false, "a")
		time.Sleep(9 * time.Second)
		d.expect(t, "before it is certain", false, "a")
		time.Sleep(7 * time.Second)
		d.expect(t, "when it is certain", true, "a", "b", "stranger")
		if want := []string{"a false 1", "a true 0"}; !slices.Equal(d.told, want) {
			t.Errorf("told %q, want %q", d.told, want)
		}
		d.create(t, "b")
		d.expect(t, "with another", true, "b")

		required := define(t, grant.NewRequired, "a")
		required.delete(t, "a")
		required.expect(t, "required", true)
		required.gone.Store(true)
		time.Sleep(time.Hour)
		required.expect(t, "required, and not defined", false)
	})
}

// TestNobodyIsLetInByAFault: after any sequence of grants made and deleted and definitions
// that go and come, all may use all only if the API server has shown no grant for a while.
func TestNobodyIsLetInByAFault(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			d := define(t, grant.NewSet, "a")
			there, since := map[string]bool{"a": true}, time.Time{} // since when none is shown
			was, certain, opened := false, false, 0
			for step := range 200 {
				switch name := []string{"a", "b"}[random.IntN(2)]; {
				case random.IntN(3) == 0:
					d.gone.Store(!d.gone.Load())
				case there[name]:
					d.delete(t, name)
					delete(there, name)
				case !d.gone.Load():
					d.create(t, name)
					there[name] = true
				}
				certain = certain && len(there) == 0
				switch shown := !d.gone.Load() && len(there) == 0; {
				case !shown:
					since = time.Time{}
				case since.IsZero():
					since = time.Now()
				}
				time.Sleep(time.Duration(random.IntN(30)) * time.Second)
				synctest.Wait()
				certain = certain || !since.IsZero() && time.Since(since) >= 10*time.Second
				read, err := d.Read(t.Context(), "")
				now := d.Current().AllowAll()
				if !certain && (now && !was || err == nil && read.AllowAll()) {
					t.Fatalf("seed %d, step %d: everybody is let in", seed, step)
				}
				if !now && !since.IsZero() && time.Since(since) > 25*time.Second {
					t.Fatalf("seed %d, step %d: nobody is let in, although no grant was left for long", seed, step)
				}
				if was = now; now {
					opened++
				}
			}
			if opened == 0 {
				t.Errorf("seed %d: never open", seed)
			}
		})
	}
}

// TestNotDefined: that a kind is not defined is not that an object is not there.
func TestNotDefined(t *testing.T) {
	t.Parallel()
	resource := v1alpha1.GroupVersion.WithResource("podidentityassociations")
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(
		runtime.NewScheme(), map[schema.GroupVersionResource]string{resource: "PodIdentityAssociationList"},
	)
	source := follow.Associations(client, time.Now, discard)
	if found, err := source.Get(t.Context(), "n", "s"); found != nil || err != nil {
		t.Errorf("not there: %v, %v", found, err)
	}
	client.PrependReactor("get", "podidentityassociations", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, notServed("podidentityassociations")
	})
	if found, err := source.Get(t.Context(), "n", "s"); found != nil || err == nil {
		t.Errorf("not defined: %v, %v", found, err)
	}
}
