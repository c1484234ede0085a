// Package accounts does what an issuer needs in AWS accounts: its bucket, its OIDC
// providers in IAM, and STS's word on a token. Each account is reached with the
// credentials of the environment, or by a role that they assume.
//
// It does not write what is published (that is store's), and has no rule of its own about
// what is right: it asks and it makes.
package accounts

import (
	"context"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/store"
)

// Bucket opens what is published in S3.
func Bucket(ctx context.Context, target *v1alpha1.S3Target) (store.Store, error) {
	return openBucket(ctx, target)
}

// openBucket opens a bucket that the account owns which the target names, or that of the
// credentials.
func openBucket(ctx context.Context, target *v1alpha1.S3Target) (*awsapi.Bucket, error) {
	account, err := awsapi.OpenAccount(ctx, target.Region, "")
	if err != nil {
		return nil, err
	}
	owner := target.Owner
	if owner == "" {
		identity, err := account.Identity(ctx)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "ask AWS whose account it is, which must own bucket %s: %w",
				target.Bucket, err).Hint("give AWS credentials, or name the account that owns it: owner in issuer.yaml, " +
				"--bucket-owner")
		}
		owner = identity.Account
	}
	return account.Bucket(target.Bucket, target.Prefix, owner), nil
}

// EnsureProvider makes the issuer's OIDC provider in one account, or adds the audiences
// that it lacks, and returns its ARN.
func EnsureProvider(ctx context.Context, url string, wanted v1alpha1.IAMProvider) (string, error) {
	account, err := awsapi.OpenAccount(ctx, "", wanted.RoleARN)
	if err != nil {
		return "", err
	}
	_, provider, err := account.ProviderARN(ctx, url)
	if err != nil {
		return "", fault.New(fault.Unavailable, "ask AWS whose account it is: %w", err)
	}
	err = account.IAM().EnsureProvider(ctx, url, provider, wanted.ClientIDs, wanted.Thumbprints...)
	if err != nil {
		return "", fault.New(fault.Denied, "make the provider: %w", err)
	}
	return provider, nil
}

// Providers asks IAM in each account that a spec names, in the credentials' own if it
// names none. What cannot be asked is told by Err, for findings.
func Providers(ctx context.Context, spec *v1alpha1.IssuerSpec) []inspect.Provider {
	wanted := spec.Providers
	if len(wanted) == 0 {
		wanted = []v1alpha1.IAMProvider{{}}
	}
	found := make([]inspect.Provider, 0, len(wanted))
	for _, one := range wanted {
		provider, err := askProvider(ctx, spec.URL, one.RoleARN)
		if err != nil {
			provider.Err = err.Error()
		}
		if provider.Account == "" {
			provider.Account = "of these credentials"
		}
		found = append(found, provider)
	}
	return found
}

func askProvider(ctx context.Context, url, through string) (inspect.Provider, error) {
	var provider inspect.Provider
	account, err := awsapi.OpenAccount(ctx, "", through)
	if err != nil {
		return provider, err
	}
	if provider.Account, provider.ARN, err = account.ProviderARN(ctx, url); err != nil {
		return provider, err
	}
	got, there, err := account.IAM().Provider(ctx, provider.ARN)
	if err != nil {
		return provider, err
	}
	if there {
		provider.URL, provider.ClientIDs, provider.Thumbprints = got.URL, got.ClientIDs, got.Thumbprints
		return provider, nil
	}
	arns, err := account.IAM().ProviderARNs(ctx)
	for _, other := range arns {
		_, near, _ := strings.Cut(other, ":oidc-provider/")
		provider.Near = append(provider.Near, near)
	}
	return provider, err
}

// Trusting returns the names of the roles that trust the issuer in the account of one of
// its providers.
func Trusting(ctx context.Context, url string, of v1alpha1.IAMProvider) ([]string, error) {
	account, err := awsapi.OpenAccount(ctx, "", of.RoleARN)
	if err != nil {
		return nil, err
	}
	_, provider, err := account.ProviderARN(ctx, url)
	if err != nil {
		return nil, err
	}
	return account.IAM().RolesTrusting(ctx, provider)
}

// Exchange offers a token to STS and drops what it gets: whether it is accepted is all
// that is wanted.
func Exchange(ctx context.Context, roleARN string, signed credential.Secret) error {
	account, err := awsapi.OpenAccount(ctx, "", "")
	if err != nil {
		return err
	}
	return account.Exchange(ctx, roleARN, signed)
}
