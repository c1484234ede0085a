package awsapi

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rolecall/rolecall/internal/credential"
)

// These clients read neither the environment nor the user's AWS configuration:
// they are for planes of one process, which have an AWS of their own.

// NewLocalRoles assumes roles at a local AWS, as one of its principals.
func NewLocalRoles(endpoint, region string, own credential.AWS) *Roles {
	provider := credentials.NewStaticCredentialsProvider(
		own.AccessKeyID, own.SecretKey.Reveal(), own.SessionToken.Reveal(),
	)
	return &Roles{own: provider, client: sts.New(sts.Options{
		Region: region, BaseEndpoint: aws.String(endpoint), Credentials: provider, Retryer: aws.NopRetryer{},
		APIOptions: saysWho,
	})}
}

// NewLocalBroker asks a broker of the same machine. bearer makes the agent's own
// token for each call.
func NewLocalBroker(endpoint string, bearer func() (credential.Secret, error), now func() time.Time) *EKSAuth {
	own := func(context.Context) (credential.Secret, error) { return bearer() }
	return &EKSAuth{
		endpoint:  endpoint,
		transport: &http.Transport{MaxIdleConnsPerHost: eksAuthIdle, IdleConnTimeout: eksAuthIdlePeriod},
		bearer:    own,
		now:       now,
	}
}
