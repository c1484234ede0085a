package agreement_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/agreement"
)

// TestHowOftenItIsSaid: a word that always collides with others' is said three times a
// look; one that is not allowed is said once. Both are complained about.
func TestHowOftenItIsSaid(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Resource: "configmaps"}
	for _, row := range []struct {
		name, verb string
		err        error
		tries      int
	}{
		{"another role writes", "update", apierrors.NewConflict(resource, agreement.Name, nil), 3},
		{"another role makes it", "create", apierrors.NewAlreadyExists(resource, agreement.Name), 3},
		{"it may not be changed", "update", apierrors.NewForbidden(resource, agreement.Name, nil), 1},
		{"it may not be made", "create", apierrors.NewForbidden(resource, agreement.Name, nil), 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := fake.NewClientset()
			if row.verb == "update" {
				start(t, client, agreement.Member{Role: "broker", Plane: plane("eu-west-1")}, time.Second)
			}
			tries := 0
			client.PrependReactor(row.verb, "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
				if tries++; tries > 10 {
					return true, &corev1.ConfigMap{}, nil // it would never end
				}
				return true, nil, row.err
			})
			log, _ := start(t, client, agreement.Member{Role: "webhook", Plane: plane("eu-west-1")}, time.Second)
			if tries != row.tries || strings.Count(log, "write the plane of this role") != 1 {
				t.Errorf("%s: said %d times, want %d: %s", row.name, tries, row.tries, log)
			}
		})
	}
}

// TestWhatCannotBeReadHidesNothing: what this role said itself and what another said
// in some other form are passed over, and all others are looked at.
func TestWhatCannotBeReadHidesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data := map[string]string{"webhook": string(plane("eu-west-3").Text())}
		for i := range 16 {
			data[fmt.Sprint("odd-", i)] = "apiVersion: rolecall.io/v9\nkind: Plane\n"
			data[fmt.Sprint("other-", i)] = string(plane("eu-west-1").Text())
		}
		client := fake.NewClientset(&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "rolecall-system", Name: agreement.Name}, Data: data,
		})
		log, differs := start(t, client, agreement.Member{Role: "webhook", Plane: plane("eu-west-2")}, time.Second)
		if differs != 16 || strings.Count(log, "roles disagree") != 16 || strings.Contains(log, "role=webhook") {
			t.Errorf("%v facts differ, want one from each of 16 roles: %s", differs, log)
		}
	})
}

// slow ConfigMaps take their time, unless nobody waits any more.
type slow struct {
	typedcorev1.ConfigMapInterface
	takes time.Duration
}

func (s slow) Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.ConfigMap, error) {
	select {
	case <-time.After(s.takes):
		return s.ConfigMapInterface.Get(ctx, name, options)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestSlowAPIServer: a look may take ten seconds. One that takes longer is given up and
// complained about; one that ends because the role stops is not.
func TestSlowAPIServer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name         string
		takes, lasts time.Duration
		complains    bool
	}{
		{"nine seconds", 9 * time.Second, time.Minute, false},
		{"eleven seconds", 11 * time.Second, time.Minute, true},
		{"the role stops meanwhile", 9 * time.Second, 5 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			m := agreement.Member{
				Role: "broker", Plane: plane("eu-west-1"), Log: slog.New(slog.NewTextHandler(&log, nil)),
				Disagreements: agreement.NewGauge(),
				ConfigMaps:    slow{fake.NewClientset().CoreV1().ConfigMaps("rolecall-system"), row.takes},
			}
			ctx, cancel := context.WithTimeout(t.Context(), row.lasts)
			defer cancel()
			if err := m.Run(ctx); err != nil || (log.Len() > 0) != row.complains {
				t.Errorf("%s: %v, complains: %s", row.name, err, log.String())
			}
		})
	}
}
