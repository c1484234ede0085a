package follow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/token"
)

// KeySource reads an issuer's name and its published keys, a JWKS document.
type KeySource func(ctx context.Context) (issuer string, jwks []byte, err error)

// IssuerKeys are the published keys of one issuer, kept up to date by Run. Keys
// that cannot be read stay what they were; At says how old they are.
type IssuerKeys struct {
	*Value[*PublishedKeys]
	source KeySource
	now    func() time.Time

	mu     sync.Mutex
	forced time.Time // when a reload was last asked for
}

// PublishedKeys are an issuer's keys as they were read once.
type PublishedKeys struct {
	Issuer string
	Set    *token.KeySet
	At     time.Time
}

const (
	keysPeriod  = 5 * time.Minute
	keysRetry   = 10 * time.Second // also the least time between reloads
	keysTimeout = 2 * time.Second
)

// NewIssuerKeys reads nothing yet; Current is nil until Synced.
func NewIssuerKeys(source KeySource, now func() time.Time) *IssuerKeys {
	return &IssuerKeys{Value: NewValue[*PublishedKeys](nil), source: source, now: now}
}

// Run reads the keys every five minutes until ctx is done.
func (k *IssuerKeys) Run(ctx context.Context, log *slog.Logger) error {
	for {
		pause := keysPeriod
		if err := k.load(ctx); err != nil && ctx.Err() == nil {
			log.Warn("cannot read the issuer's keys, keeping the old ones", "error", err)
			pause = keysRetry
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// Reload reads the keys now, for a caller that met an unknown one; at most
// every ten seconds, since anyone can invent a kid. tried is false if it is too
// early.
func (k *IssuerKeys) Reload(ctx context.Context) (tried bool, err error) {
	if !k.mayReload() {
		return false, nil
	}
	return true, k.load(ctx)
}

func (k *IssuerKeys) mayReload() bool {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if since := now.Sub(k.forced); since >= 0 && since < keysRetry {
		return false
	}
	k.forced = now
	return true
}

func (k *IssuerKeys) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	at := k.now()
	issuer, document, err := k.source(ctx)
	if err != nil {
		return err
	}
	set, err := token.ParseJWKS(document)
	switch {
	case err != nil:
		return err
	case set.Len() == 0 || issuer == "":
		return errors.New("the issuer has no name or publishes no keys")
	}
	k.Set(&PublishedKeys{issuer, set, at})
	k.MarkSynced()
	return nil
}
