package awsapi

import (
	"context"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
)

// Own is the account whose credentials the process environment has, found out once.
type Own struct {
	// Now is the clock.
	Now func() time.Time

	mu      sync.Mutex
	account *Account
	id      string
	failed  error
	until   time.Time // failed is not tried again before
}

// ownRetry is how long missing credentials count as missing, so that not everybody who
// asks waits for instance metadata that do not exist.
const ownRetry = time.Minute

// Open returns the account and its id.
func (o *Own) Open(ctx context.Context) (*Account, string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.account != nil {
		return o.account, o.id, nil
	}
	if o.failed != nil && o.Now().Before(o.until) {
		return nil, "", o.failed
	}
	account, err := OpenAccount(ctx, "", "")
	if err == nil {
		var who Identity
		if who, err = account.Identity(ctx); err == nil {
			o.account, o.id = account, who.Account
			return o.account, o.id, nil
		}
	}
	// The SDK's own words name times and addresses, and would change what is written of
	// them at every look.
	o.failed = fault.New(fault.Unavailable, "there are no AWS credentials here that STS accepts, so IAM is not asked")
	o.until = o.Now().Add(ownRetry)
	return nil, "", o.failed
}
