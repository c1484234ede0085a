package eksapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/association/admission"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
)

// Users are who may call the EKS API: Kubernetes users by their token, and the
// users that a table gives access keys to. The cluster's RBAC says what either
// may do.
type Users struct {
	// Client is nil in a plane without an API server: then everybody with a key
	// of the table may do everything, and tokens belong to nobody.
	Client kubernetes.Interface
	Keys   *door.KeyTable // nil: tokens only
	Now    func() time.Time
}

// User is somebody as RBAC knows them.
type User struct {
	Name, uid string
	groups    []string
	extra     map[string]authorizationv1.ExtraValue
}

// reviewDeadline is for either question to the API server.
const reviewDeadline = 2 * time.Second

// authenticated is the group of everybody who is somebody.
const authenticated = "system:authenticated"

func (u *Users) authenticate(ctx context.Context, r *http.Request, body []byte) (*User, error) {
	if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		return u.byToken(ctx, r)
	}
	key, err := u.Keys.Verify(r, body, "eks", u.Now())
	switch {
	case err != nil:
		return nil, err
	case key.User == "":
		return nil, denied("The access key %s does not belong to a user.", key.AccessKeyID)
	}
	return &User{Name: key.User, groups: append([]string{authenticated}, key.Groups...)}, nil
}

// denied is 403: EKS's own operations answer so, unlike EKS Auth.
func denied(format string, args ...any) *refusal.Error {
	refused := refusal.New(refusal.AccessDenied, format, args...)
	refused.Status = http.StatusForbidden
	return refused
}

// byToken asks the API server whose token it is. It must be for the API server
// itself: a pod's token for some other audience is nobody's here.
func (u *Users) byToken(ctx context.Context, r *http.Request) (*User, error) {
	raw, err := door.Bearer(r)
	if err != nil {
		return nil, err
	}
	if u.Client == nil {
		return nil, refusal.New(
			refusal.UnrecognizedClient, "There is no API server that knows tokens; sign the request.",
		)
	}
	ctx, cancel := context.WithTimeout(ctx, reviewDeadline)
	defer cancel()
	answer, err := u.Client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: raw.Reveal()},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, refusal.New(refusal.Unavailable, "The API server cannot be asked about the token.").Because(err)
	}
	if !answer.Status.Authenticated || answer.Status.User.Username == "" {
		return nil, refusal.New(
			refusal.UnrecognizedClient, "The security token included in the request is invalid.",
		).Because(errors.New(answer.Status.Error))
	}
	is := answer.Status.User
	user := &User{Name: is.Username, uid: is.UID, groups: is.Groups, extra: map[string]authorizationv1.ExtraValue{}}
	for name, values := range maps.All(is.Extra) {
		user.extra[name] = authorizationv1.ExtraValue(values)
	}
	return user, nil
}

// may asks RBAC about a verb on associations; an empty namespace is all of them.
func (u *Users) may(ctx context.Context, user *User, verb, namespace, name string) error {
	if u.Client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reviewDeadline)
	defer cancel()
	answer, err := u.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   user.Name,
			UID:    user.uid,
			Groups: user.groups,
			Extra:  user.extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group:     v1alpha1.GroupVersion.Group,
				Version:   v1alpha1.GroupVersion.Version,
				Resource:  "podidentityassociations",
				Verb:      verb,
				Namespace: namespace,
				Name:      name,
			},
		},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return refusal.New(refusal.Unavailable, "The API server cannot be asked what the caller may do.").Because(err)
	case !answer.Status.Allowed || answer.Status.Denied:
		where := "in namespace " + namespace
		if namespace == "" {
			where = "in all namespaces"
		}
		return denied("User %s is not allowed to %s podidentityassociations of rolecall.io %s.", user.Name, verb, where)
	}
	return nil
}

// newestTimeout is for reading the grants again.
const newestTimeout = time.Second

// Permit refuses associations that the operator's bounds do not allow, and those with
// roles that the cluster's RoleGrants do not allow, for association.Service: ours for
// iam:PassRole (spec podidentity §13.4). newest reads the grants as the API server has
// them, before it refuses for lack of one: what is followed lags behind, and people make
// a grant and what it is for together.
func Permit(
	bounds association.Bounds, grants follow.Source[*grant.Set], newest func(context.Context) (*grant.Set, error),
) func(context.Context, *v1alpha1.PodIdentityAssociation) error {
	return func(ctx context.Context, a *v1alpha1.PodIdentityAssociation) error {
		select {
		case <-grants.Synced():
		default:
			return fault.New(fault.Unavailable, "the cluster's RoleGrants are not known yet")
		}
		ctx, cancel := context.WithTimeout(ctx, newestTimeout)
		defer cancel()
		known, err := follow.Sure(ctx, grants, 0, "")
		if err != nil {
			return fault.New(fault.Unavailable, "the cluster's RoleGrants are not known: their watch stands still: %w", err)
		}
		refused := admission.Rules{Bounds: bounds, Grants: known}.Check(a)
		if _, ungranted := errors.AsType[*admission.NotGranted](refused); !ungranted {
			return refused
		}
		read, err := newest(ctx)
		if err != nil {
			return refused
		}
		return admission.Rules{Bounds: bounds, Grants: read}.Check(a)
	}
}
