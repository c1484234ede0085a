package webhook_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
	"github.com/rolecall/rolecall/test/lockedbuffer"
)

// What client-go reports errors to also sleeps until a millisecond after the last of the
// process, which in a bubble of another time is for years.
func init() { utilruntime.ErrorHandlers = utilruntime.ErrorHandlers[:1] }

// TestConfigMapForbidden: where the ConfigMap may not be read, pods get their role by
// annotation at once, and the log says which rule is missing, once.
func TestConfigMapForbidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "pod-identity-webhook", nil)
		})
		log := &lockedbuffer.Buffer{}
		source := webhook.NewConfigMap(
			client,
			"eks",
			inject.Defaults(),
			time.Now,
			slog.New(slog.NewTextHandler(log, nil)),
		)
		ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
		done := make(chan error)
		go func() { done <- source.Run(ctx) }()
		handler, err := webhook.New(webhook.Config{
			Settings: inject.Defaults(), ServiceAccounts: accounts, ConfigMap: source,
			Metrics: prometheus.NewRegistry(), Log: discard, Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, after := range []time.Duration{0, time.Hour} {
			time.Sleep(after)
			if got := post(t, handler, reviewOf("v1", pod)); !strings.Contains(got.Body.String(), `"patch"`) {
				t.Errorf("after %s: %d %s", after, got.Code, got.Body)
			}
		}
		const rule = "resources: [configmaps], verbs: [list, watch], resourceNames: [pod-identity-webhook]"
		if text := log.String(); strings.Count(text, "ConfigMap may not be read") != 1 ||
			!strings.Contains(text, rule) {
			t.Errorf("log: %s", text)
		}
		cancel()
		<-done
	})
}
