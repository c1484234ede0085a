package storecontract

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
)

// RunService holds the EKS API's operations over an empty store to the rows of
// spec podidentity §21.
func RunService(t *testing.T, store association.Store) {
	for _, row := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"create", testServiceCreate},
		{"policy and target", testServiceMembers},
		{"update", testServiceUpdate},
		{"delete", testServiceDelete},
		{"list", testServiceList},
		{"tags", testServiceTags},
		{"limit", testServiceLimit},
		{"by another way", testServiceOtherWay},
		{"at once", testServiceAtOnce},
		{"permit", testServicePermit},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &world{store: store}
			w.Service = association.Service{Store: store, Now: func() time.Time { return time.Now().Add(w.later) }}
			row.test(t, w)
			clean(t, store)
		})
	}
}

type world struct {
	association.Service

	store association.Store
	later time.Duration
}

func cart(token string) association.CreateInput {
	return association.CreateInput{Namespace: "shop", ServiceAccount: "cart", RoleARN: Role, Token: token}
}

func (w *world) make(t *testing.T, in association.CreateInput) *v1alpha1.PodIdentityAssociation {
	t.Helper()
	made, err := w.Create(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// refused wants an error of a reason, as its broker sees it.
func refused(t *testing.T, what string, err, reason error, text string) {
	t.Helper()
	if refusal, _ := errors.AsType[*association.Refusal](err); !errors.Is(err, reason) || refusal == nil ||
		!strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %v: %s", what, err, reason, text)
	}
}

func testServiceCreate(t *testing.T, w *world) {
	made := w.make(t, cart("one"))
	if !regexp.MustCompile(`^a-[a-z0-9]{17}$`).MatchString(association.ID(made)) ||
		!association.Modified(made).Equal(made.CreationTimestamp.Time) {
		t.Errorf(
			"created: %s, modified %s, created %s", association.ID(made), association.Modified(made),
			made.CreationTimestamp,
		)
	}
	_, err := w.Create(t.Context(), cart("two"))
	refused(t, "created twice", err, association.ErrInUse, "Association already exists: "+association.ID(made))
	_, err = w.Create(t.Context(), cart(""))
	refused(t, "created twice without a token", err, association.ErrInUse, association.ID(made))
	again := w.make(t, cart("one"))
	if again.UID != made.UID {
		t.Errorf("same token again: %s, then %s", association.ID(made), association.ID(again))
	}
	other := cart("one")
	other.RoleARN += "2"
	_, err = w.Create(t.Context(), other)
	refused(t, "token reused for another", err, association.ErrTokenReused, "clientRequestToken")
	other = cart("one")
	other.ServiceAccount = "other"
	_, err = w.Create(t.Context(), other)
	refused(t, "token reused for another account", err, association.ErrTokenReused, "clientRequestToken")
	w.later = 25 * time.Hour
	_, err = w.Create(t.Context(), cart("one"))
	refused(t, "same token a day later", err, association.ErrInUse, association.ID(made))
	w.make(t, other) // the token means nothing any more

	// A copy of the object, as by `kubectl get -o yaml`, is not what the request made.
	w.later = 0
	copied := New("a", "cart")
	copied.Annotations = maps.Clone(made.Annotations)
	create(t, w.store, copied)
	if again := w.make(t, cart("one")); again.UID != made.UID {
		t.Errorf("a copy was taken for the original: %s/%s", again.Namespace, again.Name)
	}
}

func testServiceMembers(t *testing.T, w *world) {
	const statement = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject",` +
		`"Resource":"arn:aws:s3:::b/"}]}`
	sized := func(length int) string {
		return strings.Replace(statement, "b/", "b/"+strings.Repeat("x", length-len(statement)), 1)
	}
	in := cart("")
	in.Policy = statement
	_, err := w.Create(t.Context(), in)
	refused(t, "session policy with session tags", err, association.ErrInvalid, "only if session tags are disabled")
	in.DisableSessionTags, in.Policy = true, sized(2049)
	_, err = w.Create(t.Context(), in)
	refused(t, "session policy of 2,049 characters", err, association.ErrInvalid, "2,048")
	in.Policy = sized(2048)
	made := w.make(t, in)
	if made.Spec.SessionPolicy != in.Policy || !made.Spec.DisableSessionTags {
		t.Errorf("session policy: %+v", made.Spec)
	}
	in = cart("")
	in.ServiceAccount, in.TargetRoleARN = "targeted", "arn:aws:iam::444455556666:role/writer"
	made = w.make(t, in)
	cluster := association.Cluster{Name: "prod", Partition: "aws", Region: "eu-west-1", Account: "111122223333"}
	if got := cluster.ExternalIDOf(made, "", "targeted"); got != "eu-west-1/111122223333/prod/shop/targeted" {
		t.Errorf("target role: %q", got)
	}
	for _, namespace := range []string{"*", "Shop", "shop\n", ""} {
		in = cart("")
		in.Namespace = namespace
		_, err = w.Create(t.Context(), in)
		refused(t, fmt.Sprintf("namespace %q", namespace), err, association.ErrInvalid, "metadata.namespace")
	}
	for _, account := range []string{"*", "cart-*", "Cart", "cart\n", "a/b", ""} {
		in = cart("")
		in.ServiceAccount = account
		_, err = w.Create(t.Context(), in)
		what := fmt.Sprintf("pattern for an account, %q", account)
		refused(t, what, err, association.ErrInvalid, "spec.serviceAccountName")
	}
	in = cart("")
	in.Tags = map[string]string{"aws:x": ""}
	_, err = w.Create(t.Context(), in)
	refused(t, "tag of AWS", err, association.ErrInvalid, "aws:")
}

func testServiceUpdate(t *testing.T, w *world) {
	made := w.make(t, cart("one"))
	id := association.ID(made)
	w.later = time.Millisecond
	update := func(change association.UpdateInput) (*v1alpha1.PodIdentityAssociation, error) {
		change.ID = id
		return w.Update(t.Context(), change)
	}
	role := association.UpdateInput{RoleARN: new(Role + "2"), Token: "two"}
	updated, err := update(role)
	if err != nil || association.ID(updated) != id || updated.Spec.RoleARN != Role+"2" || updated.Generation != 2 ||
		!association.Modified(updated).After(association.Modified(made)) {
		t.Fatalf("update: %+v, %v", updated, err)
	}
	again, err := update(role)
	if err != nil || again.ResourceVersion != updated.ResourceVersion ||
		!association.Modified(again).Equal(association.Modified(updated)) {
		t.Errorf("the same update again: %+v, %v", again, err)
	}
	_, err = update(association.UpdateInput{RoleARN: new(Role + "3"), Token: "two"})
	refused(t, "token reused for another update", err, association.ErrTokenReused, "clientRequestToken")
	_, err = update(association.UpdateInput{})
	refused(t, "update that changes nothing", err, association.ErrUnchanged, "changes nothing")
	_, err = update(association.UpdateInput{
		RoleARN:            new(Role + "2"),
		TargetRoleARN:      new(""),
		Policy:             new(""),
		DisableSessionTags: new(false),
		Token:              "three",
	})
	refused(t, "update to what is there", err, association.ErrUnchanged, "changes nothing")
	_, err = update(association.UpdateInput{RoleARN: new("")})
	refused(t, "no role", err, association.ErrInvalid, "spec.roleARN")
	updated, err = update(association.UpdateInput{TargetRoleARN: new("arn:aws:iam::444455556666:role/writer")})
	if err != nil || updated.Spec.TargetRoleARN == "" {
		t.Fatalf("target: %+v, %v", updated, err)
	}
	updated.Spec.ExternalID = "set/by/kubectl"
	if updated, err = w.store.Update(t.Context(), updated); err != nil {
		t.Fatal(err)
	}
	if got := association.Modified(updated); got.Before(updated.CreationTimestamp.Time) || got.Nanosecond() != 0 {
		t.Errorf("modified %s after another writer: want its own time, to the second", got)
	}
	if updated, err = update(association.UpdateInput{TargetRoleARN: new("")}); err != nil ||
		updated.Spec.TargetRoleARN != "" ||
		updated.Spec.ExternalID != "" {
		t.Errorf("target taken away: %+v, %v", updated, err)
	}
	_, err = update(association.UpdateInput{Policy: new("{")})
	refused(t, "an invalid policy", err, association.ErrInvalid, "spec.sessionPolicy")
	const policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`
	_, err = update(association.UpdateInput{Policy: new(policy)})
	refused(t, "policy beside tags", err, association.ErrInvalid, "only if session tags are disabled")
	if updated, err = update(association.UpdateInput{
		Policy:             new(policy),
		DisableSessionTags: new(true),
	}); err != nil || updated.Spec.SessionPolicy != policy {
		t.Errorf("policy: %+v, %v", updated, err)
	}
	_, err = update(association.UpdateInput{DisableSessionTags: new(false)})
	refused(t, "tags beside a policy", err, association.ErrInvalid, "only if session tags are disabled")
	for _, unknown := range []string{"a-00000000000000000", "", "cart", id + "\n", strings.ToUpper(id)} {
		_, err = w.Update(t.Context(), association.UpdateInput{ID: unknown, RoleARN: new(Role)})
		refused(t, "update of an unknown association", err, association.ErrNotFound, "No association found")
		_, err = w.Describe(t.Context(), unknown)
		refused(t, "description of an unknown association", err, association.ErrNotFound, "No association found")
		_, err = w.Delete(t.Context(), unknown)
		refused(t, "deletion of an unknown association", err, association.ErrNotFound, "No association found")
	}
}

func testServiceDelete(t *testing.T, w *world) {
	made := w.make(t, cart("one"))
	late := association.NewSet([]*v1alpha1.PodIdentityAssociation{made.DeepCopy()})
	w.Known = func() *association.Set { return late } // it stays what it was
	deleted, err := w.Delete(t.Context(), association.ID(made))
	if err != nil || deleted.UID != made.UID || deleted.Spec.RoleARN != Role {
		t.Errorf("deleted: %+v, %v", deleted, err)
	}
	_, err = w.Describe(t.Context(), association.ID(made))
	refused(t, "description of a deleted association", err, association.ErrNotFound, association.ID(made))
	again := w.make(t, cart("one"))
	if association.ID(again) == association.ID(made) {
		t.Errorf("deleted: the id %s again", association.ID(again))
	}
	_, err = w.Describe(t.Context(), association.ID(made))
	refused(t, "deleted, when the account has another", err, association.ErrNotFound, association.ID(made))
	if got, err := w.Describe(t.Context(), association.ID(again)); err != nil || got.UID != again.UID {
		t.Errorf("one that is not known yet: %+v, %v", got, err)
	}
}

func testServiceList(t *testing.T, w *world) {
	const many = 250
	for i := range many {
		create(t, w.store, New("many", fmt.Sprintf("account-%d", i)))
	}
	w.make(t, cart(""))
	seen := map[string]bool{}
	last, kept := "", "" // the id of the last one; the name of one that stays
	in := association.ListInput{Namespace: "many", MaxResults: new(100)}
	for _, want := range []int{100, 99, 51} {
		items, next, err := w.List(t.Context(), in)
		if err != nil || len(items) != want || (next == "") != (want == 51) {
			t.Fatalf("list in pages: %d items, next %q, %v; want %d", len(items), next, err, want)
		}
		for i := range items {
			id := association.ID(&items[i])
			if id <= last || items[i].Namespace != "many" {
				t.Errorf("list in pages: %s of %s after %s", id, items[i].Namespace, last)
			}
			seen[id], last = true, id
		}
		kept = items[0].Name
		if want == 100 { // between pages, the one goes that the token names
			if _, err := w.Delete(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			in.MaxResults = new(99)
		} else {
			in.MaxResults = nil
		}
		first := in
		in.NextToken = next
		testPageTokens(t, w, first, next)
	}
	if len(seen) != many {
		t.Errorf("list in pages: %d seen", len(seen))
	}
	for _, size := range []int{0, 101, -1} {
		_, _, err := w.List(t.Context(), association.ListInput{MaxResults: &size})
		refused(t, "page size", err, association.ErrInvalid, "want 1 to 100")
	}
	if items, _, err := w.List(t.Context(), association.ListInput{
		Namespace:      "many",
		ServiceAccount: kept,
	}); err != nil || len(items) != 1 || items[0].Name != kept {
		t.Errorf("list of an account, %s: %d items, %v", kept, len(items), err)
	}
	if items, next, err := w.List(t.Context(), association.ListInput{Namespace: "nobody"}); err != nil ||
		len(items) != 0 ||
		items == nil ||
		next != "" {
		t.Errorf("list of an account, nobody: %v, %v", items, err)
	}
	_, _, err := w.List(t.Context(), association.ListInput{ServiceAccount: "cart"})
	refused(t, "list of an account", err, association.ErrInvalid, "needs a namespace")
}

// testPageTokens: a token is of its list only.
func testPageTokens(t *testing.T, w *world, in association.ListInput, next string) {
	t.Helper()
	if next == "" {
		return
	}
	for _, token := range []string{
		"x", next + "=", next[1:], next + next, "YS0wMDAwMDAwMDAwMDAwMDAwMA", strings.ToUpper(next),
	} {
		in.NextToken = token
		_, _, err := w.List(t.Context(), in)
		refused(t, "token "+token, err, association.ErrPageToken, "nextToken")
	}
	_, _, err := w.List(t.Context(), association.ListInput{NextToken: next})
	refused(t, "token of another list", err, association.ErrPageToken, "nextToken")
}

func testServiceTags(t *testing.T, w *world) {
	in := cart("")
	in.Tags = map[string]string{"team": "a"}
	id := association.ID(w.make(t, in))
	steps := []struct {
		name string
		do   func(ctx context.Context) error
		want map[string]string
	}{
		{"created", func(context.Context) error { return nil }, map[string]string{"team": "a"}},
		{
			"tag",
			func(ctx context.Context) error { return w.Tag(ctx, id, map[string]string{"team": "b", "x": ""}) },
			map[string]string{"team": "b", "x": ""},
		},
		{
			"untag",
			func(ctx context.Context) error { return w.Untag(ctx, id, []string{"team", "none"}) },
			map[string]string{"x": ""},
		},
		{"untag all", func(ctx context.Context) error { return w.Untag(ctx, id, []string{"x"}) }, map[string]string{}},
		{
			"tag again",
			func(ctx context.Context) error { return w.Tag(ctx, id, map[string]string{"y": "z"}) },
			map[string]string{"y": "z"},
		},
	}
	for _, step := range steps {
		err := step.do(t.Context())
		got, err2 := w.Tags(t.Context(), id)
		if err != nil || err2 != nil || got == nil || !maps.Equal(got, step.want) {
			t.Errorf("tags %s: %v, %v %v", step.name, got, err, err2)
		}
	}
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint(i)] = ""
	}
	refused(t, "51 tags", w.Tag(t.Context(), id, many), association.ErrInvalid, "51 tags")
	refused(t, "tag of AWS", w.Tag(t.Context(), id, map[string]string{"AWS:x": ""}), association.ErrInvalid, "aws:")
	refused(t, "no tag", w.Tag(t.Context(), id, nil), association.ErrInvalid, "at least one")
	refused(t, "no key", w.Untag(t.Context(), id, nil), association.ErrInvalid, "at least one")
	refused(t, "unknown", w.Tag(t.Context(), "a-00000000000000000", many), association.ErrNotFound, "a-0000")
	_, err := w.Tags(t.Context(), "a-00000000000000000")
	refused(t, "unknown", err, association.ErrNotFound, "a-0000")
}

func testServiceLimit(t *testing.T, w *world) {
	w.Limit = 2
	w.make(t, cart("one"))
	create(t, w.store, New("a", "x"))
	in := cart("")
	in.ServiceAccount = "third"
	_, err := w.Create(t.Context(), in)
	refused(t, "limit of associations", err, association.ErrLimit, "limit of 2")
	w.make(t, cart("one")) // a repetition makes none
	_, err = w.Create(t.Context(), cart(""))
	refused(t, "limit of associations, one that is there", err, association.ErrInUse, "exists")
}

// testServiceOtherWay: kubectl and the API are two views of the same objects.
func testServiceOtherWay(t *testing.T, w *world) {
	pattern := New("shop", "foo")
	pattern.Spec.ServiceAccountName, pattern.Spec.AllowPatterns = "foo-*", true
	pattern = create(t, w.store, pattern)
	if got, err := w.Describe(t.Context(), association.ID(pattern)); err != nil ||
		got.Spec.ServiceAccountName != "foo-*" {
		t.Errorf("made by another way: %+v, %v", got, err)
	}
	if items, _, err := w.List(t.Context(), association.ListInput{}); err != nil || len(items) != 1 {
		t.Errorf("made by another way: %d, %v", len(items), err)
	}
	if got, err := w.Update(t.Context(), association.UpdateInput{
		ID:      association.ID(pattern),
		RoleARN: new(Role + "2"),
	}); err != nil || got.Spec.RoleARN != Role+"2" {
		t.Errorf("update of a pattern's role: %+v, %v", got, err)
	}
	in := cart("")
	in.ServiceAccount = "foo"
	_, err := w.Create(t.Context(), in)
	refused(t, "a pattern has the name", err, association.ErrInUse, association.ID(pattern))
	if hints := strings.Join(fault.HintsOf(err), " "); !strings.Contains(hints, "foo-*") {
		t.Errorf("hints %q", hints)
	}
	narrowed := New("shop", "narrow")
	narrowed.Spec.SessionPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*",` +
		`"Resource":"*"}]}`
	narrowed = create(t, w.store, narrowed)
	if _, err := w.Update(t.Context(), association.UpdateInput{
		ID:      association.ID(narrowed),
		RoleARN: new(Role + "2"),
	}); err != nil {
		t.Errorf("a policy beside tags that came by another way: %v", err)
	}
}

// testServiceAtOnce: the same request twice at once makes one; changes of
// different things at once are all made.
func testServiceAtOnce(t *testing.T, w *world) {
	const many = 4
	var group sync.WaitGroup
	ids, errs := make([]string, many), make([]error, many)
	for i := range many {
		group.Go(func() {
			made, err := w.Create(t.Context(), cart("one"))
			if errs[i] = err; err == nil {
				ids[i] = association.ID(made)
			}
		})
	}
	group.Wait()
	for i := range many {
		if errs[i] != nil || ids[i] != ids[0] {
			t.Errorf("create %d: %q, %v", i, ids[i], errs[i])
		}
	}
	for i := range many {
		group.Go(func() { errs[i] = w.Tag(t.Context(), ids[0], map[string]string{fmt.Sprint(i): ""}) })
	}
	group.Wait()
	if got, err := w.Tags(t.Context(), ids[0]); err != nil || len(got) != many || errors.Join(errs...) != nil {
		t.Errorf("tags %v, %v, %v", got, err, errors.Join(errs...))
	}
}

func testServicePermit(t *testing.T, w *world) {
	w.Permit = func(_ context.Context, a *v1alpha1.PodIdentityAssociation) error {
		if strings.HasSuffix(a.Spec.RoleARN, "admin") || strings.HasSuffix(a.Spec.TargetRoleARN, "admin") {
			return fault.New(fault.Denied, "no RoleGrant lets %s use that", a.Spec.ServiceAccountName)
		}
		return nil
	}
	in := cart("")
	in.RoleARN += "admin"
	_, err := w.Create(t.Context(), in)
	want(t, "create", err, fault.Denied)
	made := w.make(t, cart(""))
	_, err = w.Update(t.Context(), association.UpdateInput{
		ID:            association.ID(made),
		TargetRoleARN: new(Role + "admin"),
	})
	want(t, "update", err, fault.Denied)
	if got, err := w.Describe(t.Context(), association.ID(made)); err != nil || got.Spec.TargetRoleARN != "" {
		t.Errorf("%+v, %v", got, err)
	}
}
