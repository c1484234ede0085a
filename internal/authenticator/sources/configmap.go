package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/access/awsauth"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/events"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
)

// The ConfigMap that every cluster on EKS has.
const (
	Namespace = "kube-system"
	Name      = "aws-auth"
	place     = "ConfigMap " + Namespace + "/" + Name
)

// ConfigMap follows aws-auth, and nothing else of its namespace. Of each of its keys what
// was last good counts while what is there cannot be read.
type ConfigMap struct {
	set    *Set
	client kubernetes.Interface
	watch  *follow.Watch
	events *events.Writer // nil for none
	file   string         // where the last good texts are kept; empty for nowhere

	options awsauth.Options
	content awsauth.Content
	kept    kept
	say     *teller
}

// kept is what goes over a restart: the last good texts of one object. Another object of
// the name does not bring back what was deleted.
type kept struct {
	UID  types.UID         `json:"uid"`
	Good map[string]string `json:"good"`
}

// ConfigMap prepares it, and takes what was good before a restart until the cluster was
// read.
func (s *Set) ConfigMap(client kubernetes.Interface, writer *events.Writer, file string) *ConfigMap {
	c := &ConfigMap{
		set: s, client: client, watch: follow.NewWatch("the ConfigMap aws-auth", s.now), events: writer, file: file,
		options: awsauth.Options{Source: access.EKSConfigMap, Place: place, PinUserIDs: s.pin}, say: s.teller(),
		kept: kept{Good: map[string]string{}},
	}
	if file == "" {
		return c
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &c.kept)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		s.log.Error("what aws-auth last said is not read", "file", file, "error", err)
		c.kept = kept{}
	case len(c.kept.Good) > 0:
		c.content = awsauth.ConfigMap(c.kept.Good, c.options)
		s.put(access.EKSConfigMap, c.content.Mappings(), nil, false)
		s.log.Info("mappings of before the restart count until the cluster is read", "source", access.EKSConfigMap,
			"mappings", len(c.content.Mappings()))
	}
	return c
}

// Watched is how it is followed.
func (c *ConfigMap) Watched() *follow.Watch { return c.watch }

var named = sync.OnceValue(func() string { return fields.OneTermEqualSelector("metadata.name", Name).String() })

// failed takes the outcome of a list or of opening a watch.
func (c *ConfigMap) failed(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	c.set.metrics.ConfigMapFailures.Inc()
	if apierrors.IsForbidden(err) {
		err = fault.New(fault.Denied, "%s may not be read: %w", place, err).Hint("add this rule to the server's Role in %s: "+
			"{apiGroups: [''], resources: [configmaps], resourceNames: [%s], verbs: [get, list, watch]}", Namespace, Name)
	}
	c.set.fail(access.EKSConfigMap, err)
}

// Run follows the ConfigMap until ctx is done.
func (c *ConfigMap) Run(ctx context.Context) error {
	maps := c.client.CoreV1().ConfigMaps(Namespace)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = named()
			list, err := maps.List(ctx, options)
			c.failed(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = named()
			stream, err := maps.Watch(ctx, options)
			c.failed(ctx, err)
			return stream, err
		},
	}
	c.watch.Run(ctx, cache.ToListWatcherWithWatchListSemantics(source, c.client), &corev1.ConfigMap{}, (*store)(c))
	return nil
}

// store is what the reflector fills, one call after the other.
type store ConfigMap

// Add is an event of the watch.
func (s *store) Add(object any) error { return s.Update(object) }

// Update is an event of the watch.
func (s *store) Update(object any) error {
	if one, ok := object.(*corev1.ConfigMap); ok && one.Name == Name && one.Namespace == Namespace {
		(*ConfigMap)(s).read(one)
	}
	return nil
}

// Delete is an event of the watch.
func (s *store) Delete(object any) error {
	if one, ok := object.(*corev1.ConfigMap); ok && one.Name == Name && one.Namespace == Namespace {
		(*ConfigMap)(s).read(nil)
	}
	return nil
}

// Replace is a list.
func (s *store) Replace(objects []any, _ string) error {
	for _, object := range objects {
		if one, ok := object.(*corev1.ConfigMap); ok && one.Name == Name && one.Namespace == Namespace {
			(*ConfigMap)(s).read(one)
			return nil
		}
	}
	(*ConfigMap)(s).read(nil)
	return nil
}

// Resync has nothing to do.
func (s *store) Resync() error { return nil }

// read takes the ConfigMap as it is; nil if there is none.
func (c *ConfigMap) read(object *corev1.ConfigMap) {
	if object == nil {
		c.content, c.kept = awsauth.Content{}, kept{}
		table := c.set.put(access.EKSConfigMap, nil, nil, true)
		c.set.log.Warn("there is no ConfigMap aws-auth: it maps nobody", "source", access.EKSConfigMap)
		c.say.tell(access.EKSConfigMap, table)
		c.keep()
		return
	}
	if object.UID != c.kept.UID || c.kept.Good == nil {
		c.content, c.kept = awsauth.Content{}, kept{UID: object.UID, Good: map[string]string{}}
	}
	now := awsauth.ConfigMap(object.Data, c.options)
	broken := now.Broken()
	for _, key := range awsauth.Keys() {
		if slices.Contains(broken, key) {
			c.set.log.Error("aws-auth cannot be read; what it said before counts", "key", key)
			continue
		}
		c.set.good(access.EKSConfigMap, string(key))
		if text := object.Data[string(key)]; text != "" {
			c.kept.Good[string(key)] = text
		} else {
			delete(c.kept.Good, string(key))
		}
	}
	c.content = now.KeepGood(c.content)
	table := c.set.put(access.EKSConfigMap, c.content.Mappings(), now.Problems(), true)
	c.say.tell(access.EKSConfigMap, table)
	if problems := now.Problems(); c.events != nil && len(problems) > 0 {
		c.tell(object, problems, len(broken) > 0)
	}
	c.keep()
}

// tell writes an Event of the ConfigMap.
func (c *ConfigMap) tell(object *corev1.ConfigMap, problems []access.Problem, broken bool) {
	reason, note := "MappingsRefused", problems[0].Error()
	if broken {
		reason, note = "LastGoodKept", "cannot be read, and what was there before counts: "+note
	}
	if more := len(problems) - 1; more > 0 {
		note += fmt.Sprintf(" (and %d more)", more)
	}
	c.events.Say(reason+object.ResourceVersion, events.Event{
		About: &corev1.ObjectReference{
			APIVersion: "v1", Kind: "ConfigMap", Namespace: Namespace, Name: Name, UID: object.UID,
			ResourceVersion: object.ResourceVersion,
		},
		Reason: reason, Action: "ReadMappings", Note: note,
	})
}

// keep writes the last good texts.
func (c *ConfigMap) keep() {
	if c.file == "" {
		return
	}
	text, err := json.Marshal(c.kept)
	if err == nil {
		err = atomicfile.Write(c.file, text, 0o600)
	}
	if err != nil {
		c.set.log.Error("what aws-auth says is not kept for a restart", "file", c.file, "error", err)
	}
}
