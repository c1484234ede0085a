package issuer

import (
	"context"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/issuer"
)

// AWSFromEnvironment is AWS, reached with the credentials of the process environment.
type AWSFromEnvironment struct{}

// Store opens a bucket.
func (AWSFromEnvironment) Store(ctx context.Context, target *v1alpha1.S3Target) (issuer.Store, error) {
	account, err := awsapi.OpenAccount(ctx, target.Region, "")
	if err != nil {
		return nil, err
	}
	return account.Bucket(target.Bucket, target.Prefix), nil
}

// EnsureProvider makes or completes the provider in one account.
func (AWSFromEnvironment) EnsureProvider(ctx context.Context, url string, one v1alpha1.IAMProvider) (string, error) {
	account, err := awsapi.OpenAccount(ctx, "", one.RoleARN)
	if err != nil {
		return "", err
	}
	_, provider, err := account.ProviderARN(ctx, url)
	if err != nil {
		return "", err
	}
	return provider, account.IAM().EnsureProvider(ctx, url, provider, one.ClientIDs, one.Thumbprints...)
}

// Exchange offers a token to STS.
func (AWSFromEnvironment) Exchange(ctx context.Context, roleARN string, token credential.Secret) error {
	account, err := awsapi.OpenAccount(ctx, "", "")
	if err != nil {
		return err
	}
	return account.Exchange(ctx, roleARN, token)
}
