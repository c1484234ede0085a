package serve

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/follow"
)

// TestSureClient: each kind is read from the cache while its watch moves, and from the API
// server when it stands still.
func TestSureClient(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	at := metav1.ObjectMeta{Name: "a", Namespace: "n"}
	for kind, object := range map[string]client.Object{
		"Issuer":                 &v1alpha1.Issuer{ObjectMeta: metav1.ObjectMeta{Name: "a"}},
		"RoleGrant":              &v1alpha1.RoleGrant{ObjectMeta: metav1.ObjectMeta{Name: "a"}},
		"PodIdentityAssociation": &v1alpha1.PodIdentityAssociation{ObjectMeta: at},
	} {
		now := time.Now()
		watch := follow.NewWatch(kind+"s", func() time.Time { return now })
		watch.Hear()
		sure := sureClient{
			Client:  fake.NewClientBuilder().WithScheme(scheme).WithObjects(object).Build(), // as it was
			live:    fake.NewClientBuilder().WithScheme(scheme).Build(),                     // deleted since
			watches: &controllerWatches{byKind: map[string]*follow.Watch{kind: watch}},
		}
		lists := map[string]client.ObjectList{
			"Issuer":                 &v1alpha1.IssuerList{},
			"RoleGrant":              &v1alpha1.RoleGrantList{},
			"PodIdentityAssociation": &v1alpha1.PodIdentityAssociationList{},
		}
		for _, still := range []bool{false, true} {
			if still {
				now = now.Add(follow.Fresh + 1)
			}
			err := sure.Get(t.Context(), client.ObjectKeyFromObject(object), object.DeepCopyObject().(client.Object))
			if apierrors.IsNotFound(err) != still || err != nil && !still {
				t.Errorf("%s, stands still %t: %v", kind, still, err)
			}
			if err := sure.List(t.Context(), lists[kind]); err != nil {
				t.Error(err)
			}
			items, _ := runtime.DefaultUnstructuredConverter.ToUnstructured(lists[kind])
			if there := len(items["items"].([]any)) > 0; there == still {
				t.Errorf("%s, stands still %t: listed %t", kind, still, there)
			}
		}
	}
}
