package plane

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/store/boltstore"
)

// temporaryMark is the annotation of an association that is there for running
// programs only.
const temporaryMark = "rolecall.io/temporary"

// isTemporary reports whether an association goes with the last program that needs
// it. One that somebody has changed since is theirs, and stays.
func isTemporary(a *v1alpha1.PodIdentityAssociation) bool {
	return a.Annotations[temporaryMark] != "" && a.Generation == 1
}

// temporary gives accounts without an association one for as long as somebody
// holds it: several programs of an account may run at the same time, and end in
// any order.
type temporary struct {
	store *boltstore.Store

	mu sync.Mutex
	// holders are ids by account.
	holders map[association.Name]map[string]bool
}

func newTemporary(store *boltstore.Store) *temporary {
	return &temporary{store: store, holders: map[association.Name]map[string]bool{}}
}

// hold returns the id of a new holder; empty if the account has an association
// of its own. NotFound if it has none, and there is no role to make one with.
func (t *temporary) hold(ctx context.Context, account association.Name, role string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	present := t.store.Current().Of(account.Namespace, account.ServiceAccount)
	switch {
	case present != nil && !isTemporary(present):
		return "", nil
	case present == nil && role == "":
		return "", fault.New(fault.NotFound,
			"service account %s/%s has neither an association nor a role by annotation", account.Namespace,
			account.ServiceAccount)
	case present == nil:
		if _, err := t.store.Create(ctx, &v1alpha1.PodIdentityAssociation{
			ObjectMeta: metav1.ObjectMeta{
				Namespace:   account.Namespace,
				Name:        account.ServiceAccount,
				Annotations: map[string]string{temporaryMark: "true"},
			},
			Spec: v1alpha1.PodIdentityAssociationSpec{ServiceAccountName: account.ServiceAccount, RoleARN: role},
		}); err != nil {
			return "", err
		}
	}
	if t.holders[account] == nil {
		t.holders[account] = map[string]bool{}
	}
	id := uuid.NewString()
	t.holders[account][id] = true
	return id, nil
}

// release forgets a holder; with the last one the association goes.
func (t *temporary) release(ctx context.Context, account association.Name, id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.holders[account][id] {
		return fault.New(fault.NotFound, "nobody of this name holds an association of %s/%s", account.Namespace,
			account.ServiceAccount)
	}
	delete(t.holders[account], id)
	if len(t.holders[account]) > 0 {
		return nil
	}
	delete(t.holders, account)
	present, err := t.store.Get(ctx, account.Namespace, account.ServiceAccount)
	switch {
	case fault.KindOf(err) == fault.NotFound: // somebody was faster
		return nil
	case err != nil:
		return err
	case !isTemporary(present):
		return nil
	}
	return t.store.Delete(ctx, account.Namespace, account.ServiceAccount, string(present.UID))
}

// removeTemporary takes away what a plane that was killed has left.
func removeTemporary(ctx context.Context, store *boltstore.Store) error {
	all, err := store.List(ctx, "")
	if err != nil {
		return err
	}
	for i := range all {
		if isTemporary(&all[i]) {
			err = errors.Join(err, store.Delete(ctx, all[i].Namespace, all[i].Name, string(all[i].UID)))
		}
	}
	return err
}

// lasting are the associations without the temporary ones, which are for those
// that asked for them: the webhook's choice stays what it would be without.
type lasting struct{ *boltstore.Store }

// Current returns the present set, which must not be changed.
func (l lasting) Current() *association.Set {
	return association.NewSet(slices.DeleteFunc(l.Store.Current().All(), isTemporary))
}

// holdRequest and its answer are the bodies of POST at holdersPath; DELETE below
// it releases.
type (
	holdRequest struct{ RoleARN string }
	holdAnswer  struct{ Holder string }
)

const holdersPath = "/rolecall/v1/namespaces/{namespace}/serviceaccounts/{account}/holders"

func accountOf(r *http.Request) association.Name {
	return association.Name{Namespace: r.PathValue("namespace"), ServiceAccount: r.PathValue("account")}
}

func (t *temporary) serveHold(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxObject))
	var asked holdRequest
	if err != nil || json.Unmarshal(body, &asked) != nil {
		answerStatus(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, "the body is not JSON, or too large")
		return
	}
	holder, err := t.hold(r.Context(), accountOf(r), asked.RoleARN)
	if err != nil {
		answerFault(w, err)
		return
	}
	answerJSON(w, http.StatusCreated, holdAnswer{holder})
}

func (t *temporary) serveRelease(w http.ResponseWriter, r *http.Request) {
	if err := t.release(r.Context(), accountOf(r), r.PathValue("holder")); err != nil {
		answerFault(w, err)
		return
	}
	answerJSON(w, http.StatusOK,
		&metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess})
}
