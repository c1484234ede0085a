package issuer_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/token"
)

// heard keeps Events.
type heard struct{ said []string }

func (h *heard) Eventf(_, _ runtime.Object, _, reason, _, note string, args ...any) {
	h.said = append(h.said, reason+": "+fmt.Sprintf(note, args...))
}

// publishBeside adds a key to what the controller has published, as somebody does who has
// come by the right to write there.
func (w *world) publishBeside(ctx context.Context, stranger token.PublicKey) {
	w.t.Helper()
	place, err := accounts.Bucket(ctx, w.auto.spec.Publish.S3)
	if err != nil {
		w.t.Fatal(err)
	}
	there, err := place.Read(ctx, document.JWKSPath)
	if err != nil {
		w.t.Fatal(err)
	}
	keys, err := token.ReadJWKS(there.Text)
	if err != nil {
		w.t.Fatal(err)
	}
	was := there.Version
	if there.Text, err = token.MarshalKeys(append(keys, stranger), false); err != nil {
		w.t.Fatal(err)
	}
	if err := place.Write(ctx, document.Write{Object: there, Replaces: was}); err != nil {
		w.t.Fatal(err)
	}
}

// TestForeignKeyIsTold: the controller takes a key out that somebody else has published, and
// says so; where it cannot, the Issuer is not verified.
func TestForeignKeyIsTold(t *testing.T) {
	w := openWorld(t, 2, false)
	events := &heard{}
	w.reconciler.Events = events
	w.settle()
	stranger := public(t, newKey(t))
	verified := func() *metav1.Condition {
		return meta.FindStatusCondition(w.issuer().Status.Conditions, "Verified")
	}
	if got := verified(); got == nil || strings.Contains(got.Message, "unserved-key") {
		t.Fatalf("before: %+v", got)
	}
	w.publishBeside(t.Context(), stranger)
	w.settle()
	told := func(text string) bool {
		return strings.HasPrefix(text, "ForeignKey: key "+stranger.ID)
	}
	if !slices.ContainsFunc(events.said, told) {
		t.Errorf("the key is removed without a word: %q", events.said)
	}
	if _, jwks := w.auto.reader.Read(t.Context(), issuerURL); bytes.Contains(jwks.Text, []byte(stranger.ID)) {
		t.Errorf("the key is still there: %s", jwks.Text)
	}
	// One API server is away, so that nothing is published, and the key stays.
	w.publishBeside(t.Context(), stranger)
	object := w.issuer()
	object.Spec.APIServers = append(object.Spec.APIServers, "http://127.0.0.1:1")
	if err := w.client.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if _, err := w.reconciler.Reconcile(t.Context(),
		ctrl.Request{NamespacedName: client.ObjectKey{Name: "c1"}}); err != nil {
		t.Fatal(err)
	}
	if got := verified(); got.Status != metav1.ConditionFalse || !strings.Contains(got.Message, "unserved-key") ||
		!strings.Contains(got.Message, stranger.ID) {
		t.Errorf("the key is not in the conditions: %+v", got)
	}
}
