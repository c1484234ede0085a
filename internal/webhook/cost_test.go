package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/webhook"
)

// BenchmarkAccounts measures what 10,000 annotated service accounts keep, in
// bytes.
func BenchmarkAccounts(b *testing.B) {
	const count = 10_000
	for b.Loop() {
		client := fake.NewClientset()
		client.PrependReactor("list", "serviceaccounts",
			func(clienttesting.Action) (bool, runtime.Object, error) { return true, manyAccounts(count), nil })
		accounts := webhook.NewAccounts(client, inject.Defaults(), 0, time.Now)
		before := heap()
		ctx, cancel := context.WithCancel(b.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = accounts.Run(ctx) })
		<-accounts.Synced()
		b.ReportMetric(float64(heap()-before), "kept-B/10000-accounts")
		if account, err := accounts.Lookup(ctx, inject.Name{
			Namespace:      "namespace-1",
			ServiceAccount: "service-account-1",
		}, false); account == nil || err != nil {
			b.Fatal(account, err)
		}
		cancel()
		running.Wait()
	}
}

// manyAccounts are made again for each list, as a decoder would.
func manyAccounts(count int) *corev1.ServiceAccountList {
	list := &corev1.ServiceAccountList{}
	for i := range count {
		list.Items = append(list.Items, corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("namespace-%d",
				i%100),
			Name: fmt.Sprintf("service-account-%d", i),
			UID:  "0b6f8a0c-6f55-4d0e-93d0-0a1f0c8f7b11",
			Annotations: map[string]string{
				"eks.amazonaws.com/role-arn": fmt.Sprintf("arn:aws:iam::111122223333:role/team/application-%d", i),
				"other.example/note":         "x",
			},
		}})
	}
	return list
}

func heap() int64 {
	goruntime.GC()
	goruntime.GC()
	var stats goruntime.MemStats
	goruntime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestNoWorkWithoutChange: what has not changed costs nothing, however long; the
// reference parses every account again each minute.
func TestNoWorkWithoutChange(t *testing.T) {
	client := fake.NewClientset(&corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   "n",
			Name:        "s",
			Annotations: map[string]string{"eks.amazonaws.com/role-arn": role},
		},
	})
	accounts := webhook.NewAccounts(client, inject.Defaults(), 0, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = accounts.Run(ctx) })
	<-accounts.Synced()
	name := inject.Name{Namespace: "n", ServiceAccount: "s"}
	before, _ := accounts.Lookup(ctx, name, false)
	actions := len(client.Actions())
	for range 5 {
		time.Sleep(10 * time.Millisecond)
		if after, _ := accounts.Lookup(ctx, name, false); after != before {
			t.Error("an account that did not change was parsed again")
		}
	}
	if got := len(client.Actions()); got > actions+1 { // the watch may begin after the list
		t.Errorf("%d calls to the API server without a change", got-actions)
	}
	cancel()
	running.Wait()
}

// TestAllocations holds the part of the cost that does not depend on the machine:
// 12 allocations at most for a pod of an account without role.
func TestAllocations(t *testing.T) {
	text, err := os.ReadFile("testdata/review.json")
	if err != nil {
		t.Fatal(err)
	}
	handler := newHandler(t, accounts)
	review := strings.ReplaceAll(string(text), `"SERVICEACCOUNT"`, `"plain"`)
	out := &sink{header: http.Header{}}
	reader := strings.NewReader(review)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/mutate", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Body = io.NopCloser(reader)
	if got := testing.AllocsPerRun(200, func() {
		reader.Reset(review)
		handler.ServeHTTP(out, request)
	}); got > 12 || out.code != 0 {
		t.Errorf("%v allocations, status %d", got, out.code)
	}
}
