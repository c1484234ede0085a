package awsapi

import (
	"context"

	"github.com/rolecall/rolecall/internal/arn"
)

// ProviderARN asks STS which account a is, and returns its number and the ARN that an
// issuer URL's OIDC provider has there.
func (a *Account) ProviderARN(ctx context.Context, url string) (id, provider string, err error) {
	who, err := a.Identity(ctx)
	if err != nil {
		return "", "", err
	}
	partition := "aws"
	if parsed, err := arn.Parse(who.ARN); err == nil {
		partition = parsed.Partition
	}
	return who.Account, arn.OIDCProvider(partition, who.Account, url).String(), nil
}
