package workload

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"

	"github.com/rolecall/rolecall/internal/broker/refusal"
)

// What client-go reports errors to also sleeps until a millisecond after the last of the
// process, which in a bubble of another time is for years.
func init() { utilruntime.ErrorHandlers = utilruntime.ErrorHandlers[:1] }

// TestThePodMustBeThere: a token is good while its pod runs where it says, as whom
// it says, and for the grace that API servers give it after its deletion.
func TestThePodMustBeThere(t *testing.T) {
	t.Parallel()
	deleted := func(ago time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: issued.Add(time.Minute - ago)} }
	}
	for _, row := range []struct {
		name, message string
		edit          func(*corev1.Pod)
	}{
		{"running", "", func(*corev1.Pod) {}},
		{"pending", "", func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }},
		{"succeeded", "ended", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }},
		{"failed", "ended", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }},
		{"deleted a minute ago", "", deleted(time.Minute)},
		{"deleted more than a minute ago", "was deleted", deleted(time.Minute + time.Second)},
		{"to be deleted", "", deleted(-time.Hour)},
		{
			name:    "of another service account",
			message: "another service account",
			edit:    func(p *corev1.Pod) { p.Spec.ServiceAccountName = "x" },
		},
		{"on another node", "another node", func(p *corev1.Pod) { p.Spec.NodeName = "n2" }},
		{"on no node yet", "", func(p *corev1.Pod) { p.Spec.NodeName = "" }},
	} {
		w := newWorld(t, JWKS)
		w.check(w.objects.pods.Update(newPod("cart-0", row.edit)))
		_, err := w.verify(signed(nil))
		code := refusal.InvalidToken
		if row.message == "" {
			code = ""
		}
		wantRefused(t, row.name, err, code, row.message)
	}
}

// TestNodeOfATokenThatNamesNone is that of its pod.
func TestNodeOfATokenThatNamesNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, JWKS)
	w.check(w.objects.pods.Update(newPod("cart-0", func(p *corev1.Pod) { p.Spec.NodeName = "n7" })))
	got, err := w.verify(signed(bound(claims{"node": nil})))
	if err != nil || got.Node != "n7" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestOnlyWantedLabelsAreKept: those who create pods choose their labels.
func TestOnlyWantedLabelsAreKept(t *testing.T) {
	t.Parallel()
	read := podReader([]string{"team", "stage"})
	for name, row := range map[string]struct{ labels, want map[string]string }{
		"one of two": {map[string]string{"team": "red", "tier": "front"}, map[string]string{"team": "red"}},
		"both": {
			map[string]string{"team": "red", "stage": ""},
			map[string]string{"team": "red", "stage": ""},
		},
		"none that count": {map[string]string{"tier": "front"}, nil},
	} {
		got := read(newPod("cart-0", func(p *corev1.Pod) { p.Labels = row.labels }))
		if diff := cmp.Diff(row.want, got.labels); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := read(newAccount("cart", accountUID)); !got.ended {
		t.Errorf("something that is not a pod is read as %+v, which has not ended", got)
	}
}

// TestNewcomersAreWaitedFor: a pod that the watch has not brought yet is waited for
// half a second, and then read.
func TestNewcomersAreWaitedFor(t *testing.T) {
	t.Parallel()
	newcomer := signed(bound(claims{"pod": claims{"name": "cart-1", "uid": podUID}}))
	for _, row := range []struct {
		name  string
		setUp func(*world)
		took  time.Duration
		code  refusal.Code
		part  string
	}{
		{"brought after a while", func(w *world) {
			time.AfterFunc(newcomerWait/2, func() { w.check(w.objects.pods.Add(newPod("cart-1"))) })
		}, newcomerWait / 2, "", ""},
		{"other pods are brought meanwhile", func(w *world) {
			time.AfterFunc(newcomerWait/4, func() { w.check(w.objects.pods.Add(newPod("cart-2"))) })
			time.AfterFunc(newcomerWait/2, func() { w.check(w.objects.pods.Add(newPod("cart-1"))) })
		}, newcomerWait / 2, "", ""},
		{"its former namesake is there", func(w *world) {
			w.check(w.objects.pods.Add(newPod("cart-1", func(p *corev1.Pod) { p.UID = "older" })))
			time.AfterFunc(newcomerWait/2, func() { w.check(w.objects.pods.Update(newPod("cart-1"))) })
		}, newcomerWait / 2, "", ""},
		{
			name:  "never brought, but there",
			setUp: func(w *world) { w.check(w.client.Tracker().Add(newPod("cart-1"))) },
			took:  newcomerWait,
		},
		{"not there", func(*world) {}, newcomerWait, refusal.InvalidToken, "pod no longer exists"},
		{"there as another", func(w *world) {
			w.check(w.client.Tracker().Add(newPod("cart-1", func(p *corev1.Pod) { p.UID = "newer" })))
		}, newcomerWait, refusal.InvalidToken, "another of the same name"},
		{"the API server is away", func(w *world) {
			w.client.PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, errors.New("connection refused")
			})
		}, newcomerWait, refusal.Unavailable, "whether the pod exists"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, JWKS)
			row.setUp(w)
			before := time.Now()
			_, err := w.verify(newcomer)
			wantRefused(t, row.name, err, row.code, row.part)
			if took := time.Since(before); took != row.took {
				t.Errorf("%s: took %s, want %s", row.name, took, row.took)
			}
		})
	}
}

// TestWhoGivesUpWaiting gets no verdict.
func TestWhoGivesUpWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, JWKS)
		ctx, cancel := context.WithTimeout(t.Context(), newcomerWait/2)
		defer cancel()
		_, err := w.verifier.Verify(ctx, signed(bound(claims{"pod": claims{
			"name": "cart-1",
			"uid":  podUID,
		}})), audience)
		wantRefused(t, "given up", err, refusal.Unavailable, "deadline exceeded")
	})
}

// TestServiceAccountMustBeThere, with the very UID.
func TestServiceAccountMustBeThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, JWKS)
		w.check(w.objects.accounts.Delete(newAccount("cart", accountUID)))
		_, err := w.verify(signed(nil))
		wantRefused(t, "deleted for the watch only", err, "", "")

		w.check(w.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "shop", "cart"))
		_, err = w.verify(signed(nil))
		wantRefused(t, "deleted", err, refusal.InvalidToken, "service account no longer exists")

		w.check(w.client.Tracker().Add(newAccount("cart", "newer")))
		_, err = w.verify(signed(nil))
		wantRefused(t, "made again", err, refusal.InvalidToken, "service account no longer exists")

		w.check(w.objects.accounts.Update(newAccount("cart", accountUID)))
		_, err = w.verify(signed(nil))
		wantRefused(t, "known again", err, "", "")

		w.check(w.objects.accounts.Delete(newAccount("cart", accountUID)))
		w.client.PrependReactor("get", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("connection refused")
		})
		_, err = w.verify(signed(nil))
		wantRefused(t, "the API server is away", err, refusal.Unavailable, "whether the service account exists")
	})
}

// TestFresh: both must have been read, and the API server heard by both watches.
func TestFresh(t *testing.T) {
	t.Parallel()
	now := issued
	o := NewObjects(fake.NewClientset(), func() time.Time { return now })
	fresh := func(ago time.Duration) bool {
		now = issued.Add(ago)
		return o.Fresh(time.Minute)
	}
	if fresh(0) {
		t.Error("fresh before anything was read")
	}
	if err := o.pods.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	if fresh(0) {
		t.Error("fresh before the service accounts were read")
	}
	if err := o.accounts.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	if !fresh(0) || !fresh(time.Minute) || fresh(time.Minute+1) {
		t.Errorf("at once %t, after a minute %t, after more %t; want true, true, false", fresh(0), fresh(time.Minute),
			fresh(time.Minute+1))
	}
	for name, moves := range map[string]func(string) error{
		"pods": o.pods.Bookmark, "service accounts": o.accounts.Bookmark,
	} {
		now = issued
		if err := errors.Join(o.pods.Bookmark(""), o.accounts.Bookmark("")); err != nil {
			t.Fatal(err)
		}
		now = issued.Add(time.Minute)
		if err := moves(""); err != nil {
			t.Fatal(err)
		}
		if fresh(time.Minute + 1) {
			t.Errorf("fresh although only the watch of %s moves", name)
		}
	}
	for _, synced := range o.Synced() {
		if !isClosed(synced) {
			t.Error("all was read, and it does not say so")
		}
	}
}

// TestUsesOn asks by node and namespace, and does not answer before pods are known.
func TestUsesOn(t *testing.T) {
	t.Parallel()
	any := func(string) bool { return true }
	if uses, known := NewObjects(fake.NewClientset(), time.Now).UsesOn("n1", "shop", any); uses || known {
		t.Errorf("before pods are known: %t, %t", uses, known)
	}
	o := newWorld(t, JWKS).objects
	for _, row := range []struct {
		name, node, namespace string
		matches               func(string) bool
		want                  bool
	}{
		{"its account", "n1", "shop", func(account string) bool { return account == "cart" }, true},
		{"another account", "n1", "shop", func(account string) bool { return account != "cart" }, false},
		{"another node", "n2", "shop", any, false},
		{"another namespace", "n1", "other", any, false},
	} {
		if uses, known := o.UsesOn(row.node, row.namespace, row.matches); uses != row.want || !known {
			t.Errorf("%s: %t, %t, want %t", row.name, uses, known, row.want)
		}
	}
}

// TestKeptFollowsTheWatch: what is deleted is forgotten, its namespace too; a list
// replaces all.
func TestKeptFollowsTheWatch(t *testing.T) {
	t.Parallel()
	now := issued
	k := newKept("accounts", func() time.Time { return now }, func(o metav1.Object) types.UID { return o.GetUID() })
	expect := func(after string, want map[string]map[string]types.UID) {
		t.Helper()
		if diff := cmp.Diff(want, k.known); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", after, diff)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(k.Add(newAccount("a", "1")))
	must(k.Add(newAccount("b", "2")))
	must(k.Update(newAccount("a", "3")))
	expect("two additions and an update", map[string]map[string]types.UID{"shop": {"a": "3", "b": "2"}})
	must(k.Delete(newAccount("a", "3")))
	expect("a deletion", map[string]map[string]types.UID{"shop": {"b": "2"}})
	must(k.Delete(newAccount("b", "2")))
	expect("the last deletion", map[string]map[string]types.UID{})
	must(k.Add(newAccount("c", "4")))
	must(k.Replace([]any{newAccount("d", "5"), "junk"}, ""))
	expect("a list", map[string]map[string]types.UID{"shop": {"d": "5"}})
	must(k.Replace(nil, "")) // another list closes nothing twice
	must(k.Resync())
	if k.Update("junk") == nil || k.Delete("junk") == nil {
		t.Error("something that is not an object is accepted")
	}
	now = now.Add(time.Hour)
	must(k.Bookmark(""))
	if !k.watch.Heard(0) {
		t.Error("a bookmark does not count")
	}
}

// TestEmbedded: where there is no API server, nobody is asked, and nothing is
// waited for that is there under another UID.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, JWKS)
		w.objects = NewEmbedded(w.verifier.Now)
		w.verifier.Objects = w.objects
		_, err := w.verify(signed(nil))
		wantRefused(t, "nothing was put in", err, refusal.InvalidToken, "service account no longer exists")
		w.check(w.objects.PutServiceAccount(newAccount("cart", accountUID)))
		_, err = w.verify(signed(nil))
		wantRefused(t, "no pod was put in", err, refusal.InvalidToken, "pod no longer exists")
		w.check(w.objects.PutPod(newPod("cart-0")))
		_, err = w.verify(signed(nil))
		wantRefused(t, "both are there", err, "", "")
		w.now = w.now.Add(10 * time.Minute)
		_, err = w.verify(signed(nil))
		wantRefused(t, "nothing was put in for a while", err, "", "")
		w.now = w.now.Add(time.Hour)
		if !w.objects.Fresh(time.Minute) {
			t.Error("what is put in grows old")
		}
		w.now = w.now.Add(-time.Hour)

		before := time.Now()
		w.check(w.objects.PutPod(newPod("cart-0", func(p *corev1.Pod) { p.UID = "newer" })))
		_, err = w.verify(signed(nil))
		wantRefused(t, "another pod of the name", err, refusal.InvalidToken, "another of the same name")
		w.check(w.objects.PutServiceAccount(newAccount("cart", "newer")))
		_, err = w.verify(signed(nil))
		wantRefused(t, "another account of the name", err, refusal.InvalidToken, "service account no longer exists")
		if waited := time.Since(before); waited > 0 {
			t.Errorf("waited %s for what nobody will bring", waited)
		}
		w.check(w.objects.PutServiceAccount(newAccount("cart", accountUID)))
		w.check(w.objects.RemovePod(newPod("cart-0")))
		_, err = w.verify(signed(nil))
		wantRefused(t, "the pod was removed", err, refusal.InvalidToken, "pod no longer exists")
	})
}

// TestNewcomersWhileTheWatchIsDown: after the API server was away it answers before its watches
// are opened again. A pod that is new meanwhile is read at once, as long as that lasts, and waited
// for when it is over.
func TestNewcomersWhileTheWatchIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		objects := NewObjects(fake.NewClientset(), time.Now)
		var away bool
		var stream *watch.FakeWatcher
		ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
		ended := make(chan struct{})
		t.Cleanup(func() { cancel(); <-ended })
		go func() {
			defer close(ended)
			followObjects(ctx, &corev1.Pod{}, objects.client, objects.pods.watch, objects.pods, listWatch{
				func(context.Context, metav1.ListOptions) (runtime.Object, error) {
					if away {
						return nil, errors.New("connection refused")
					}
					return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
				},
				func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
					switch {
					case away:
						return nil, errors.New("connection refused")
					case options.SendInitialEvents != nil:
						return nil, apierrors.NewInvalid(schema.GroupKind{}, "", nil)
					}
					stream = watch.NewFake()
					return stream, nil
				},
			})
		}()
		synctest.Wait()
		takes := func() time.Duration {
			before, read := time.Now(), 0
			_, found, err := objects.pods.find(ctx, "shop", "new", func(pod) bool { return true },
				func(context.Context) (metav1.Object, error) { read++; return newPod("new"), nil })
			if !found || err != nil || read != 1 {
				t.Errorf("found %v, %v, read %d times", found, err, read)
			}
			return time.Since(before)
		}
		if took := takes(); took != newcomerWait {
			t.Errorf("while the watch is open it took %s, want %s", took, newcomerWait)
		}
		away = true
		stream.Stop()
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			if took := takes(); took != 0 {
				t.Fatalf("while the watch is down it took %s, want none", took)
			}
		}
		away = false
		time.Sleep(8 * time.Second) // longer than it is waited between two attempts
		synctest.Wait()
		if took := takes(); took != newcomerWait {
			t.Errorf("when the watch is open again it took %s, want %s", took, newcomerWait)
		}
	})
}
