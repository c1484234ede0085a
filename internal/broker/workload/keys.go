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

// Keys are those that tokens are verified with.
type Keys struct{ *follow.ClusterKeys }

// keysStale is how old keys may be: a key that was withdrawn must not be good
// forever because the issuer cannot be reached.
const keysStale = 15 * time.Minute

// NewKeys reads nothing yet; Run does.
func NewKeys(source follow.KeySource, now func() time.Time, further ...follow.Further) *Keys {
	return &Keys{follow.NewClusterKeys(source, now, further...)}
}

// usable says why keys cannot be relied on.
func usable(keys *follow.IssuerKeys, now time.Time) error {
	published := keys.Current()
	switch {
	case published == nil:
		return errors.New("never read")
	case now.Sub(published.At) > keysStale:
		return fmt.Errorf("last read at %s", published.At.UTC().Format(time.RFC3339))
	}
	return nil
}

// verify checks signature, issuer, audience and times, with a leeway for the latter.
// issuer is what the token says, and chooses whose keys count. If the issuer is
// unknown, since the API server's name may have changed, or the kid is, keys are
// read again.
func (k *Keys) verify(
	ctx context.Context, raw credential.Secret, issuer, audience string, now time.Time,
) (*token.Claims, error) {
	keys := k.Of(issuer)
	if keys == nil {
		if _, err := k.Reload(ctx); err == nil {
			keys = k.Of(issuer)
		}
		if keys == nil {
			return nil, fmt.Errorf("%w: %q", token.ErrIssuer, issuer)
		}
	}
	claims, err := verifier(keys, audience).Verify(raw, now)
	if !errors.Is(err, token.ErrUnknownKey) {
		return claims, err
	}
	tried, failed := keys.Reload(ctx)
	switch {
	case failed != nil:
		return nil, fmt.Errorf("%w: %w", errKeysNotRead, failed)
	case !tried:
		return nil, err
	}
	return verifier(keys, audience).Verify(raw, now)
}

// errKeysNotRead: a key is not known, and it cannot be found out whether it is
// new. That is no verdict.
var errKeysNotRead = errors.New("keys not read")

func verifier(keys *follow.IssuerKeys, audience string) *token.Verifier {
	published := keys.Current()
	return &token.Verifier{
		Issuer:    published.Issuer,
		Audiences: []string{audience},
		Keys:      published.Set,
		Leeway:    clockSkew,
	}
}
