package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/token"
)

// KeySource reads the issuer's name and its published keys, a JWKS document.
type KeySource func(ctx context.Context) (issuer string, jwks []byte, err error)

// Keys are the keys of the cluster's issuer, kept up to date by Run.
type Keys struct {
	source  KeySource
	now     func() time.Time
	current atomic.Pointer[loadedKeys]
	synced  chan struct{}
	once    sync.Once

	mu     sync.Mutex
	forced time.Time // when an unknown kid last made them be read
}

type loadedKeys struct {
	issuer string
	set    *token.KeySet
	at     time.Time
}

const (
	keysPeriod  = 5 * time.Minute
	keysRetry   = 10 * time.Second // also the least time between forced readings
	keysTimeout = 2 * time.Second
	// keysStale is how old keys may be: a key that was withdrawn must not be
	// good for ever because the issuer cannot be reached.
	keysStale = 15 * time.Minute
)

// NewKeys reads nothing yet.
func NewKeys(source KeySource, now func() time.Time) *Keys {
	return &Keys{source: source, now: now, synced: make(chan struct{})}
}

// Synced is closed when the keys have been read once.
func (k *Keys) Synced() <-chan struct{} { return k.synced }

// Run keeps the keys up to date until ctx is done.
func (k *Keys) Run(ctx context.Context, log *slog.Logger) error {
	for {
		pause := keysPeriod
		if err := k.load(ctx); err != nil && ctx.Err() == nil {
			log.Warn("keys of the issuer not read", "error", err)
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

func (k *Keys) load(ctx context.Context) error {
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
	k.current.Store(&loadedKeys{issuer, set, at})
	k.once.Do(func() { close(k.synced) })
	return nil
}

// usable says why the keys cannot be gone by.
func (k *Keys) usable(now time.Time) error {
	loaded := k.current.Load()
	switch {
	case loaded == nil:
		return errors.New("never read")
	case now.Sub(loaded.at) > keysStale:
		return fmt.Errorf("last read at %s", loaded.at.UTC().Format(time.RFC3339))
	}
	return nil
}

// verify checks signature, issuer, audience and times, with a leeway for the
// latter. An unknown kid makes the keys be read anew, at most every 10 s: anyone
// can invent one.
func (k *Keys) verify(ctx context.Context, raw credential.Secret, audience string, now time.Time) (*token.Claims, error) {
	claims, err := k.verifier(audience).Verify(raw, now)
	if !errors.Is(err, token.ErrUnknownKey) || !k.mayForce(now) {
		return claims, err
	}
	if failed := k.load(ctx); failed != nil {
		return nil, fmt.Errorf("%w: %w", errKeysNotRead, failed)
	}
	return k.verifier(audience).Verify(raw, now)
}

// errKeysNotRead: a key is not known, and it cannot be found out whether it is
// new. That is no verdict.
var errKeysNotRead = errors.New("keys not read")

func (k *Keys) verifier(audience string) *token.Verifier {
	loaded := k.current.Load()
	return &token.Verifier{Issuer: loaded.issuer, Audiences: []string{audience}, Keys: loaded.set, Leeway: clockSkew}
}

func (k *Keys) mayForce(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if since := now.Sub(k.forced); since >= 0 && since < keysRetry {
		return false
	}
	k.forced = now
	return true
}
