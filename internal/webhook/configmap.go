package webhook

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
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
	client    kubernetes.Interface
	namespace string
	settings  inject.Settings
	log       *slog.Logger
}

// NewConfigMap prepares it; Run follows.
func NewConfigMap(
	client kubernetes.Interface, namespace string, settings inject.Settings, log *slog.Logger,
) *ConfigMap {
	return &ConfigMap{follow.NewValue[*inject.Config](nil), client, namespace, settings, log}
}

// Run follows the ConfigMap until ctx is done.
func (c *ConfigMap) Run(ctx context.Context) error {
	maps := c.client.CoreV1().ConfigMaps(c.namespace)
	one := fields.OneTermEqualSelector("metadata.name", ConfigMapName).String()
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = one
			return maps.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = one
			return maps.Watch(ctx, options)
		},
	}
	follow.Run(ctx, "ConfigMap", cache.ToListWatcherWithWatchListSemantics(source, c.client), &corev1.ConfigMap{},
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

// configStore is what the reflector fills.
type configStore ConfigMap

// Add is an event of the watch.
func (s *configStore) Add(object any) error { return s.Update(object) }

// Update is an event of the watch.
func (s *configStore) Update(object any) error {
	if content, ok := object.(*corev1.ConfigMap); ok && content.Name == ConfigMapName {
		document, found := content.Data["config"]
		if !found {
			document = "{}"
		}
		(*ConfigMap)(s).read(document)
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
