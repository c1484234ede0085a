package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// RoleFound is a role as IAM describes it.
type RoleFound struct {
	ID, ARN, Trust string
	Tags           map[string]string
	// Attached are the ARNs of its managed policies.
	Attached []string
}

// PolicyFound is a managed policy as IAM describes it.
type PolicyFound struct {
	Document string
	Tags     map[string]string
	// Groups, Roles and Users are the names of those that it is attached to.
	Groups, Roles, Users []string
}

func noSuchEntity(err error) bool {
	_, missing := errors.AsType[*iamtypes.NoSuchEntityException](err)
	return missing
}

// HasGroup reports whether the account has an IAM group.
func (c *IAM) HasGroup(ctx context.Context, name string) (bool, error) {
	_, err := c.client.GetGroup(ctx, &iam.GetGroupInput{GroupName: aws.String(name), MaxItems: aws.Int32(1)})
	if noSuchEntity(err) {
		return false, nil
	}
	return err == nil, classify(err)
}

// FindRole returns a role by its name, nil if there is none.
func (c *IAM) FindRole(ctx context.Context, name string) (*RoleFound, error) {
	got, err := c.client.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)})
	if noSuchEntity(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, classify(err)
	}
	found := &RoleFound{ID: aws.ToString(got.Role.RoleId), ARN: aws.ToString(got.Role.Arn), Tags: tagsOf(got.Role.Tags)}
	if found.Trust, err = url.PathUnescape(aws.ToString(got.Role.AssumeRolePolicyDocument)); err != nil {
		return nil, fmt.Errorf("trust policy of role %s: %w", name, err)
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(c.client,
		&iam.ListAttachedRolePoliciesInput{RoleName: aws.String(name)})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return nil, classify(err)
		}
		for _, policy := range page.AttachedPolicies {
			found.Attached = append(found.Attached, aws.ToString(policy.PolicyArn))
		}
	}
	return found, nil
}

// FindPolicy returns a managed policy, nil if there is none.
func (c *IAM) FindPolicy(ctx context.Context, arn string) (*PolicyFound, error) {
	got, err := c.client.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String(arn)})
	if noSuchEntity(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, classify(err)
	}
	found := &PolicyFound{Tags: tagsOf(got.Policy.Tags)}
	version, err := c.client.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{
		PolicyArn: aws.String(arn), VersionId: got.Policy.DefaultVersionId,
	})
	if err != nil {
		return nil, classify(err)
	}
	if found.Document, err = url.PathUnescape(aws.ToString(version.PolicyVersion.Document)); err != nil {
		return nil, fmt.Errorf("policy %s: %w", arn, err)
	}
	entities := iam.NewListEntitiesForPolicyPaginator(c.client, &iam.ListEntitiesForPolicyInput{PolicyArn: aws.String(arn)})
	for entities.HasMorePages() {
		page, err := entities.NextPage(ctx)
		if err != nil {
			return nil, classify(err)
		}
		for _, one := range page.PolicyGroups {
			found.Groups = append(found.Groups, aws.ToString(one.GroupName))
		}
		for _, one := range page.PolicyRoles {
			found.Roles = append(found.Roles, aws.ToString(one.RoleName))
		}
		for _, one := range page.PolicyUsers {
			found.Users = append(found.Users, aws.ToString(one.UserName))
		}
	}
	return found, nil
}

func tagsOf(tags []iamtypes.Tag) map[string]string {
	all := map[string]string{}
	for _, tag := range tags {
		all[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return all
}

func iamTags(tags map[string]string) (all []iamtypes.Tag) {
	for key, value := range tags {
		all = append(all, iamtypes.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return all
}

// MakeRole creates a role, and returns its id.
func (c *IAM) MakeRole(ctx context.Context, name, trust, description string, tags map[string]string) (id string, err error) {
	made, err := c.client.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: aws.String(name), AssumeRolePolicyDocument: aws.String(trust), Description: aws.String(description),
		Tags: iamTags(tags),
	})
	if err != nil {
		return "", classify(err)
	}
	return aws.ToString(made.Role.RoleId), nil
}

// DeleteRole deletes a role.
func (c *IAM) DeleteRole(ctx context.Context, name string) error {
	_, err := c.client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: aws.String(name)})
	return classify(err)
}

// TagRole puts a tag on a role.
func (c *IAM) TagRole(ctx context.Context, name, key, value string) error {
	_, err := c.client.TagRole(ctx, &iam.TagRoleInput{
		RoleName: aws.String(name), Tags: []iamtypes.Tag{{Key: aws.String(key), Value: aws.String(value)}},
	})
	return classify(err)
}

// UntagRole takes a tag off a role.
func (c *IAM) UntagRole(ctx context.Context, name, key string) error {
	_, err := c.client.UntagRole(ctx, &iam.UntagRoleInput{RoleName: aws.String(name), TagKeys: []string{key}})
	return classify(err)
}

// MakePolicy creates a managed policy.
func (c *IAM) MakePolicy(ctx context.Context, name, document, description string, tags map[string]string) error {
	_, err := c.client.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName: aws.String(name), PolicyDocument: aws.String(document), Description: aws.String(description),
		Tags: iamTags(tags),
	})
	return classify(err)
}

// versions are those of a policy that are not the default, oldest first.
func (c *IAM) versions(ctx context.Context, arn string) ([]iamtypes.PolicyVersion, error) {
	var all []iamtypes.PolicyVersion
	pages := iam.NewListPolicyVersionsPaginator(c.client, &iam.ListPolicyVersionsInput{PolicyArn: aws.String(arn)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, classify(err)
		}
		all = append(all, page.Versions...)
	}
	all = slices.DeleteFunc(all, func(v iamtypes.PolicyVersion) bool { return v.IsDefaultVersion })
	slices.SortFunc(all, func(a, b iamtypes.PolicyVersion) int {
		return aws.ToTime(a.CreateDate).Compare(aws.ToTime(b.CreateDate))
	})
	return all, nil
}

func (c *IAM) deleteVersion(ctx context.Context, arn string, version *string) error {
	_, err := c.client.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{
		PolicyArn: aws.String(arn), VersionId: version,
	})
	return classify(err)
}

// maxVersions is how many a policy may have.
const maxVersions = 5

// SetPolicy gives a managed policy another document; the oldest version goes if there is no
// room for another.
func (c *IAM) SetPolicy(ctx context.Context, arn, document string) error {
	old, err := c.versions(ctx, arn)
	if err != nil {
		return err
	}
	if len(old)+1 >= maxVersions {
		if err := c.deleteVersion(ctx, arn, old[0].VersionId); err != nil {
			return err
		}
	}
	_, err = c.client.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{
		PolicyArn: aws.String(arn), PolicyDocument: aws.String(document), SetAsDefault: true,
	})
	return classify(err)
}

// DeletePolicy deletes a managed policy with all of its versions.
func (c *IAM) DeletePolicy(ctx context.Context, arn string) error {
	old, err := c.versions(ctx, arn)
	if err != nil {
		return err
	}
	for i := range old {
		if err := c.deleteVersion(ctx, arn, old[i].VersionId); err != nil {
			return err
		}
	}
	_, err = c.client.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: aws.String(arn)})
	return classify(err)
}

// awaited is how often what was just made is waited for, awaitPause between.
const (
	awaited    = 10
	awaitPause = time.Second
)

// await does what needs a role or policy that was just made, which IAM may not know
// everywhere yet.
func await(ctx context.Context, do func() error) error {
	for left := awaited; ; left-- {
		err := do()
		if !noSuchEntity(err) || left == 0 {
			return classify(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(awaitPause):
		}
	}
}

// AttachToRole attaches a managed policy to a role.
func (c *IAM) AttachToRole(ctx context.Context, role, policyARN string) error {
	return await(ctx, func() error {
		_, err := c.client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{
			RoleName: aws.String(role), PolicyArn: aws.String(policyARN),
		})
		return err
	})
}

// AttachToGroup attaches a managed policy to a group.
func (c *IAM) AttachToGroup(ctx context.Context, group, policyARN string) error {
	return await(ctx, func() error {
		_, err := c.client.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{
			GroupName: aws.String(group), PolicyArn: aws.String(policyARN),
		})
		return err
	})
}

// DetachFromRole detaches a managed policy from a role.
func (c *IAM) DetachFromRole(ctx context.Context, role, policyARN string) error {
	_, err := c.client.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{
		RoleName: aws.String(role), PolicyArn: aws.String(policyARN),
	})
	return classify(err)
}

// DetachFromGroup detaches a managed policy from a group.
func (c *IAM) DetachFromGroup(ctx context.Context, group, policyARN string) error {
	_, err := c.client.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{
		GroupName: aws.String(group), PolicyArn: aws.String(policyARN),
	})
	return classify(err)
}
