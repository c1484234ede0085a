package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/token"
)

// Keys are the keys of the cluster's issuer and of further ones, those of each kept
// apart: a key verifies tokens of the issuer that published it, and no others.
type Keys struct {
	*follow.IssuerKeys
	further []furtherKeys
}

// Further is an issuer whose tokens the cluster takes as well, as an API server does
// with two --service-account-issuer while its issuer's URL is changed.
type Further struct {
	Issuer string
	Keys   follow.KeySource // whatever name it gives does not count
}

type furtherKeys struct {
	issuer string
	*follow.IssuerKeys
}

// keysStale is how old keys may be: a key that was withdrawn must not be good for
// ever because the issuer cannot be reached.
const keysStale = 15 * time.Minute

// NewKeys reads nothing yet; Run does.
func NewKeys(source follow.KeySource, now func() time.Time, further ...Further) *Keys {
	k := &Keys{IssuerKeys: follow.NewIssuerKeys(source, now)}
	for _, one := range further {
		named := func(ctx context.Context) (string, []byte, error) {
			_, jwks, err := one.Keys(ctx)
			return one.Issuer, jwks, err
		}
		k.further = append(k.further, furtherKeys{one.Issuer, follow.NewIssuerKeys(named, now)})
	}
	return k
}

// Run follows all until ctx is done. Synced is about the first issuer only: that a
// former one publishes nothing any more must keep no replica from serving.
func (k *Keys) Run(ctx context.Context, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return k.IssuerKeys.Run(ctx, log) })
	for _, one := range k.further {
		group.Go(func() error { return one.Run(ctx, log.With("issuer", one.issuer)) })
	}
	return group.Wait()
}

// of returns the keys of an issuer; nil if it is none of ours.
func (k *Keys) of(issuer string) *follow.IssuerKeys {
	if published := k.Current(); published != nil && published.Issuer == issuer {
		return k.IssuerKeys
	}
	for _, one := range k.further {
		if one.issuer == issuer {
			return one.IssuerKeys
		}
	}
	return nil
}

// usable says why keys cannot be gone by.
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

// verify checks signature, issuer, audience and times, with a leeway for the
// latter. issuer is what the token says, and chooses whose keys count. An unknown
// issuer, as the API server's name may have changed, or kid makes keys be read anew.
func (k *Keys) verify(ctx context.Context, raw credential.Secret, issuer, audience string, now time.Time) (*token.Claims, error) {
	keys := k.of(issuer)
	if keys == nil {
		if _, err := k.Reload(ctx); err == nil {
			keys = k.of(issuer)
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
	return &token.Verifier{Issuer: published.Issuer, Audiences: []string{audience}, Keys: published.Set, Leeway: clockSkew}
}
