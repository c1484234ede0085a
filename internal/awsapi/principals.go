package awsapi

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// RoleID returns the ARN and the unique id of the role with a name in the account; both
// are empty if there is none.
func (c *IAM) RoleID(ctx context.Context, name string) (roleARN, id string, err error) {
	got, err := c.client.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)})
	if isMissing(err) {
		return "", "", nil
	}
	if err != nil {
		return "", "", classify(err)
	}
	return aws.ToString(got.Role.Arn), aws.ToString(got.Role.RoleId), nil
}

// UserID is RoleID for a user.
func (c *IAM) UserID(ctx context.Context, name string) (userARN, id string, err error) {
	got, err := c.client.GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)})
	if isMissing(err) {
		return "", "", nil
	}
	if err != nil {
		return "", "", classify(err)
	}
	return aws.ToString(got.User.Arn), aws.ToString(got.User.UserId), nil
}

func isMissing(err error) bool {
	_, missing := errors.AsType[*iamtypes.NoSuchEntityException](err)
	return missing
}
