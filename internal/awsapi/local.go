package awsapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
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

// PutLocalObject makes a bucket with an object in it at a local AWS.
func PutLocalObject(
	ctx context.Context, endpoint, region string, own credential.AWS, bucket, key, content string,
) error {
	client := s3.New(s3.Options{
		Region: region, BaseEndpoint: aws.String(endpoint), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(
			own.AccessKeyID, own.SecretKey.Reveal(), own.SessionToken.Reveal(),
		),
	})
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return classify(err)
	}
	_, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: strings.NewReader(content),
		ContentType: aws.String("text/plain"),
	})
	return classify(err)
}
