package association

import (
	"context"
	"errors"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
)

// EnvironmentRoles reads roles in IAM with the credentials of the process
// environment. A role of another account is refused with fault.Denied.
type EnvironmentRoles struct {
	// Own is the account that is asked.
	Own *awsapi.Own
}

// rolesTimeout bounds one look at IAM.
const rolesTimeout = 10 * time.Second

// Trust returns a role's trust policy. What its errors say anybody who reads
// associations may know: neither whose credentials these are, nor of other roles.
func (r *EnvironmentRoles) Trust(ctx context.Context, role arn.Role) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, rolesTimeout)
	defer cancel()
	account, id, err := r.Own.Open(ctx)
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
	account, id, err := r.Own.Open(ctx)
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
