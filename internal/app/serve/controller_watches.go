package serve

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/internal/follow"
)

// controllerWatches are those of the controller's cache, by the kind of object.
type controllerWatches struct {
	now   func() time.Time
	added func(...*follow.Watch)

	mu     sync.Mutex
	byKind map[string]*follow.Watch
}

// kindOf is the name of an object's type, or of the items of a list.
func kindOf(object runtime.Object) string {
	name := fmt.Sprintf("%T", object)
	return strings.TrimSuffix(name[strings.LastIndexByte(name, '.')+1:], "List")
}

// informer makes an informer whose source ends streams that hang, and that is known to stand still.
func (c *controllerWatches) informer(
	source cache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers cache.Indexers,
) cache.SharedIndexInformer {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := kindOf(kind)
	watch := c.byKind[name]
	if watch == nil {
		watch = follow.NewWatch(name+"s", c.now)
		c.byKind[name] = watch
		c.added(watch)
	}
	return cache.NewSharedIndexInformer(watch.Follow(source), kind, resync, indexers)
}

// behind reports whether what the cache has of a kind is too old to go by.
func (c *controllerWatches) behind(kind runtime.Object) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	watch := c.byKind[kindOf(kind)]
	return watch != nil && !watch.Heard(follow.Fresh)
}

// sureClient reads from the cache what was confirmed a moment ago, and all else from the
// API server: an Issuer that was changed, or a grant that was deleted, while the watch
// stood still is not gone by as it was.
type sureClient struct {
	client.Client
	live    client.Reader
	watches *controllerWatches
}

// Get reads one object.
func (s sureClient) Get(
	ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption,
) error {
	if s.watches.behind(into) {
		return s.live.Get(ctx, key, into, options...)
	}
	return s.Client.Get(ctx, key, into, options...)
}

// List reads many.
func (s sureClient) List(ctx context.Context, into client.ObjectList, options ...client.ListOption) error {
	if s.watches.behind(into) {
		return s.live.List(ctx, into, options...)
	}
	return s.Client.List(ctx, into, options...)
}
