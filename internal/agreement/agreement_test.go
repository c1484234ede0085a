package agreement_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/agreement"
	"github.com/rolecall/rolecall/internal/planefile"
)

func plane(region string) *planefile.Plane {
	p := &planefile.Plane{}
	p.Set(planefile.ClusterName, "prod")
	p.Set(planefile.Region, region)
	return p
}

// start runs a role for a time, and returns what it logged and how many facts
// differ.
func start(
	t *testing.T, client *fake.Clientset, m agreement.Member, lasts time.Duration,
) (log string, differs float64) {
	t.Helper()
	var text bytes.Buffer
	m.ConfigMaps = client.CoreV1().ConfigMaps("rolecall-system")
	m.Log, m.Disagreements = slog.New(slog.NewTextHandler(&text, nil)), agreement.NewGauge()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	if err := m.Run(ctx); err != nil {
		t.Error(err)
	}
	return text.String(), count(t, m.Disagreements)
}

// count is the sum of a metric over its labels.
func count(t *testing.T, metric prometheus.Collector) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metric)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, family := range families {
		for _, one := range family.GetMetric() {
			sum += one.GetGauge().GetValue()
		}
	}
	return sum
}

// TestDisagreement: a role that starts says in which fact another one differs; one that
// has the same plane says nothing.
func TestDisagreement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		broker := agreement.Member{Role: "broker", Plane: plane("eu-west-1")}
		if log, _ := start(t, client, broker, time.Second); log != "" {
			t.Errorf("the first role has nobody to disagree with: %s", log)
		}
		log, differs := start(t, client, agreement.Member{Role: "webhook", Plane: plane("eu-west-1")}, time.Second)
		if log != "" || differs != 0 {
			t.Errorf("the same plane: %v facts differ: %s", differs, log)
		}
		agent := agreement.Member{Role: "agent", Plane: plane("eu-west-2"), Silent: true}
		log, differs = start(t, client, agent, time.Second)
		for _, want := range []string{
			"roles disagree about the plane",
			"fact=cluster.region", "ours=eu-west-2", "theirs=eu-west-1", "role=broker",
		} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is not said: %s", want, log)
			}
		}
		if differs != 2 {
			t.Errorf("%v facts differ, want one from the broker's and one from the webhook's", differs)
		}
		said, err := client.CoreV1().ConfigMaps("rolecall-system").Get(t.Context(), agreement.Name, metav1.GetOptions{})
		if err != nil || len(said.Data) != 2 || said.Data["agent"] != "" {
			t.Errorf("broker and webhook said something, the silent agent did not: got %v, %v", said.Data, err)
		}
	})
}

// TestComplainsOnce: a disagreement that stays is logged once; one that is fixed ends.
func TestComplainsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		start(t, client, agreement.Member{Role: "broker", Plane: plane("eu-west-1")}, time.Second)
		log, _ := start(t, client, agreement.Member{Role: "webhook", Plane: plane("eu-west-2")}, time.Hour)
		if times := strings.Count(log, "roles disagree"); times != 1 {
			t.Errorf("said %d times in an hour: %s", times, log)
		}
		start(t, client, agreement.Member{Role: "broker", Plane: plane("eu-west-2")}, time.Second)
		webhook := agreement.Member{Role: "webhook", Plane: plane("eu-west-2")}
		if log, differs := start(t, client, webhook, time.Second); log != "" || differs != 0 {
			t.Errorf("after it was fixed: %v facts differ: %s", differs, log)
		}
	})
}

// TestAtTheSameTime: a role whose word collides with another's says it again.
func TestAtTheSameTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		start(t, client, agreement.Member{Role: "broker", Plane: plane("eu-west-1")}, time.Second)
		collisions := 2
		client.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			collisions--
			conflict := apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, agreement.Name, nil)
			return collisions >= 0, nil, conflict
		})
		log, _ := start(t, client, agreement.Member{Role: "webhook", Plane: plane("eu-west-1")}, time.Second)
		said, err := client.CoreV1().ConfigMaps("rolecall-system").Get(t.Context(), agreement.Name, metav1.GetOptions{})
		if err != nil || said.Data["webhook"] == "" || log != "" {
			t.Errorf("got %v, %v: %s", said.Data, err, log)
		}
	})
}

// TestNotAllowed: without the permission a role goes on, and says once what is missing.
func TestNotAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, agreement.Name, nil)
		})
		log, _ := start(t, client, agreement.Member{Role: "broker", Plane: plane("eu-west-1")}, time.Hour)
		times := strings.Count(log, "cannot check that roles agree about the plane")
		if times != 1 || !strings.Contains(log, "allow get, create and update") {
			t.Errorf("said %d times: %s", times, log)
		}
	})
}
