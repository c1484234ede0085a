// Package storecontract holds what every store of associations must do, and what
// the EKS API's operations must do over it. It does not hold code of the product.
package storecontract

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

// Role is the one that associations have here.
const Role = "arn:aws:iam::111122223333:role/team/reader"

// Namespaces are those that a store must have.
func Namespaces() []string { return []string{"shop", "a", "a-b", "other", "many"} }

// New is an object as somebody writes it.
func New(namespace, account string) *v1alpha1.PodIdentityAssociation {
	return &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account},
		Spec:       v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: account, RoleARN: Role},
	}
}

// Run holds an empty store to the contract and leaves it empty; then breakIt
// makes it unreachable.
func Run(t *testing.T, store association.Store, breakIt func()) {
	for _, row := range []struct {
		name string
		test func(*testing.T, association.Store)
	}{
		{"create", testCreate},
		{"one of many creates wins", testRace},
		{"update", testUpdate},
		{"status", testStatus},
		{"outdated", testOutdated},
		{"invalid", testInvalid},
		{"not there", testMissing},
		{"delete", testDelete},
		{"list", testList},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.test(t, store)
			clean(t, store)
		})
	}
	t.Run("unavailable", func(t *testing.T) { testUnavailable(t, store, breakIt) })
}

func clean(t *testing.T, store association.Store) {
	t.Helper()
	all, err := store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if err := store.Delete(t.Context(), all[i].Namespace, all[i].Name, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func create(
	t *testing.T, store association.Store, a *v1alpha1.PodIdentityAssociation,
) *v1alpha1.PodIdentityAssociation {
	t.Helper()
	created, err := store.Create(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func want(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%s: %v (kind %d), want kind %d", what, err, fault.KindOf(err), kind)
	}
}

func testCreate(t *testing.T, store association.Store) {
	given := New("shop", "cart")
	given.Labels = map[string]string{"team": "a"}
	given.Annotations = map[string]string{"note": "b"}
	given.Spec.Tags = map[string]string{"k": "v"}
	given.Status.AssociationID = "a-forged"
	created := create(t, store, given)
	if created.UID == "" || created.Generation != 1 || created.ResourceVersion == "" ||
		created.CreationTimestamp.IsZero() {
		t.Errorf("metadata: %+v", created.ObjectMeta)
	}
	if created.Spec.DurationSeconds != 21600 || created.Spec.OnOversize != v1alpha1.Fail {
		t.Errorf("defaults: %+v", created.Spec)
	}
	if created.Status.AssociationID != "" {
		t.Errorf("a status was taken over: %+v", created.Status)
	}
	if created.Labels["team"] != "a" || created.Annotations["note"] != "b" || created.Spec.Tags["k"] != "v" {
		t.Errorf("%+v", created)
	}
	if given.UID != "" || given.Spec.DurationSeconds != 0 {
		t.Errorf("the given object was changed: %+v", given)
	}
	if !association.Modified(created).Equal(created.CreationTimestamp.Time) {
		t.Errorf("modified %s, created %s", association.Modified(created), created.CreationTimestamp)
	}
	created.Spec.Tags["k"] = "changed by the caller"
	got, err := store.Get(t.Context(), "shop", "cart")
	if err != nil || got.Spec.Tags["k"] != "v" || got.UID != created.UID ||
		got.ResourceVersion != created.ResourceVersion {
		t.Errorf("read back: %+v, %v", got, err)
	}
	_, err = store.Create(t.Context(), New("shop", "cart"))
	want(t, "a second one", err, fault.Conflict)
	create(t, store, New("a", "cart"))
}

func testRace(t *testing.T, store association.Store) {
	const many = 8
	var group sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		group.Go(func() {
			_, errs[i] = store.Create(t.Context(), New("shop", "cart"))
		})
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			want(t, "who lost", err, fault.Conflict)
		}
	}
	if won != 1 {
		t.Errorf("%d won", won)
	}
}

func testUpdate(t *testing.T, store association.Store) {
	created := create(t, store, New("shop", "cart"))
	created.Status.AssociationID = "a-1"
	created, err := store.UpdateStatus(t.Context(), created)
	if err != nil {
		t.Fatal(err)
	}
	wanted := created.DeepCopy()
	wanted.Spec.RoleARN += "2"
	wanted.Status.AssociationID = "a-forged"
	updated, err := store.Update(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	if updated.Generation != 2 || updated.ResourceVersion == created.ResourceVersion || updated.UID != created.UID ||
		updated.Spec.RoleARN != Role+"2" ||
		updated.Status.AssociationID != "a-1" {
		t.Errorf("%+v", updated)
	}
	wanted = updated.DeepCopy()
	wanted.Annotations = map[string]string{"note": "x"}
	noted, err := store.Update(t.Context(), wanted)
	if err != nil || noted.Generation != 2 || noted.ResourceVersion == updated.ResourceVersion ||
		noted.Annotations["note"] != "x" {
		t.Errorf("annotations: %+v, %v", noted, err)
	}
	same, err := store.Update(t.Context(), noted)
	if err != nil || same.Generation != 2 || same.ResourceVersion != noted.ResourceVersion {
		t.Errorf("the same again: %+v, %v", same, err)
	}
	if got, err := store.Get(t.Context(), "shop", "cart"); err != nil || got.ResourceVersion != noted.ResourceVersion ||
		got.Spec.RoleARN != Role+"2" {
		t.Errorf("read back: %+v, %v", got, err)
	}
}

func testStatus(t *testing.T, store association.Store) {
	created := create(t, store, New("shop", "cart"))
	wanted := created.DeepCopy()
	wanted.Status.AssociationID = "a-1"
	wanted.Spec.RoleARN += "2"
	updated, err := store.UpdateStatus(t.Context(), wanted)
	if err != nil || updated.Status.AssociationID != "a-1" || updated.Spec.RoleARN != Role || updated.Generation != 1 ||
		updated.ResourceVersion == created.ResourceVersion {
		t.Errorf("%+v, %v", updated, err)
	}
}

func testOutdated(t *testing.T, store association.Store) {
	first := create(t, store, New("shop", "cart"))
	second := first.DeepCopy()
	second.Spec.RoleARN += "2"
	if _, err := store.Update(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	first.Spec.RoleARN += "3"
	_, err := store.Update(t.Context(), first)
	want(t, "an update of what was", err, fault.Conflict)
	first.Status.AssociationID = "a-1"
	_, err = store.UpdateStatus(t.Context(), first)
	want(t, "a status of what was", err, fault.Conflict)
	first.ResourceVersion = ""
	_, err = store.Update(t.Context(), first)
	want(t, "an update of who knows what", err, fault.Invalid)
	if got, err := store.Get(t.Context(), "shop", "cart"); err != nil || got.Spec.RoleARN != Role+"2" ||
		got.Status.AssociationID != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func testInvalid(t *testing.T, store association.Store) {
	broken := New("shop", "cart")
	broken.Spec.RoleARN = "reader"
	_, err := store.Create(t.Context(), broken)
	want(t, "no ARN", err, fault.Invalid)
	broken = New("shop", "cart")
	broken.Name = "other"
	_, err = store.Create(t.Context(), broken)
	want(t, "another name", err, fault.Invalid)
	broken = New("shop", "cart")
	broken.Spec.SessionPolicy, broken.Spec.DisableSessionTags = "{", true
	_, err = store.Create(t.Context(), broken)
	want(t, "an invalid policy", err, fault.Invalid)
	pattern := New("shop", "all")
	pattern.Spec.ServiceAccountName, pattern.Spec.AllowPatterns = "c*", true
	made := create(t, store, pattern)
	made.Spec.ServiceAccountName = "d*"
	_, err = store.Update(t.Context(), made)
	want(t, "another account", err, fault.Invalid)
	made.Spec.ServiceAccountName, made.Spec.RoleARN = "c*", "reader"
	_, err = store.Update(t.Context(), made)
	want(t, "an update to no ARN", err, fault.Invalid)
}

func testMissing(t *testing.T, store association.Store) {
	_, err := store.Get(t.Context(), "shop", "cart")
	want(t, "get", err, fault.NotFound)
	want(t, "delete", store.Delete(t.Context(), "shop", "cart", ""), fault.NotFound)
	gone := create(t, store, New("shop", "cart"))
	if err := store.Delete(t.Context(), "shop", "cart", string(gone.UID)); err != nil {
		t.Fatal(err)
	}
	gone.Spec.RoleARN += "2"
	_, err = store.Update(t.Context(), gone)
	want(t, "update", err, fault.NotFound)
	_, err = store.UpdateStatus(t.Context(), gone)
	want(t, "status", err, fault.NotFound)
}

func testDelete(t *testing.T, store association.Store) {
	created := create(t, store, New("shop", "cart"))
	want(t, "of another one", store.Delete(t.Context(), "shop", "cart", "other"), fault.Conflict)
	if err := store.Delete(t.Context(), "shop", "cart", string(created.UID)); err != nil {
		t.Fatal(err)
	}
	again := create(t, store, New("shop", "cart"))
	if again.UID == created.UID || association.ID(again) == association.ID(created) {
		t.Errorf("the same id after a deletion: %s", again.UID)
	}
	again.Spec.RoleARN += "2"
	again.UID = created.UID
	_, err := store.Update(t.Context(), again)
	want(t, "an update of the one before", err, fault.Conflict)
}

func testList(t *testing.T, store association.Store) {
	names := []string{"a-b/x", "a/x", "a/x.y", "a/x-y", "shop/cart"}
	for _, name := range names {
		namespace, account, _ := strings.Cut(name, "/")
		create(t, store, New(namespace, account))
	}
	for namespace, want := range map[string][]string{
		"":      {"a/x", "a/x-y", "a/x.y", "a-b/x", "shop/cart"},
		"a":     {"a/x", "a/x-y", "a/x.y"},
		"other": {},
	} {
		list, err := store.List(t.Context(), namespace)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for i := range list {
			got = append(got, list[i].Namespace+"/"+list[i].Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %q: %v, want %v", namespace, got, want)
		}
	}
}

func testUnavailable(t *testing.T, store association.Store, breakIt func()) {
	there := create(t, store, New("shop", "cart"))
	tries := func(ctx context.Context) map[string]error {
		errs := map[string]error{}
		_, errs["create"] = store.Create(ctx, New("shop", "other"))
		_, errs["get"] = store.Get(ctx, "shop", "cart")
		changed := there.DeepCopy()
		changed.Spec.RoleARN += "2"
		_, errs["update"] = store.Update(ctx, changed)
		_, errs["status"] = store.UpdateStatus(ctx, changed)
		errs["delete"] = store.Delete(ctx, "shop", "cart", "")
		_, errs["list"] = store.List(ctx, "")
		return errs
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range tries(ctx) {
		want(t, "cancelled "+name, err, fault.Unavailable)
	}
	if got, err := store.Get(t.Context(), "shop", "cart"); err != nil || !maps.Equal(got.Spec.Tags, there.Spec.Tags) ||
		got.ResourceVersion != there.ResourceVersion {
		t.Errorf("after cancelled calls: %+v, %v", got, err)
	}
	breakIt()
	for name, err := range tries(t.Context()) {
		want(t, name, err, fault.Unavailable)
	}
}
