package workload

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/token"
)

const (
	issuer     = "https://oidc.example.com/prod"
	audience   = "pods.eks.amazonaws.com"
	podUID     = "d2a4e0b6-2222-4d3f-8b1b-5f5f4d1c0002"
	accountUID = "a7c1b9d8-3333-4e5a-b2b2-6f6f4d1c0003"
)

var (
	issued = time.Date(2026, 9, 21, 9, 0, 0, 0, time.UTC)
	// ownKey is the cluster's; strangeKey is published by nobody.
	ownKey     = sync.OnceValue(newKey)
	strangeKey = sync.OnceValue(newKey)
)

func newKey() *token.Key { return must(token.GenerateEC(elliptic.P256())) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// world is a verifier beside a cluster that is made up. It has followed the pod
// shop/cart-0 on node n1 and its service account, and the issuer's keys.
type world struct {
	t         *testing.T
	now       time.Time
	client    *fake.Clientset
	objects   *Objects
	keys      *Keys
	verifier  *Verifier
	disagreed int
	// answer is what the API server says of a token; nil is a yes to all of them.
	answer   func(*authenticationv1.TokenReview)
	reviewed int
	// published is what the issuer has now, and how often it was read.
	published []crypto.PublicKey
	issuer    string
	reads     int
	away      error
}

func newWorld(t *testing.T, mode Mode) *world {
	t.Helper()
	w := &world{t: t, now: issued, issuer: issuer, published: []crypto.PublicKey{ownKey().Public()}}
	w.client = fake.NewClientset(newAccount("cart", accountUID), newPod("cart-0"))
	w.client.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		w.reviewed++
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		review.Status = authenticationv1.TokenReviewStatus{
			Authenticated: true,
			Audiences:     review.Spec.Audiences,
			User: authenticationv1.UserInfo{
				Username: "system:serviceaccount:shop:cart",
				UID:      accountUID,
				Extra: map[string]authenticationv1.ExtraValue{
					extraPod:    {"cart-0"},
					extraPodUID: {podUID},
					extraNode:   {"n1"},
				},
			},
		}
		if w.answer != nil {
			w.answer(review)
		}
		if review.Status.Error == "away" {
			return true, nil, errors.New("connection refused")
		}
		return true, review, nil
	})
	clock := func() time.Time { return w.now }
	w.objects = NewObjects(w.client, clock, "team")
	w.check(w.objects.pods.Replace([]any{newPod("cart-0")}, ""))
	w.check(w.objects.accounts.Replace([]any{newAccount("cart", accountUID)}, ""))
	w.keys = NewKeys(func(context.Context) (string, []byte, error) {
		w.reads++
		if w.away != nil {
			return "", nil, w.away
		}
		text, err := token.MarshalJWKS(w.published)
		return w.issuer, text, err
	}, clock)
	_, err := w.keys.Reload(t.Context())
	w.check(err)
	w.now = w.now.Add(time.Minute) // keys may be read again
	w.moves()
	w.verifier = &Verifier{
		Mode:      mode,
		Keys:      w.keys,
		Objects:   w.objects,
		Review:    &Reviewer{Client: w.client},
		Disagreed: func() { w.disagreed++ },
		Now:       clock,
	}
	return w
}

// moves has the API server be heard by all watches.
func (w *world) moves() {
	w.t.Helper()
	w.check(errors.Join(w.objects.pods.Bookmark(""), w.objects.accounts.Bookmark("")))
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newAccount(name, uid string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(uid)}}
}

func newPod(name string, edits ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop",
			Name:      name,
			UID:       podUID,
			Labels:    map[string]string{"team": "red", "tier": "front"},
		},
		Spec:   corev1.PodSpec{ServiceAccountName: "cart", NodeName: "n1"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, edit := range edits {
		edit(pod)
	}
	return pod
}

// keysNamed publishes what is published now, under a name.
func (w *world) keysNamed(name string) follow.KeySource {
	text, err := token.MarshalJWKS(w.published)
	return func(context.Context) (string, []byte, error) { return name, text, err }
}

type claims = map[string]any

// claimsOf are those of a token of shop/cart-0 that lives for a day, changed by
// edits; nil removes.
func claimsOf(edits claims) []byte {
	all := claims{
		"aud": []string{audience},
		"iss": issuer,
		"iat": issued.Unix(),
		"nbf": issued.Unix(),
		"exp": issued.Add(24 * time.Hour).Unix(),
		"jti": "0b6b7a52-8a39-4f57-8c64-3d1f0f6c9a11",
		"sub": "system:serviceaccount:shop:cart",
		"kubernetes.io": claims{
			"namespace":      "shop",
			"serviceaccount": claims{"name": "cart", "uid": accountUID},
			"pod":            claims{"name": "cart-0", "uid": podUID},
			"node":           claims{"name": "n1", "uid": "n1-uid"},
		},
	}
	for name, value := range edits {
		if value == nil {
			delete(all, name)
			continue
		}
		all[name] = value
	}
	return must(json.Marshal(all))
}

// bound is the claim of Kubernetes, changed by edits; nil removes.
func bound(edits claims) claims {
	var all struct {
		Kubernetes claims `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(claimsOf(nil), &all); err != nil {
		panic(err)
	}
	for name, value := range edits {
		if value == nil {
			delete(all.Kubernetes, name)
			continue
		}
		all.Kubernetes[name] = value
	}
	return claims{"kubernetes.io": all.Kubernetes}
}

// signed is the cluster's token of some claims.
func signed(edits claims) credential.Secret { return must(token.Sign(ownKey(), claimsOf(edits))) }

func (w *world) verify(raw credential.Secret) (*Identity, error) {
	return w.verifier.Verify(w.t.Context(), raw, audience)
}

// wantRefused checks the code and a part of the message or cause of a refusal; an
// empty code means that there must be none.
func wantRefused(t *testing.T, name string, err error, code refusal.Code, part string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%s: refused: %v", name, err)
		}
		return
	}
	if refused, ok := errors.AsType[*refusal.Error](err); !ok || refused.Code != code ||
		!strings.Contains(err.Error(), part) {
		t.Errorf("%s: %v, want %s about %q", name, err, code, part)
	}
}
