package association

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
)

// EnvironmentRoles reads roles in IAM with the credentials of the process
// environment. A role of another account is refused with fault.Denied.
type EnvironmentRoles struct {
	// Now is the clock.
	Now func() time.Time

	mu      sync.Mutex
	account *awsapi.Account
	id      string // of the account
	failed  error
	until   time.Time // failed is not tried again before
}

const (
	// rolesTimeout bounds one look at IAM; rolesRetry is how long missing
	// credentials count as missing, so that not every association waits for
	// instance metadata that does not exist.
	rolesTimeout = 10 * time.Second
	rolesRetry   = time.Minute
)

// Trust returns a role's trust policy. What its errors say anybody who reads
// associations may know: neither whose credentials these are, nor of other roles.
func (r *EnvironmentRoles) Trust(ctx context.Context, role arn.Role) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, rolesTimeout)
	defer cancel()
	account, id, err := r.open(ctx)
	if err != nil {
		return "", err
	}
	if id != role.Account {
		return "", fault.New(fault.Denied, "the controller's credentials are not of account %s", role.Account)
	}
	found, trust, exists, err := account.IAM().RoleTrust(ctx, role.Name)
	switch {
	case err != nil:
		answer, isAWS := errors.AsType[*awsapi.Error](err)
		if isAWS {
			return "", fault.New(fault.Denied, "IAM does not show the role to the controller: %s", answer.Code)
		}
		return "", fault.New(fault.Unavailable, "IAM does not answer")
	case !exists, found != role.ARN().String(): // a role of that name and another path is another role
		return "", fault.New(fault.NotFound, "IAM has no role %s", role.ARN())
	}
	return trust, nil
}

// Policies returns a role's inline policies, and those of the account that are attached.
func (r *EnvironmentRoles) Policies(ctx context.Context, role arn.Role) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, rolesTimeout)
	defer cancel()
	account, id, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	if id != role.Account {
		return nil, fault.New(fault.Denied, "the controller's credentials are not of account %s", role.Account)
	}
	documents, err := account.IAM().RolePolicies(ctx, role.Name)
	if answer, isAWS := errors.AsType[*awsapi.Error](err); isAWS {
		return nil, fault.New(fault.Denied, "IAM does not show them to the controller: %s", answer.Code)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "IAM does not answer")
	}
	return documents, nil
}

// open finds out whose credentials there are, once.
func (r *EnvironmentRoles) open(ctx context.Context) (*awsapi.Account, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.account != nil {
		return r.account, r.id, nil
	}
	if r.failed != nil && r.Now().Before(r.until) {
		return nil, "", r.failed
	}
	account, err := awsapi.OpenAccount(ctx, "", "")
	if err == nil {
		var who awsapi.Identity
		if who, err = account.Identity(ctx); err == nil {
			r.account, r.id = account, who.Account
			return r.account, r.id, nil
		}
	}
	// The SDK's own words name times and addresses, and would change the status
	// at every look.
	r.failed = fault.New(fault.Unavailable, "there are no AWS credentials here that STS accepts, so IAM is not asked")
	r.until = r.Now().Add(rolesRetry)
	return nil, "", r.failed
}
