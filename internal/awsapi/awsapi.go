// Package awsapi is the only place that calls AWS through its SDK. It takes and
// returns plain values, so that nothing else depends on the SDK's types.
//
// It has no rules of its own: what AWS, or local AWS, answers is passed on,
// errors as *Error.
package awsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/rolecall/rolecall/internal/credential"
)

// Error is what AWS answered instead of a result.
type Error struct {
	Operation string // service: Operation, as the SDK names it
	Code      string // AWS's error code
	Status    int    // HTTP status
	Message   string
	RequestID string
	// RetryAfter is how long AWS asked to wait; 0 if it did not.
	RetryAfter time.Duration
}

// ContainerCredentials is the Operation of an error that came from the agent at
// AWS_CONTAINER_CREDENTIALS_FULL_URI.
const ContainerCredentials = "container credentials"

// Error reads like the AWS CLI's error line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (%d): %s", e.Operation, e.Code, e.Status, e.Message)
}

// Identity is who AWS says the caller is.
type Identity struct {
	ARN     string `json:"Arn"`
	UserID  string `json:"UserId"`
	Account string `json:"Account"`
}

// CallerIdentity asks STS with whatever credentials and endpoints the SDK finds
// in its environment, as a program in a pod would.
func CallerIdentity(ctx context.Context) (Identity, error) { return ProfileIdentity(ctx, "") }

// ProfileIdentity is CallerIdentity by a profile of the shared configuration, if one is
// named.
func ProfileIdentity(ctx context.Context, profile string) (Identity, error) {
	var options []func(*config.LoadOptions) error
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	loaded, err := load(ctx, options...)
	if err != nil {
		return Identity{}, fmt.Errorf("load AWS configuration: %w", err)
	}
	answer, err := sts.NewFromConfig(loaded).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, classify(err)
	}
	return Identity{
		ARN:     aws.ToString(answer.Arn),
		UserID:  aws.ToString(answer.UserId),
		Account: aws.ToString(answer.Account),
	}, nil
}

// IAM administers roles and OIDC providers.
type IAM struct{ client *iam.Client }

// NewIAM returns a client for one endpoint with fixed credentials.
func NewIAM(endpoint, region string, creds credential.AWS) *IAM {
	return &IAM{iam.New(iam.Options{
		APIOptions:   saysWho,
		BaseEndpoint: aws.String(endpoint),
		Region:       region,
		Credentials: credentials.NewStaticCredentialsProvider(
			creds.AccessKeyID, creds.SecretKey.Reveal(), creds.SessionToken.Reveal()),
	})}
}

// EnsureProvider creates the OIDC provider of an issuer unless it exists, and
// adds audiences it lacks. arn is the provider's. Thumbprints are for
// certificates that are not publicly trusted; an existing provider keeps its
// own.
func (c *IAM) EnsureProvider(ctx context.Context, issuer, arn string, audiences []string, thumbprints ...string) error {
	_, err := c.client.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{
		Url: aws.String(issuer), ClientIDList: audiences, ThumbprintList: thumbprints,
	})
	if _, exists := errors.AsType[*iamtypes.EntityAlreadyExistsException](err); !exists {
		return classify(err)
	}
	there, _, err := c.Provider(ctx, arn)
	if err != nil {
		return err
	}
	for _, audience := range audiences {
		if slices.Contains(there.ClientIDs, audience) {
			continue
		}
		if _, err := c.client.AddClientIDToOpenIDConnectProvider(ctx, &iam.AddClientIDToOpenIDConnectProviderInput{
			OpenIDConnectProviderArn: aws.String(arn), ClientID: aws.String(audience),
		}); err != nil {
			return classify(err)
		}
	}
	return nil
}

// EnsureRole creates a role with a trust policy; an existing role stays as it
// is. It returns the role's ARN.
func (c *IAM) EnsureRole(ctx context.Context, name, trust, description string) (string, error) {
	got, err := c.client.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)})
	if err == nil {
		return aws.ToString(got.Role.Arn), nil
	}
	if _, absent := errors.AsType[*iamtypes.NoSuchEntityException](err); !absent {
		return "", classify(err)
	}
	created, err := c.client.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: aws.String(name), AssumeRolePolicyDocument: aws.String(trust), Description: aws.String(description),
	})
	if err != nil {
		return "", classify(err)
	}
	return aws.ToString(created.Role.Arn), nil
}

// Trust returns a role's trust policy as IAM holds it, percent-encoded.
func (c *IAM) Trust(ctx context.Context, role string) (string, error) {
	got, err := c.client.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(role)})
	if err != nil {
		return "", classify(err)
	}
	return aws.ToString(got.Role.AssumeRolePolicyDocument), nil
}

// SetTrust replaces a role's trust policy.
func (c *IAM) SetTrust(ctx context.Context, role, trust string) error {
	_, err := c.client.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{
		RoleName: aws.String(role), PolicyDocument: aws.String(trust),
	})
	return classify(err)
}

// classify turns an answer of AWS into an *Error; other failures stay as they
// are.
func classify(err error) error {
	api, isAPI := errors.AsType[smithy.APIError](err)
	if !isAPI {
		return err
	}
	answer := &Error{Code: api.ErrorCode(), Message: api.ErrorMessage()}
	if response, found := errors.AsType[*awshttp.ResponseError](err); found {
		answer.Status = response.HTTPStatusCode()
		answer.RequestID = response.ServiceRequestID()
	}
	// The innermost operation is the one that was refused: the error of
	// fetching credentials is wrapped in that of the call they were for.
	next := errors.AsType[*smithy.OperationError]
	for op, found := next(err); found; op, found = next(op.Err) {
		answer.Operation = op.Service() + ": " + op.Operation()
	}
	// The agent that the container's credentials come from is not an AWS service, and
	// its errors belong to no operation: the type is the SDK's own, and has a status.
	if agent, found := errors.AsType[interface {
		smithy.APIError
		HTTPStatusCode() int
	}](err); found {
		answer.Operation, answer.Status = ContainerCredentials, agent.HTTPStatusCode()
	}
	return answer
}
