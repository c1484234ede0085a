package eksauth

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/rolecall/rolecall/internal/localaws/eks"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/token"
)

// audience is the audience of tokens for this service.
const audience = "pods.eks.amazonaws.com"

// leeway is how far an issuer's clock may be ahead.
const leeway = time.Minute

// pod is the pod that a verified token stands for.
type pod struct{ namespace, serviceAccount, name, uid string }

func invalid(format string, args ...any) error {
	return refuse("InvalidTokenException", "The token included in the request is invalid.").Because(format, args...)
}

// verify checks a token in the order of spec podidentity §19.4, steps 2 to 7.
// The keys are those of the cluster's issuer, whatever the token says.
func (r *room) verify(q *service.Call, cluster *eks.Cluster, raw string) (*pod, error) {
	decoded, err := token.Decode(raw)
	switch {
	case err != nil:
		return nil, invalid("%s", err)
	case decoded.Header.Critical || !token.SupportedAlgorithm(decoded.Header.Algorithm):
		return nil, invalid("the header has alg %q, or a crit member", decoded.Header.Algorithm)
	case decoded.Header.KeyID == "":
		return nil, invalid("the header has no kid")
	}
	if err := r.checkSignature(q, cluster, decoded); err != nil {
		return nil, err
	}
	claims, err := decoded.ServiceAccount()
	switch {
	case err != nil:
		return nil, invalid("%s", err)
	case claims.Issuer != cluster.Issuer:
		return nil, invalid(
			"the token's issuer is %q, that of cluster %s is %q", claims.Issuer, cluster.Name, cluster.Issuer,
		)
	case !slices.Contains(claims.Audiences, audience):
		return nil, invalid("the token's audience is %q, want %q", claims.Audiences, audience)
	case !q.Time.Before(claims.Expiry):
		return nil, refuse(
			"ExpiredTokenException",
			"The token included in the request is expired: current date/time %d must be before the expiration "+
				"date/time %d",
			q.Time.Unix(), claims.Expiry.Unix(),
		)
	case q.Time.Add(leeway).Before(claims.NotBefore), q.Time.Add(leeway).Before(claims.IssuedAt):
		return nil, invalid(
			"the token is valid from %s, now it is %s", claims.NotBefore.Format(time.RFC3339),
			q.Time.UTC().Format(time.RFC3339),
		)
	}
	return boundPod(claims)
}

func (r *room) checkSignature(q *service.Call, cluster *eks.Cluster, decoded *token.JWT) error {
	err := errors.New("fetching the issuer's keys fails, as was asked for")
	if !q.KeysUnreachable {
		err = r.keys.VerifySignature(q.HTTP.Context(), cluster.Issuer, decoded)
	}
	switch {
	case err == nil:
		return nil
	case q.KeysUnreachable || sts.Unreachable(err):
		return wire.Errorf(
			http.StatusServiceUnavailable, "ServiceUnavailableException",
			"The service is unavailable. Back off and retry the operation.",
		).
			Because(
				"the keys of cluster %s cannot be fetched from its issuer %s: %s", cluster.Name, cluster.Issuer, err,
			)
	}
	return invalid("%s; the keys are those of cluster %s, from %s", err, cluster.Name, cluster.Issuer)
}

// boundPod: a token represents a pod only if it is bound to one.
func boundPod(claims *token.Claims) (*pod, error) {
	w := claims.Workload
	switch {
	case w.Secret != nil:
		return nil, invalid("the token is bound to the Secret %s, not to a pod", w.Secret.Name)
	case w.Pod == nil || w.Pod.Name == "" || w.Pod.UID == "":
		return nil, invalid("the token is not bound to a pod")
	case w.Namespace == "" || claims.Subject != token.ServiceAccountSubject(w.Namespace, w.ServiceAccount.Name):
		return nil, invalid(
			"the token's subject %q is not service account %q of namespace %q, which it names elsewhere",
			claims.Subject, w.ServiceAccount.Name, w.Namespace,
		)
	}
	return &pod{w.Namespace, w.ServiceAccount.Name, w.Pod.Name, w.Pod.UID}, nil
}
