package webhook

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/inject"
)

// ConfigMapName is the ConfigMap that is followed, by the reference's name.
const ConfigMapName = "pod-identity-webhook"

// ConfigMap follows the identities of a ConfigMap (spec webhook §9). Each new
// document replaces all of the last; a document that cannot be read none.
type ConfigMap struct {
	*follow.Value[*inject.Config]
	watch     *follow.Watch
	client    kubernetes.Interface
	namespace string
	settings  inject.Settings
	log       *slog.Logger
	flight    singleflight.Group
	refused   sync.Once // that it may not be read was said
}

// NewConfigMap prepares it; Run follows.
func NewConfigMap(
	client kubernetes.Interface, namespace string, settings inject.Settings, now func() time.Time, log *slog.Logger,
) *ConfigMap {
	return &ConfigMap{
		Value:     follow.NewValue[*inject.Config](nil),
		watch:     follow.NewWatch("the ConfigMap", now),
		client:    client,
		namespace: namespace,
		settings:  settings,
		log:       log,
	}
}

// Watched is how the ConfigMap is followed.
func (c *ConfigMap) Watched() *follow.Watch { return c.watch }

// oneOf selects the ConfigMap, which is all that needs to be permitted.
var oneOf = sync.OnceValue(func() string {
	return fields.OneTermEqualSelector("metadata.name", ConfigMapName).String()
})

// ReadShared reads the ConfigMap as the API server has it, once for all who ask
// meanwhile, whatever the namespace.
func (c *ConfigMap) ReadShared(ctx context.Context, _ string) (*inject.Config, error) {
	answer := c.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		list, err := c.client.CoreV1().ConfigMaps(c.namespace).List(ctx, metav1.ListOptions{FieldSelector: oneOf()})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			if list.Items[i].Name == ConfigMapName {
				config, _, err := inject.ParseConfig([]byte(documentOf(&list.Items[i])), c.settings)
				return config, err
			}
		}
		return (*inject.Config)(nil), nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case shared := <-answer:
		config, _ := shared.Val.(*inject.Config)
		return config, shared.Err
	}
}

// forbidden takes the outcome of a list or of opening a watch. Where the ConfigMap may
// not be read there is none, as for the reference: reviews do not wait for it.
func (c *ConfigMap) forbidden(err error) {
	if !apierrors.IsForbidden(err) {
		return
	}
	c.refused.Do(func() {
		c.log.Warn("ConfigMap may not be read, identities come from annotations only",
			"namespace", c.namespace, "name", ConfigMapName, "error", err,
			"rule",
			`{apiGroups: [""], resources: [configmaps], verbs: [list, watch], resourceNames: [`+ConfigMapName+`]}`)
	})
	c.MarkSynced()
}

// Run follows the ConfigMap until ctx is done.
func (c *ConfigMap) Run(ctx context.Context) error {
	maps := c.client.CoreV1().ConfigMaps(c.namespace)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = oneOf()
			list, err := maps.List(ctx, options)
			c.forbidden(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = oneOf()
			stream, err := maps.Watch(ctx, options)
			c.forbidden(err)
			return stream, err
		},
	}
	c.watch.Run(ctx, cache.ToListWatcherWithWatchListSemantics(source, c.client), &corev1.ConfigMap{},
		(*configStore)(c))
	return nil
}

func (c *ConfigMap) read(document string) {
	config, problems, err := inject.ParseConfig([]byte(document), c.settings)
	if err != nil {
		c.log.Error("ConfigMap not read, the last identities stay", "namespace", c.namespace, "name", ConfigMapName,
			"error", err)
		return
	}
	for _, problem := range problems {
		c.log.Error("ConfigMap entry not read", "namespace", c.namespace, "name", ConfigMapName, "error", problem)
	}
	c.Set(config)
}

func documentOf(content *corev1.ConfigMap) string {
	if document, found := content.Data["config"]; found {
		return document
	}
	return "{}"
}

// configStore is what the reflector fills.
type configStore ConfigMap

// Add is an event of the watch.
func (s *configStore) Add(object any) error { return s.Update(object) }

// Update is an event of the watch.
func (s *configStore) Update(object any) error {
	if content, ok := object.(*corev1.ConfigMap); ok && content.Name == ConfigMapName {
		(*ConfigMap)(s).read(documentOf(content))
	}
	return nil
}

// Delete is an event of the watch.
func (s *configStore) Delete(any) error {
	s.Set(nil)
	return nil
}

// Replace is a list.
func (s *configStore) Replace(objects []any, _ string) error {
	found := false
	for _, object := range objects {
		content, ok := object.(*corev1.ConfigMap)
		found = found || ok && content.Name == ConfigMapName
		_ = s.Update(object)
	}
	if !found {
		s.Set(nil)
	}
	s.MarkSynced()
	return nil
}

// Resync has nothing to do.
func (s *configStore) Resync() error { return nil }
