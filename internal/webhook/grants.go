package webhook

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/grant"
)

// Grants follows the RoleGrants of a cluster. Without their definition in the
// cluster it never syncs, so that the webhook does not become ready.
type Grants struct {
	*followed[*grant.Set]
	client dynamic.Interface
	log    *slog.Logger
	known  map[string]grant.Grant // touched by the reflector only
}

// NewGrants prepares it; Run follows.
func NewGrants(client dynamic.Interface, log *slog.Logger) *Grants {
	return &Grants{newFollowed(&grant.Set{}), client, log, map[string]grant.Grant{}}
}

// Run follows the grants until ctx is done.
func (g *Grants) Run(ctx context.Context) error {
	grants := g.client.Resource(v1alpha1.GroupVersion.WithResource("rolegrants"))
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return grants.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return grants.Watch(ctx, options)
		},
	}
	follow(ctx, "RoleGrants", cache.ToListWatcherWithWatchListSemantics(source, g.client), &unstructured.Unstructured{}, (*grantStore)(g))
	return nil
}

// grantStore is what the reflector fills.
type grantStore Grants

// Add is an event of the watch.
func (s *grantStore) Add(object any) error { return s.Update(object) }

// Update is an event of the watch.
func (s *grantStore) Update(object any) error {
	s.put(object)
	s.publish()
	return nil
}

// put reads a grant. One that cannot be read allows nothing, but is there: a
// cluster without grants is one in which all may use all.
func (s *grantStore) put(object any) {
	content, ok := object.(*unstructured.Unstructured)
	if !ok {
		return
	}
	var read v1alpha1.RoleGrant
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content.Object, &read); err != nil {
		s.log.Error("RoleGrant not read, it allows nothing", "name", content.GetName(), "error", err)
		read.Spec = v1alpha1.RoleGrantSpec{}
	}
	s.known[content.GetName()] = grant.Grant{Name: content.GetName(), Spec: read.Spec}
}

// Delete is an event of the watch.
func (s *grantStore) Delete(object any) error {
	if content, ok := object.(metav1.Object); ok {
		delete(s.known, content.GetName())
		s.publish()
	}
	return nil
}

// Replace is a list.
func (s *grantStore) Replace(objects []any, _ string) error {
	s.known = map[string]grant.Grant{}
	for _, object := range objects {
		s.put(object)
	}
	s.publish()
	s.markSynced()
	return nil
}

// publish orders by name, so that replicas give one reason.
func (s *grantStore) publish() {
	var grants []grant.Grant
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		grants = append(grants, s.known[name])
	}
	s.set(grant.NewSet(grants))
}

// Resync has nothing to do.
func (s *grantStore) Resync() error { return nil }
