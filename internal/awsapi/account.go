package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rolecall/rolecall/internal/credential"
)

// Account is one AWS account, reached with the credentials and endpoints that
// the SDK finds in its environment.
type Account struct{ config aws.Config }

// OpenAccount loads the environment. If a role is named, it is assumed first, to
// reach another account; a region replaces the environment's.
func OpenAccount(ctx context.Context, region, roleARN string) (*Account, error) {
	var options []func(*config.LoadOptions) error
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	loaded, err := load(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		loaded.Region = "us-east-1" // IAM's and the global STS's own
	}
	if roleARN != "" {
		taken := stscreds.NewAssumeRoleProvider(
			sts.NewFromConfig(loaded),
			roleARN,
			func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = "rolecall-issuer"
			},
		)
		loaded.Credentials = aws.NewCredentialsCache(taken)
	}
	return &Account{loaded}, nil
}

// Identity asks STS who the credentials are.
func (a *Account) Identity(ctx context.Context) (Identity, error) {
	answer, err := sts.NewFromConfig(a.config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, classify(err)
	}
	return Identity{
		ARN:     aws.ToString(answer.Arn),
		UserID:  aws.ToString(answer.UserId),
		Account: aws.ToString(answer.Account),
	}, nil
}

// IAM returns the account's IAM.
func (a *Account) IAM() *IAM { return &IAM{iam.NewFromConfig(a.config)} }

// Exchange presents a web-identity token to STS and drops the credentials it
// gets: all that matters is whether the token is accepted. It uses no
// credentials.
func (a *Account) Exchange(ctx context.Context, roleARN string, token credential.Secret) error {
	_, err := sts.NewFromConfig(a.config).AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(roleARN), RoleSessionName: aws.String("rolecall-issuer"),
		WebIdentityToken: aws.String(token.Reveal()), DurationSeconds: aws.Int32(900),
	})
	return classify(err)
}

// Provider is an OIDC provider as IAM describes it.
type Provider struct {
	URL         string // without scheme
	ClientIDs   []string
	Thumbprints []string
}

// Provider returns the OIDC provider with an ARN; found is false if there is
// none.
func (c *IAM) Provider(ctx context.Context, arn string) (provider Provider, found bool, err error) {
	answer, err := c.client.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{
		OpenIDConnectProviderArn: aws.String(arn),
	})
	if _, missing := errors.AsType[*iamtypes.NoSuchEntityException](err); missing {
		return Provider{}, false, nil
	}
	if err != nil {
		return Provider{}, false, classify(err)
	}
	return Provider{
		URL:         aws.ToString(answer.Url),
		ClientIDs:   answer.ClientIDList,
		Thumbprints: answer.ThumbprintList,
	}, true, nil
}

// ProviderARNs lists the account's OIDC providers.
func (c *IAM) ProviderARNs(ctx context.Context) ([]string, error) {
	answer, err := c.client.ListOpenIDConnectProviders(ctx, &iam.ListOpenIDConnectProvidersInput{})
	if err != nil {
		return nil, classify(err)
	}
	var arns []string
	for _, one := range answer.OpenIDConnectProviderList {
		arns = append(arns, aws.ToString(one.Arn))
	}
	return arns, nil
}

// RolesTrusting returns the names of the account's roles whose trust policy names
// a principal, as it is written in policies.
func (c *IAM) RolesTrusting(ctx context.Context, principal string) ([]string, error) {
	var names []string
	pages := iam.NewListRolesPaginator(c.client, &iam.ListRolesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, classify(err)
		}
		for _, role := range page.Roles {
			policy, err := url.PathUnescape(aws.ToString(role.AssumeRolePolicyDocument))
			if err == nil && strings.Contains(policy, `"`+principal+`"`) {
				names = append(names, aws.ToString(role.RoleName))
			}
		}
	}
	return names, nil
}

// RoleTrust returns the ARN and the trust policy, as JSON, of the role with a
// name in the account; found is false if there is none. Names are unique in an
// account whatever their path, so the ARN may have a different path than
// expected.
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

// RolePolicies returns the role's inline policies and the customer managed ones that are
// attached to it, as JSON. Those of AWS are left out: they name no roles of the account.
func (c *IAM) RolePolicies(ctx context.Context, name string) (documents []string, err error) {
	add := func(document *string) error {
		text, err := url.PathUnescape(aws.ToString(document))
		documents = append(documents, text)
		return err
	}
	inline := iam.NewListRolePoliciesPaginator(c.client, &iam.ListRolePoliciesInput{RoleName: aws.String(name)})
	for inline.HasMorePages() {
		page, err := inline.NextPage(ctx)
		if err != nil {
			return nil, classify(err)
		}
		for _, policy := range page.PolicyNames {
			got, err := c.client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{
				RoleName: aws.String(name), PolicyName: aws.String(policy),
			})
			if err != nil {
				return nil, classify(err)
			}
			if err := add(got.PolicyDocument); err != nil {
				return nil, err
			}
		}
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(c.client,
		&iam.ListAttachedRolePoliciesInput{RoleName: aws.String(name)})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return nil, classify(err)
		}
		for _, policy := range page.AttachedPolicies {
			if strings.Contains(aws.ToString(policy.PolicyArn), ":iam::aws:policy/") {
				continue
			}
			text, err := c.managedPolicy(ctx, policy.PolicyArn)
			if err != nil {
				return nil, err
			}
			if err := add(text); err != nil {
				return nil, err
			}
		}
	}
	return documents, nil
}

// managedPolicy is the default version of a policy, encoded.
func (c *IAM) managedPolicy(ctx context.Context, policy *string) (*string, error) {
	described, err := c.client.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: policy})
	if err != nil {
		return nil, classify(err)
	}
	got, err := c.client.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{
		PolicyArn: policy, VersionId: described.Policy.DefaultVersionId,
	})
	if err != nil {
		return nil, classify(err)
	}
	return got.PolicyVersion.Document, nil
}
