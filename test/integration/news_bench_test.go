package integration_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/test/cluster"
)

// BenchmarkNewAssociation is how long a webhook or broker takes to know an association
// that was just created, among 5,000 whose statuses a controller writes all the while. A
// new one should count within 1.5 s, always: see max-ms.
func BenchmarkNewAssociation(b *testing.B) {
	c := cluster.Start(b, cluster.Options{})
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		b.Fatal(err)
	}
	installCRDs(b, client)
	waitForAssociations(b, client)
	objects := client.Resource(rolecallResource("podidentityassociations")).Namespace("default")
	create := func(name string) error {
		_, err := objects.Create(b.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rolecall.io/v1alpha1",
			"kind":       "PodIdentityAssociation",
			"metadata":   map[string]any{"name": name},
			"spec":       map[string]any{"serviceAccountName": name, "roleARN": roleARN},
		}}, metav1.CreateOptions{})
		return err
	}
	const many, writers = 5000, 4
	var making sync.WaitGroup
	for maker := range writers {
		making.Go(func() {
			for i := range many / writers {
				if err := create(fmt.Sprintf("other-%d-%d", maker, i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	making.Wait()

	followed := follow.Associations(client, time.Now, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = followed.Run(ctx) })
	<-followed.Synced()
	for writer := range writers {
		running.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, _ = objects.Patch(
					ctx, fmt.Sprintf("other-%d-%d", writer, i%(many/writers)), types.MergePatchType,
					fmt.Appendf(nil, `{"status":{"associationID":"a-%017d"}}`, i), metav1.PatchOptions{}, "status",
				) // the end cuts it off
			}
		})
	}
	var waits []time.Duration
	for b.Loop() {
		name := fmt.Sprint("new-", len(waits))
		if err := create(name); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		for followed.Current().Of("default", name) == nil {
			time.Sleep(time.Millisecond)
		}
		waits = append(waits, time.Since(start))
	}
	stop()
	running.Wait()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, "max-ms")
}
