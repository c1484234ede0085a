package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
)

// KeySource reads the issuer's name and its published keys, a JWKS document.
type KeySource func(ctx context.Context) (issuer string, jwks []byte, err error)

// Keys verifies tokens on the node. What it says can only ever extend what the
// upstream has granted: a rotated token finds what its pod has already. It never
// grants anything by itself.
type Keys struct {
	source   KeySource
	audience string
	current  atomic.Pointer[token.Verifier]

	mu     sync.Mutex
	reload time.Time // when a reload was last forced
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

const (
	keysPeriod  = 5 * time.Minute
	keysRetry   = 10 * time.Second // also the least time between forced reloads
	keysTimeout = 500 * time.Millisecond
)

// NewKeys makes a verifier for one audience. It knows nothing before Agent.Run.
func NewKeys(source KeySource, audience string) *Keys {
	return &Keys{source: source, audience: audience}
}

// run keeps the keys up to date. Keys that cannot be read stay what they were.
func (k *Keys) run(ctx context.Context, log *slog.Logger) {
	for {
		pause := keysPeriod
		if err := k.load(ctx); err != nil && ctx.Err() == nil {
			log.Warn("keys of the issuer not read, rotated tokens go to the upstream", "error", err)
			pause = keysRetry
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (k *Keys) load(ctx context.Context) error {
	issuer, document, err := k.source(ctx)
	if err != nil {
		return err
	}
	set, err := token.ParseJWKS(document)
	if err != nil {
		return err
	}
	// The leeway is for nbf and iat; that the token has not expired was checked
	// before, without any.
	k.current.Store(&token.Verifier{Issuer: issuer, Audiences: []string{k.audience}, Keys: set, Leeway: clockSkew})
	return nil
}

// verify says what local keys make of a token. A refusal is only for a token
// that is signed by the issuer and yet not for us; whatever else is wrong, the
// upstream says.
func (k *Keys) verify(ctx context.Context, raw credential.Secret, p *peeked, node string, now time.Time) (verdict, *refusal) {
	verifier := k.current.Load()
	if verifier == nil {
		return keysNotKnown, nil
	}
	_, err := verifier.Verify(raw, now)
	if errors.Is(err, token.ErrUnknownKey) && p.keyID != "" && k.mayReload(now) {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout)
		defer cancel()
		if k.load(bounded) == nil {
			_, err = k.current.Load().Verify(raw, now)
		}
	}
	switch {
	case errors.Is(err, token.ErrUnknownKey):
		return unknownKey, nil
	case errors.Is(err, token.ErrAudience), errors.Is(err, token.ErrIssuer):
		return foreign, refuseForeign(err.Error())
	case err != nil:
		return notVerified, nil
	case !ofPod(p, node):
		return notOfPod, nil
	}
	return verified, nil
}

// mayReload allows one forced reload in a while: anyone can invent key ids.
func (k *Keys) mayReload(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if since := now.Sub(k.reload); since >= 0 && since < keysRetry {
		return false
	}
	k.reload = now
	return true
}

// ofPod checks that the claims, whose signature is verified, name one pod on
// this node without contradiction.
func ofPod(p *peeked, node string) bool {
	id := p.identity()
	namespace, name, ok := token.ParseServiceAccountSubject(p.subject)
	here := p.workload.Node == nil || node == "" || p.workload.Node.Name == node
	return ok && here && id.podUID != "" && id.pod != "" && namespace == id.namespace && name == id.serviceAccount
}
