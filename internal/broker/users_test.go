package broker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/eksapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/store/boltstore"
)

// eksWorld is the EKS API over a store, and an API server that is made up.
type eksWorld struct {
	*world
	store *boltstore.Store
	url   string
	// id and arn are of an association of shop/cart.
	id, arn string
	// reviewed is what the API server says of a token, rbac of what its user may do.
	reviewed func(*authenticationv1.TokenReview) error
	rbac     func(*authorizationv1.SubjectAccessReview) error
	asked    []authorizationv1.SubjectAccessReviewSpec
}

func newEKSWorld(t *testing.T, permit func() error) *eksWorld {
	t.Helper()
	w := &eksWorld{world: newWorld(t, settings{})}
	w.store = boltstore.Memory(w.clock)
	table := filepath.Join(t.TempDir(), "keys.yaml")
	text := "keys: [{accessKeyId: AKIAUSER, secretAccessKey: s1, user: ops, groups: [dev]}, " +
		"{accessKeyId: AKIANODE, secretAccessKey: s2, node: n1}]"
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := must(door.OpenKeyTable(table, slog.New(slog.DiscardHandler)))
	service := &association.Service{Store: w.store, Known: w.store.Current, Now: w.clock}
	made := must(service.Create(t.Context(), association.CreateInput{
		Namespace:      "shop",
		ServiceAccount: "cart",
		RoleARN:        roleCart,
	}))
	w.id = association.ID(made)
	w.arn = w.config.Cluster.AssociationARN(w.id)
	if permit != nil {
		service.Permit = func(context.Context, *v1alpha1.PodIdentityAssociation) error { return permit() }
	}
	w.client.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		return true, review, w.reviewed(review)
	})
	const reviews = "subjectaccessreviews"
	w.client.PrependReactor("create", reviews, func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		w.asked = append(w.asked, review.Spec)
		return true, review, w.rbac(review)
	})
	mux := http.NewServeMux()
	eksapi.New(w.broker.Door(), service, &eksapi.Users{Client: w.client, Keys: keys, Now: w.clock}).Routes(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.know()
	return w
}

// know has the API server know the token of alice, who may do everything.
func (w *eksWorld) know() {
	w.reviewed = func(r *authenticationv1.TokenReview) error {
		r.Status.Authenticated = r.Spec.Token == "alice.s.token"
		r.Status.User = authenticationv1.UserInfo{Username: "alice", UID: "u1", Groups: []string{"dev"}}
		return nil
	}
	w.rbac = func(r *authorizationv1.SubjectAccessReview) error {
		r.Status.Allowed = true
		return nil
	}
	w.asked = nil
}

// eksOperation is one of the API's, about the association of shop/cart.
type eksOperation struct {
	name, method, path, body string
	// verb is what RBAC is asked about.
	verb string
}

func (w *eksWorld) operations() []eksOperation {
	const path = "/clusters/prod/pod-identity-associations"
	tags := "/tags/" + url.PathEscape(w.arn)
	created := `{"namespace":"shop","serviceAccount":"new","roleArn":"` + roleCart + `"}`
	return []eksOperation{
		{"create", http.MethodPost, path, created, "create"},
		{"update", http.MethodPost, path + "/" + w.id, `{"roleArn":"` + roleCart + `2"}`, "update"},
		{"tag", http.MethodPost, tags, `{"tags":{"team":"red"}}`, "update"},
		{"untag", http.MethodDelete, tags + "?tagKeys=team", "", "update"},
		{"describe", http.MethodGet, path + "/" + w.id, "", "get"},
		{"list", http.MethodGet, path + "?namespace=shop", "", "list"},
		{"list tags", http.MethodGet, tags, "", "get"},
		{"delete", http.MethodDelete, path + "/" + w.id, "", "delete"},
	}
}

func (w *eksWorld) call(op eksOperation, authorize func(*http.Request)) answer {
	w.t.Helper()
	request := must(http.NewRequestWithContext(w.t.Context(), op.method, w.url+op.path, strings.NewReader(op.body)))
	authorize(request)
	return w.do(request)
}

func (w *eksWorld) signed(id, secret, body string) func(*http.Request) {
	return func(r *http.Request) {
		sum := sha256.Sum256([]byte(body))
		key := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}
		err := v4.NewSigner().SignHTTP(w.t.Context(), key, r, hex.EncodeToString(sum[:]), "eks", region, w.clock())
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func bearing(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// stored is all that the store has, to be compared.
func (w *eksWorld) stored() string {
	var all []string
	for _, a := range w.store.Current().All() {
		all = append(all, a.Namespace+"/"+a.Name+" "+a.ResourceVersion)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// TestWhoMayChangeAssociations: each operation of the EKS API is for users whom
// the API server vouches for, or who sign with a key of the table, and whom RBAC
// lets do the same with the objects. Who is refused has changed nothing.
func TestWhoMayChangeAssociations(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name      string
		setUp     func(w *eksWorld)
		authorize func(w *eksWorld, op eksOperation) func(*http.Request)
		status    int
		code      string
	}{
		{
			name:      "nobody",
			status:    403,
			code:      "MissingAuthenticationTokenException",
			authorize: func(*eksWorld, eksOperation) func(*http.Request) { return func(*http.Request) {} },
		},
		{
			name:      "a token that the API server does not know",
			status:    403,
			code:      "UnrecognizedClientException",
			authorize: func(*eksWorld, eksOperation) func(*http.Request) { return bearing("mallory.s.token") },
		},
		{
			name:   "a token of nobody",
			status: 403,
			code:   "UnrecognizedClientException",
			setUp: func(w *eksWorld) {
				w.reviewed = func(r *authenticationv1.TokenReview) error {
					r.Status.Authenticated = true
					return nil
				}
			},
			authorize: func(*eksWorld, eksOperation) func(*http.Request) { return bearing("alice.s.token") },
		},
		{
			name:   "no API server to vouch for the token",
			status: 503,
			code:   "ServiceUnavailableException",
			setUp: func(w *eksWorld) {
				w.reviewed = func(r *authenticationv1.TokenReview) error {
					r.Status.Authenticated, r.Status.User.Username = true, "alice"
					return errors.New("away")
				}
			},
			authorize: func(*eksWorld, eksOperation) func(*http.Request) { return bearing("alice.s.token") },
		},
		{
			name:   "a user whom RBAC does not let",
			status: 403,
			code:   "AccessDeniedException",
			setUp: func(w *eksWorld) {
				w.rbac = func(*authorizationv1.SubjectAccessReview) error { return nil }
			},
			authorize: func(*eksWorld, eksOperation) func(*http.Request) { return bearing("alice.s.token") },
		},
		{
			name:   "a user whom an authorizer denies",
			status: 403,
			code:   "AccessDeniedException",
			setUp: func(w *eksWorld) {
				w.rbac = func(r *authorizationv1.SubjectAccessReview) error {
					r.Status.Allowed, r.Status.Denied = true, true
					return nil
				}
			},
			authorize: func(*eksWorld, eksOperation) func(*http.Request) { return bearing("alice.s.token") },
		},
		{
			name:   "no API server to say what RBAC lets",
			status: 503,
			code:   "ServiceUnavailableException",
			setUp: func(w *eksWorld) {
				w.rbac = func(r *authorizationv1.SubjectAccessReview) error {
					r.Status.Allowed = true
					return errors.New("away")
				}
			},
			authorize: func(*eksWorld, eksOperation) func(*http.Request) { return bearing("alice.s.token") },
		},
		{
			name:   "a signature by another key",
			status: 403,
			code:   "InvalidSignatureException",
			authorize: func(w *eksWorld, op eksOperation) func(*http.Request) {
				return w.signed("AKIAUSER", "stolen", op.body)
			},
		},
		{
			name:   "a key that is not in the table",
			status: 403,
			code:   "UnrecognizedClientException",
			authorize: func(w *eksWorld, op eksOperation) func(*http.Request) {
				return w.signed("AKIAOTHER", "s1", op.body)
			},
		},
		{
			name:   "a node's key",
			status: 403,
			code:   "AccessDeniedException",
			authorize: func(w *eksWorld, op eksOperation) func(*http.Request) {
				return w.signed("AKIANODE", "s2", op.body)
			},
		},
		{
			name:   "a user of the table whom RBAC does not let",
			status: 403,
			code:   "AccessDeniedException",
			setUp: func(w *eksWorld) {
				w.rbac = func(*authorizationv1.SubjectAccessReview) error { return nil }
			},
			authorize: func(w *eksWorld, op eksOperation) func(*http.Request) {
				return w.signed("AKIAUSER", "s1", op.body)
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newEKSWorld(t, nil)
			if row.setUp != nil {
				row.setUp(w)
			}
			before := w.stored()
			for _, op := range w.operations() {
				got := w.call(op, row.authorize(w, op))
				if got.status != row.status || got.code != row.code {
					t.Errorf("%s: got %d %s %q", op.name, got.status, got.code, got.message)
					t.Errorf("%s: want %d %s", op.name, row.status, row.code)
				}
				if after := w.stored(); after != before {
					t.Errorf("%s: was refused, and changed\n%s\nto\n%s", op.name, before, after)
				}
			}
		})
	}
}

// TestRBACIsAskedAboutAssociations: what the API server is asked is what the
// caller wants to do, as the caller.
func TestRBACIsAskedAboutAssociations(t *testing.T) {
	t.Parallel()
	for _, caller := range []struct {
		name      string
		user      string
		groups    []string
		authorize func(w *eksWorld, op eksOperation) func(*http.Request)
	}{
		{
			"by token", "alice",
			[]string{"dev"},
			func(*eksWorld, eksOperation) func(*http.Request) { return bearing("alice.s.token") },
		},
		{
			"by signature", "ops",
			[]string{"system:authenticated", "dev"},
			func(w *eksWorld, op eksOperation) func(*http.Request) { return w.signed("AKIAUSER", "s1", op.body) },
		},
	} {
		w := newEKSWorld(t, nil)
		for _, op := range w.operations() {
			w.know()
			if got := w.call(op, caller.authorize(w, op)); got.status != http.StatusOK {
				t.Errorf("%s, %s: got %d %s %q", caller.name, op.name, got.status, got.code, got.message)
			}
			if len(w.asked) != 1 {
				t.Fatalf("%s, %s: RBAC was asked %d times, want once", caller.name, op.name, len(w.asked))
			}
			asked := w.asked[0]
			is := asked.ResourceAttributes
			if asked.User != caller.user || !slices.Equal(asked.Groups, caller.groups) || is == nil ||
				is.Verb != op.verb || is.Namespace != "shop" ||
				is.Group != "rolecall.io" || is.Resource != "podidentityassociations" {
				t.Errorf("%s, %s: RBAC was asked %+v %+v", caller.name, op.name, asked, is)
			}
		}
	}
}

// TestUngrantedIsNotWritten: what the grants do not allow reaches no store.
func TestUngrantedIsNotWritten(t *testing.T) {
	t.Parallel()
	w := newEKSWorld(t, func() error { return fault.New(fault.Denied, "not granted") })
	before := w.stored()
	for _, op := range w.operations()[:2] {
		got := w.call(op, bearing("alice.s.token"))
		if got.status != http.StatusForbidden || got.code != "AccessDeniedException" {
			t.Errorf("%s: got %d %s %q, want 403 AccessDeniedException", op.name, got.status, got.code, got.message)
		}
	}
	if after := w.stored(); after != before {
		t.Errorf("the store changed from\n%s\nto\n%s", before, after)
	}
}
