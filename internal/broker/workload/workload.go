// Package workload says whom a service-account token stands for: it verifies
// the token, by the issuer's keys or by asking the API server, and that the pod
// it is bound to is there (spec podidentity §19.4, steps 2 to 7).
//
// It does not know roles, associations or who may ask.
package workload

import (
	"time"

	"github.com/rolecall/rolecall/internal/token"
)

// Identity is whom a verified token stands for.
type Identity struct {
	Namespace, ServiceAccount, ServiceAccountUID string
	// Pod and PodUID are empty for a token that is bound to no pod.
	Pod, PodUID string
	// Labels are those of the pod that Objects keeps; not to be changed.
	Labels map[string]string
	// Node is the token's claim, else where the pod runs; empty if neither says.
	Node            string
	Issuer          string
	TokenID, KeyID  string // jti and kid
	Issued, Expires time.Time
	// By is what verified it: jwks, tokenreview or both.
	By string
}

// Bound reports whether the token is a pod's.
func (i *Identity) Bound() bool { return i.PodUID != "" }

// Lifetime is how long the token lives in all.
func (i *Identity) Lifetime() time.Duration { return i.Expires.Sub(i.Issued) }

// goneGrace is how long a pod that is being deleted keeps its identity: as long
// as the API server itself goes on accepting its tokens.
const goneGrace = time.Minute

// clockSkew is how far an issuer's clock may be ahead.
const clockSkew = time.Minute

// identityOf reads claims, which must have been verified. Whatever contradicts
// itself is refused.
func identityOf(claims *token.Claims, keyID string) (*Identity, error) {
	w := claims.Workload
	namespace, account, ok := token.ParseServiceAccountSubject(claims.Subject)
	switch {
	case !ok || namespace != w.Namespace || account != w.ServiceAccount.Name:
		return nil, invalid("the token's subject is not the service account it names elsewhere")
	case w.ServiceAccount.UID == "":
		return nil, invalid("the token does not say the UID of its service account")
	case w.Secret != nil:
		return nil, invalid("the token is bound to a Secret, not to a pod")
	case w.Pod != nil && (w.Pod.Name == "" || w.Pod.UID == ""):
		return nil, invalid("the token names a pod without its UID")
	}
	identity := &Identity{
		Namespace: namespace, ServiceAccount: account, ServiceAccountUID: w.ServiceAccount.UID,
		Issuer: claims.Issuer, TokenID: claims.ID, KeyID: keyID, Issued: claims.IssuedAt, Expires: claims.Expiry,
	}
	if w.Pod != nil {
		identity.Pod, identity.PodUID = w.Pod.Name, w.Pod.UID
	}
	if w.Node != nil {
		identity.Node = w.Node.Name
	}
	return identity, nil
}
