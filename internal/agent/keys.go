package agent

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/token"
)

// Keys verifies tokens on the node. What it says can only ever extend what the
// upstream has granted: a rotated token finds what its pod already has. It never
// grants anything by itself.
type Keys struct {
	*follow.ClusterKeys
	audience string
}

// verdict is the value of the metric's label.
type verdict string

const (
	verified     verdict = "ok"
	unknownKey   verdict = "unknown-key"
	notVerified  verdict = "bad-signature"
	foreign      verdict = "foreign"
	notOfPod     verdict = "not-of-pod"
	keysNotKnown verdict = "no-keys"
)

// reloadTimeout is how long a pod's answer may wait for keys.
const reloadTimeout = 500 * time.Millisecond

// NewKeys makes a verifier for one audience. It knows nothing before Agent.Run.
func NewKeys(source follow.KeySource, audience string, now func() time.Time, further ...follow.Further) *Keys {
	return &Keys{follow.NewClusterKeys(source, now, further...), audience}
}

// verify says what local keys make of a token. It refuses what the upstream would
// refuse whatever it knows: a signature that a published key contradicts, and what the
// issuer signed and is not for us. About everything else the upstream decides, above all
// about a kid that is not known here, since a new key may sign before it is published to
// us. The issuer that the token names chooses whose keys count. If it is unknown, since
// the API server's name may have changed, or the kid is, or the key contradicts, since
// another one may have its kid now, keys are read again.
func (k *Keys) verify(
	ctx context.Context, raw credential.Secret, p *peeked, node string, now time.Time,
) (verdict, *refusal) {
	keys := k.Of(p.issuer)
	if keys == nil {
		keys = k.IssuerKeys
	}
	if keys.Current() == nil {
		return keysNotKnown, nil
	}
	_, err := k.verifier(keys).Verify(raw, now)
	if (errors.Is(err, token.ErrUnknownKey) && p.keyID != "") || errors.Is(err, token.ErrIssuer) ||
		errors.Is(err, token.ErrSignature) {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadTimeout)
		defer cancel()
		if tried, failed := keys.Reload(bounded); tried && failed == nil {
			_, err = k.verifier(keys).Verify(raw, now)
		}
	}
	switch {
	case errors.Is(err, token.ErrUnknownKey):
		return unknownKey, nil
	case errors.Is(err, token.ErrAudience), errors.Is(err, token.ErrIssuer):
		return foreign, refuseForeign(err.Error())
	case errors.Is(err, token.ErrSignature):
		return notVerified, refuseSignature(err.Error())
	case errors.Is(err, token.ErrNotYet):
		return notVerified, refuseTimes("InvalidTokenException", err.Error())
	case err != nil:
		return notVerified, nil
	case !ofPod(p, node):
		return notOfPod, nil
	}
	return verified, nil
}

// verifier has a leeway for nbf and iat; that the token has not expired was
// checked before, without a leeway.
func (k *Keys) verifier(keys *follow.IssuerKeys) *token.Verifier {
	published := keys.Current()
	return &token.Verifier{
		Issuer:    published.Issuer,
		Audiences: []string{k.audience},
		Keys:      published.Set,
		Leeway:    clockSkew,
	}
}

// ofPod checks that the claims, whose signature is verified, name one pod on
// this node without contradiction.
func ofPod(p *peeked, node string) bool {
	id := p.identity()
	namespace, name, ok := token.ParseServiceAccountSubject(p.subject)
	here := p.workload.Node == nil || node == "" || p.workload.Node.Name == node
	return ok && here && id.podUID != "" && id.pod != "" && namespace == id.namespace && name == id.serviceAccount
}
