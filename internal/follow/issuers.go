package follow

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// ClusterKeys are the keys of the cluster's issuer and of further ones, kept apart by
// issuer: a key verifies tokens of the issuer that published it, and no others.
type ClusterKeys struct {
	*IssuerKeys
	further []furtherKeys
}

// Further is an issuer whose tokens the cluster accepts as well, as an API server does
// with two --service-account-issuer while its issuer's URL is changed.
type Further struct {
	Issuer string
	Keys   KeySource // the name that it gives is ignored
}

type furtherKeys struct {
	issuer string
	*IssuerKeys
}

// NewClusterKeys reads nothing yet; Run does.
func NewClusterKeys(source KeySource, now func() time.Time, further ...Further) *ClusterKeys {
	k := &ClusterKeys{IssuerKeys: NewIssuerKeys(source, now)}
	for _, one := range further {
		named := func(ctx context.Context) (string, []byte, error) {
			_, jwks, err := one.Keys(ctx)
			return one.Issuer, jwks, err
		}
		k.further = append(k.further, furtherKeys{one.Issuer, NewIssuerKeys(named, now)})
	}
	return k
}

// Run follows all until ctx is done. Synced is about the first issuer only: a
// former issuer that no longer publishes anything must not keep a server from
// serving.
func (k *ClusterKeys) Run(ctx context.Context, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return k.IssuerKeys.Run(ctx, log) })
	for _, one := range k.further {
		group.Go(func() error { return one.Run(ctx, log.With("issuer", one.issuer)) })
	}
	return group.Wait()
}

// Of returns the keys of an issuer, which may not have been read yet; nil if it is
// not one of ours.
func (k *ClusterKeys) Of(issuer string) *IssuerKeys {
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
