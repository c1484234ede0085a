package awsapi

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go/logging"

	"github.com/rolecall/rolecall/internal/credential"
)

// Roles assumes roles for others. Each call is one attempt, so that the caller can
// count and pace the calls to STS.
type Roles struct {
	client *sts.Client
	own    aws.CredentialsProvider
}

// RolesConfig says which STS to ask.
type RolesConfig struct {
	// Region whose STS is asked; else the SDK's.
	Region string
	// Endpoint of STS, instead of the one of the SDK's configuration; empty for
	// that one.
	Endpoint string
	// Own lets roles be assumed with this process's own identity, whatever the SDK
	// finds. Without it the SDK does not look: no file is read, and the instance's
	// metadata are not asked.
	Own bool
}

const (
	rolesDial = 500 * time.Millisecond
	rolesIdle = 64
)

// NewRoles reads the SDK's configuration, without Own only that in the environment, and
// makes no call. A region is needed: roles are assumed at a regional endpoint.
func NewRoles(ctx context.Context, c RolesConfig) (*Roles, error) {
	transport := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = rolesDial }).
		WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = rolesIdle; noticesDead(t, awsHandshake) })
	from := fromEnvironment
	if c.Own {
		from = fromEverywhere
	}
	loaded, err := from(ctx, transport, c.Region)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		return nil, errors.New("no region to find an STS endpoint in")
	}
	client := sts.NewFromConfig(loaded, func(o *sts.Options) {
		o.Retryer = aws.NopRetryer{}
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
	})
	return &Roles{client: client, own: loaded.Credentials}, nil
}

// fromEverywhere is the SDK's whole configuration, with the credentials that it finds.
func fromEverywhere(ctx context.Context, transport *awshttp.BuildableClient, region string) (aws.Config, error) {
	return load(ctx, config.WithHTTPClient(transport), config.WithRegion(region),
		config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = ownRefresh }))
}

// fromEnvironment is what the environment says of endpoints, and no credentials: the
// SDK's loader would read the files of profiles, too.
func fromEnvironment(_ context.Context, transport *awshttp.BuildableClient, region string) (aws.Config, error) {
	said, err := config.NewEnvConfig()
	if err != nil {
		return aws.Config{}, err
	}
	loaded := aws.Config{
		Region: cmp.Or(region, said.Region), ConfigSources: []any{said}, Logger: logging.Nop{},
		APIOptions: saysWho,
	}
	if ignored := said.IgnoreConfiguredEndpoints; said.BaseEndpoint != "" && (ignored == nil || !*ignored) {
		loaded.BaseEndpoint = aws.String(said.BaseEndpoint)
	}
	if said.CustomCABundle != "" {
		text, err := os.ReadFile(said.CustomCABundle)
		if err != nil {
			return aws.Config{}, err
		}
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(text) {
			return aws.Config{}, fmt.Errorf("%s, which AWS_CA_BUNDLE names, holds no certificate", said.CustomCABundle)
		}
		transport = transport.WithTransportOptions(func(t *http.Transport) { t.TLSClientConfig.RootCAs = authorities })
	}
	loaded.HTTPClient = transport
	return loaded, nil
}

// Tag is a session tag.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// RoleRequest is what STS is asked for. Empty fields are not sent.
type RoleRequest struct {
	RoleARN, SessionName string
	Duration             time.Duration
	Policy               string // session policy, JSON
	// The rest is of AssumeRole only.
	ExternalID, SourceIdentity string
	// Tags are sent as transitive unless they are Local.
	Tags  []Tag
	Local bool
	// As signs the call; nil means this process's own identity.
	As *credential.AWS
}

// RoleSession is what STS answered.
type RoleSession struct {
	Credentials credential.AWS
	// ARN is arn:PARTITION:sts::ACCOUNT:assumed-role/ROLE/SESSION; ID is AROA…:SESSION.
	ARN, ID string
	// PackedPolicySize is in per cent; 0 if STS did not say.
	PackedPolicySize int
	RequestID        string
}

// WithWebIdentity assumes a role with a web-identity token. Nothing is signed, and
// no credentials of our own are loaded.
func (r *Roles) WithWebIdentity(ctx context.Context, q RoleRequest, token credential.Secret) (*RoleSession, error) {
	input := &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          aws.String(q.RoleARN),
		RoleSessionName:  aws.String(q.SessionName),
		WebIdentityToken: aws.String(token.Reveal()),
		DurationSeconds:  seconds(q.Duration),
		Policy:           present(q.Policy),
	}
	answer, err := r.client.AssumeRoleWithWebIdentity(ctx, input)
	if err != nil {
		return nil, classify(err)
	}
	id, _ := awsmiddleware.GetRequestIDMetadata(answer.ResultMetadata)
	return roleSession(
		answer.Credentials, answer.AssumedRoleUser,
		answer.PackedPolicySize, //nolint:staticcheck // STS refuses with it
		id,
	)
}

// Assume assumes a role with credentials.
func (r *Roles) Assume(ctx context.Context, q RoleRequest) (*RoleSession, error) {
	if q.As == nil && r.own == nil {
		return nil, ErrNoCredentials
	}
	input := &sts.AssumeRoleInput{
		RoleArn:         aws.String(q.RoleARN),
		RoleSessionName: aws.String(q.SessionName),
		DurationSeconds: seconds(q.Duration),
		Policy:          present(q.Policy),
		ExternalId:      present(q.ExternalID),
		SourceIdentity:  present(q.SourceIdentity),
	}
	for _, tag := range q.Tags {
		input.Tags = append(input.Tags, types.Tag{Key: aws.String(tag.Key), Value: aws.String(tag.Value)})
		if !q.Local {
			input.TransitiveTagKeys = append(input.TransitiveTagKeys, tag.Key)
		}
	}
	answer, err := r.client.AssumeRole(ctx, input, func(o *sts.Options) {
		if q.As != nil {
			o.Credentials = credentials.NewStaticCredentialsProvider(
				q.As.AccessKeyID, q.As.SecretKey.Reveal(), q.As.SessionToken.Reveal(),
			)
		}
	})
	if err != nil {
		return nil, classify(err)
	}
	id, _ := awsmiddleware.GetRequestIDMetadata(answer.ResultMetadata)
	return roleSession(
		answer.Credentials, answer.AssumedRoleUser,
		answer.PackedPolicySize, //nolint:staticcheck // STS refuses with it
		id,
	)
}

// Own fetches this process's own credentials, and reports whether they are a
// session's: assuming a role with a session is role chaining. Errors wrap
// ErrNoCredentials.
func (r *Roles) Own(ctx context.Context) (isSession bool, err error) {
	if r.own == nil {
		return false, ErrNoCredentials
	}
	found, err := r.own.Retrieve(ctx)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	return found.SessionToken != "", nil
}

// Identity asks STS who this process is.
func (r *Roles) Identity(ctx context.Context) (Identity, error) {
	answer, err := r.client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, classify(err)
	}
	return Identity{
		ARN:     aws.ToString(answer.Arn),
		UserID:  aws.ToString(answer.UserId),
		Account: aws.ToString(answer.Account),
	}, nil
}

func roleSession(
	c *types.Credentials, user *types.AssumedRoleUser, packed *int32, requestID string,
) (*RoleSession, error) {
	if c == nil || user == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" ||
		aws.ToString(c.SessionToken) == "" || c.Expiration == nil || aws.ToString(user.Arn) == "" {
		return nil, fmt.Errorf("%w: STS left out a field", ErrUnusable)
	}
	return &RoleSession{
		Credentials: credential.AWS{
			AccessKeyID: *c.AccessKeyId, SecretKey: credential.NewSecret(*c.SecretAccessKey),
			SessionToken: credential.NewSecret(*c.SessionToken), Expires: c.Expiration.UTC(),
		},
		ARN:              *user.Arn,
		ID:               aws.ToString(user.AssumedRoleId),
		PackedPolicySize: int(aws.ToInt32(packed)),
		RequestID:        requestID,
	}, nil
}

func seconds(d time.Duration) *int32 {
	if d <= 0 {
		return nil
	}
	return aws.Int32(int32(d / time.Second))
}

func present(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
