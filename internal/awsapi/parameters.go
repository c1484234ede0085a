package awsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/rolecall/rolecall/internal/credential"
)

// Parameters are those of SSM's parameter store, as one principal sees them. It
// reads nothing from the environment.
type Parameters struct{ client *ssm.Client }

// NewParameters returns the parameters at an endpoint, for the principal of the
// credentials.
func NewParameters(endpoint, region string, as credential.AWS) *Parameters {
	return &Parameters{ssm.New(ssm.Options{
		Region: region, BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(as.AccessKeyID, as.SecretKey.Reveal(), as.SessionToken.Reveal()),
	})}
}

// Create makes a parameter with one tag; one that exists already is an *Error.
func (p *Parameters) Create(ctx context.Context, name, value, tag, tagValue string) error {
	_, err := p.client.PutParameter(ctx, &ssm.PutParameterInput{
		Name: aws.String(name), Value: aws.String(value), Type: types.ParameterTypeString,
		Tags: []types.Tag{{Key: aws.String(tag), Value: aws.String(tagValue)}},
	})
	if err != nil {
		return classify(err)
	}
	return nil
}

// Get returns a parameter's value.
func (p *Parameters) Get(ctx context.Context, name string) (string, error) {
	got, err := p.client.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	if err != nil {
		return "", classify(err)
	}
	return aws.ToString(got.Parameter.Value), nil
}
