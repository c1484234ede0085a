package workload

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
)

// Reviewer asks the API server about tokens.
type Reviewer struct{ Client kubernetes.Interface }

const reviewTimeout = 2 * time.Second

// Extra members of a user that a pod-bound token stands for.
const (
	extraPod    = "authentication.kubernetes.io/pod-name"
	extraPodUID = "authentication.kubernetes.io/pod-uid"
	extraNode   = "authentication.kubernetes.io/node-name"
)

// reviewed is what the API server said.
type reviewed struct{ user authenticationv1.UserInfo }

// review is only good if the API server names the audience: one that ignores
// audiences leaves them empty. That it cannot be asked is not a verdict.
func (r *Reviewer) review(ctx context.Context, raw credential.Secret, audience string) (*reviewed, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	answer, err := r.Client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: raw.Reveal(), Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return nil, unavailable(err, "The API server cannot be asked about the token.")
	case !answer.Status.Authenticated:
		return nil, invalid("the API server does not accept it").Because(errors.New(answer.Status.Error))
	case !slices.Contains(answer.Status.Audiences, audience):
		return nil, invalid("the API server does not say that it is for this audience")
	}
	return &reviewed{answer.Status.User}, nil
}

// saysExpired reads the API server's words; they only choose between two codes
// of refusal.
func saysExpired(err error) bool { return err != nil && strings.Contains(err.Error(), "expired") }

// agrees checks the API server's answer against the claims that it verified.
func (r *reviewed) agrees(i *Identity) error {
	extra := func(name string) string {
		if values := r.user.Extra[name]; len(values) == 1 {
			return values[0]
		}
		return ""
	}
	node := extra(extraNode)
	switch {
	case r.user.Username != token.ServiceAccountSubject(
		i.Namespace, i.ServiceAccount,
	), r.user.UID != i.ServiceAccountUID,
		extra(extraPod) != i.Pod, extra(extraPodUID) != i.PodUID, node != "" && node != i.Node:
		return invalid("the API server names another identity than its claims")
	}
	return nil
}
