package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// RoleTrust returns the ARN and the trust policy, as JSON, of the role of a name
// in the account; found is false if there is none. Names are unique in an account
// whatever their path, so that the ARN may have another path than expected.
func (c *IAM) RoleTrust(ctx context.Context, name string) (roleARN, trust string, found bool, err error) {
	got, err := c.client.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)})
	if _, missing := errors.AsType[*iamtypes.NoSuchEntityException](err); missing {
		return "", "", false, nil
	}
	if err != nil {
		return "", "", false, classify(err)
	}
	trust, err = url.PathUnescape(aws.ToString(got.Role.AssumeRolePolicyDocument))
	if err != nil {
		return "", "", false, fmt.Errorf("trust policy of role %s: %w", name, err)
	}
	return aws.ToString(got.Role.Arn), trust, true, nil
}
