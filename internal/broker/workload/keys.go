package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/token"
)

// Keys are the keys of the cluster's issuer.
type Keys struct{ *follow.IssuerKeys }

// keysStale is how old keys may be: a key that was withdrawn must not be good for
// ever because the issuer cannot be reached.
const keysStale = 15 * time.Minute

// NewKeys reads nothing yet; Run does.
func NewKeys(source follow.KeySource, now func() time.Time) *Keys {
	return &Keys{follow.NewIssuerKeys(source, now)}
}

// usable says why the keys cannot be gone by.
func (k *Keys) usable(now time.Time) error {
	published := k.Current()
	switch {
	case published == nil:
		return errors.New("never read")
	case now.Sub(published.At) > keysStale:
		return fmt.Errorf("last read at %s", published.At.UTC().Format(time.RFC3339))
	}
	return nil
}

// verify checks signature, issuer, audience and times, with a leeway for the
// latter. An unknown kid makes the keys be read anew.
func (k *Keys) verify(ctx context.Context, raw credential.Secret, audience string, now time.Time) (*token.Claims, error) {
	claims, err := k.verifier(audience).Verify(raw, now)
	if !errors.Is(err, token.ErrUnknownKey) {
		return claims, err
	}
	tried, failed := k.Reload(ctx)
	switch {
	case failed != nil:
		return nil, fmt.Errorf("%w: %w", errKeysNotRead, failed)
	case !tried:
		return nil, err
	}
	return k.verifier(audience).Verify(raw, now)
}

// errKeysNotRead: a key is not known, and it cannot be found out whether it is
// new. That is no verdict.
var errKeysNotRead = errors.New("keys not read")

func (k *Keys) verifier(audience string) *token.Verifier {
	published := k.Current()
	return &token.Verifier{Issuer: published.Issuer, Audiences: []string{audience}, Keys: published.Set, Leeway: clockSkew}
}
