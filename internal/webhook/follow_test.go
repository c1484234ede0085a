package webhook_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

var discard = slog.New(slog.DiscardHandler)

// TestConfigMapFollows is spec webhook rows Q22 and Q23: bad entries are left out,
// a bad document changes nothing, each good one replaces all, deletion clears.
func TestConfigMapFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		source := webhook.NewConfigMap(client, "eks", inject.Defaults(), time.Now, discard)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- source.Run(ctx) }()
		<-source.Synced()
		maps := client.CoreV1().ConfigMaps("eks")
		put := func(document string) {
			object := &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: "eks", Name: "pod-identity-webhook"},
				Data:       map[string]string{"config": document},
			}
			if _, err := maps.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
				if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		expect := func(what string, want int) {
			t.Helper()
			if got := source.Current().Len(); got != want {
				t.Errorf("%s: %d entries, want %d", what, got, want)
			}
		}
		expect("no ConfigMap", 0)
		put(`{"n/a":{"RoleARN":"x"},"n/b":{"RoleARN":"y"},"broken":{},"n/null":null}`)
		expect("two of four", 2)
		put(`{"n/a":`)
		expect("a broken document", 2)
		put(`{"n/b":{"RoleARN":"y"}}`)
		expect("one removed, after a broken document", 1)
		if err := maps.Delete(ctx, "pod-identity-webhook", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect("deleted", 0)
		cancel()
		<-done
	})
}

// TestDebugging is spec webhook §1.1: the routes are there only when wanted.
func TestDebugging(t *testing.T) {
	t.Parallel()
	for _, debugging := range []bool{true, false} {
		handler, err := webhook.New(webhook.Config{
			Settings:        inject.Defaults(),
			ServiceAccounts: accounts,
			Metrics:         prometheus.NewRegistry(),
			Log:             discard,
			Now:             time.Now,
			Debugging:       debugging,
		})
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]struct {
			code int
			text string
		}{
			"/debug/alpha/deny": {
				code: http.StatusOK,
				text: `"uid":"u1","allowed":false,"status":{"metadata":{},"message":"Test deny message"}`,
			},
			"/debug/alpha/500": {http.StatusInternalServerError, "test error"},
		} {
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder,
				httptest.NewRequestWithContext(t.Context(), http.MethodPost, path,
					strings.NewReader(reviewOf("v1", pod))))
			if !debugging {
				want.code, want.text = http.StatusNotFound, ""
			}
			if recorder.Code != want.code || !strings.Contains(recorder.Body.String(), want.text) {
				t.Errorf("%s: %d %s", path, recorder.Code, recorder.Body)
			}
		}
	}
}
