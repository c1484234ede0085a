package awsapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// GroupUser is a user whom IAM names as a member of a group.
type GroupUser struct{ ID, ARN string }

// GroupPage is one page of the members of an IAM group.
type GroupPage struct {
	// Name, ID and ARN are the group's.
	Name, ID, ARN string
	Users         []GroupUser
	// More says that there are further members, which Marker asks for.
	More   bool
	Marker string
}

// Groups reads IAM groups of one account. Each call is one attempt, so that the caller
// can count and pace the calls.
type Groups struct {
	iam *iam.Client
	sts *sts.Client
	// own are the environment's credentials, and used those that calls are signed with.
	own, used aws.CredentialsProvider
}

// groupsDial bounds the making of a connection; groupPage is the most that IAM gives at once.
const (
	groupsDial = 3 * time.Second
	groupPage  = 1000
)

// OpenGroups reads the SDK's configuration and makes no call. If a role is named, its
// credentials are used, which the environment's get.
func OpenGroups(ctx context.Context, roleARN string) (*Groups, error) {
	transport := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = groupsDial }).
		WithTransportOptions(func(t *http.Transport) { noticesDead(t, awsHandshake) })
	loaded, err := load(ctx, config.WithHTTPClient(transport))
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		loaded.Region = "us-east-1" // IAM's and the global STS's own
	}
	once := aws.NopRetryer{}
	loaded.Retryer = func() aws.Retryer { return once }
	own := loaded.Credentials
	if roleARN != "" {
		assumed := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(loaded), roleARN,
			func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "rolecall-groups" })
		loaded.Credentials = aws.NewCredentialsCache(assumed)
	}
	return &Groups{iam.NewFromConfig(loaded), sts.NewFromConfig(loaded), own, loaded.Credentials}, nil
}

// ready gets credentials where there are none that are fresh. Errors wrap ErrNoCredentials
// if the environment has none, and are those of AssumeRole if a role is not to be had.
func (g *Groups) ready(ctx context.Context) error {
	if g.own == nil {
		return ErrNoCredentials
	}
	if _, err := g.own.Retrieve(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	_, err := g.used.Retrieve(ctx)
	return classify(err)
}

// Identity asks STS who the credentials are.
func (g *Groups) Identity(ctx context.Context) (Identity, error) {
	if err := g.ready(ctx); err != nil {
		return Identity{}, err
	}
	answer, err := g.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, classify(err)
	}
	return Identity{
		ARN: aws.ToString(answer.Arn), UserID: aws.ToString(answer.UserId), Account: aws.ToString(answer.Account),
	}, nil
}

// Page reads the members of a group, from a marker on.
func (g *Groups) Page(ctx context.Context, group, marker string) (GroupPage, error) {
	if err := g.ready(ctx); err != nil {
		return GroupPage{}, err
	}
	answer, err := g.iam.GetGroup(ctx, &iam.GetGroupInput{
		GroupName: aws.String(group), Marker: present(marker), MaxItems: aws.Int32(groupPage),
	})
	if err != nil {
		return GroupPage{}, classify(err)
	}
	if answer.Group == nil {
		return GroupPage{}, fmt.Errorf("%w: IAM left out the group", ErrUnusable)
	}
	page := GroupPage{
		Name: aws.ToString(answer.Group.GroupName), ID: aws.ToString(answer.Group.GroupId),
		ARN: aws.ToString(answer.Group.Arn), More: answer.IsTruncated, Marker: aws.ToString(answer.Marker),
	}
	for i := range answer.Users {
		page.Users = append(page.Users, GroupUser{
			ID: aws.ToString(answer.Users[i].UserId), ARN: aws.ToString(answer.Users[i].Arn),
		})
	}
	return page, nil
}
