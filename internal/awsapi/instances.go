package awsapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/build"
	"github.com/rolecall/rolecall/internal/fault"
)

// Instances asks EC2 for the private DNS names of instances. It makes one kind of call, by
// hand: the SDK's client of EC2 is larger than the rest of this program.
type Instances struct {
	region, endpoint string
	credentials      aws.CredentialsProvider
	client           aws.HTTPClient
	now              func() time.Time
}

// InstancesConfig says whose instances they are.
type InstancesConfig struct {
	// Region is where they are; what the SDK finds if empty.
	Region string
	// Endpoint is EC2's; else AWS_ENDPOINT_URL_EC2 and the other places where the SDK
	// looks, then the region's own.
	Endpoint string
	// Role, if not empty, is assumed to ask. Source is the ARN for whose sake: a role may
	// insist on it, so that nobody else has this process ask.
	Role, Source string
	Now          func() time.Time
}

const (
	instancesTotal = 10 * time.Second
	instancesMost  = 8 << 20
	roleSessionFor = time.Hour
	ec2Version     = "2016-11-15"
)

// NewInstances reads the SDK's configuration and makes no call.
func NewInstances(ctx context.Context, c InstancesConfig) (*Instances, error) {
	transport := awshttp.NewBuildableClient().
		WithTransportOptions(func(t *http.Transport) { noticesDead(t, awsHandshake) })
	loaded, err := fromEverywhere(ctx, transport, c.Region)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if loaded.Region == "" {
		return nil, fault.New(fault.Usage, "no region to find EC2 in").Hint("set AWS_REGION")
	}
	endpoint, err := configuredEndpoint(ctx, "EC2", c.Endpoint, loaded)
	if err != nil {
		return nil, err
	}
	if endpoint == "" {
		endpoint = "https://ec2." + loaded.Region + "." + arn.Suffix(arn.PartitionOf(loaded.Region))
	}
	if !isPrivate(endpoint) {
		return nil, errors.New("the endpoint of EC2 must be https, or http on loopback")
	}
	i := &Instances{
		region: loaded.Region, endpoint: endpoint, credentials: loaded.Credentials, client: loaded.HTTPClient, now: c.Now,
	}
	if c.Role != "" {
		i.credentials = aws.NewCredentialsCache(assumed(loaded, c.Role, c.Source))
	}
	return i, nil
}

// assumed are the credentials of a role, with the source of the request for its trust.
func assumed(loaded aws.Config, role, source string) aws.CredentialsProvider {
	client := sts.NewFromConfig(loaded, func(o *sts.Options) {
		if source == "" {
			return
		}
		o.APIOptions = append(slices.Clone(o.APIOptions), func(stack *middleware.Stack) error {
			return stack.Build.Add(middleware.BuildMiddlewareFunc("RolecallSource", func(
				ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler,
			) (middleware.BuildOutput, middleware.Metadata, error) {
				if request, ok := in.Request.(*smithyhttp.Request); ok {
					request.Header.Set("x-amz-source-arn", source)
					if named, err := arn.Parse(source); err == nil {
						request.Header.Set("x-amz-source-account", named.Account)
					}
				}
				return next.HandleBuild(ctx, in)
			}), middleware.After)
		})
	})
	return stscreds.NewAssumeRoleProvider(client, role, func(o *stscreds.AssumeRoleOptions) {
		o.Duration, o.RoleSessionName = roleSessionFor, "rolecall-authenticator"
	})
}

// Names returns the private DNS names of those of the instances that there are: one that
// has ended has none. Ids that EC2 does not know keep nobody else from having theirs.
func (i *Instances) Names(ctx context.Context, ids []string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, instancesTotal)
	defer cancel()
	ids = slices.Clone(ids)
	names := map[string]string{}
	for len(ids) > 0 {
		err := i.describe(ctx, ids, names)
		if err == nil {
			return names, nil
		}
		unknown, ok := errors.AsType[*ec2Error](err)
		if !ok || !strings.HasPrefix(unknown.Code, "InvalidInstanceID.") {
			return nil, err
		}
		said := strings.FieldsFunc(unknown.Message, func(r rune) bool { return strings.ContainsRune(" ',", r) })
		known := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(said, id) })
		if len(known) == len(ids) { // it does not say which: one by one
			if len(ids) == 1 {
				return names, nil
			}
			return names, i.oneByOne(ctx, ids, names)
		}
		ids = known
	}
	return names, nil
}

func (i *Instances) oneByOne(ctx context.Context, ids []string, names map[string]string) error {
	for _, id := range ids {
		one, err := i.Names(ctx, []string{id})
		if err != nil {
			return err
		}
		if name := one[id]; name != "" {
			names[id] = name
		}
	}
	return nil
}

// ec2Error is a refusal of EC2.
type ec2Error struct{ Code, Message string }

// Error is code and message.
func (e *ec2Error) Error() string { return e.Code + ": " + e.Message }

func (i *Instances) describe(ctx context.Context, ids []string, names map[string]string) error {
	form := url.Values{"Action": {"DescribeInstances"}, "Version": {ec2Version}}
	for n, id := range ids {
		form.Set("InstanceId."+strconv.Itoa(n+1), id)
	}
	for {
		page, err := i.ask(ctx, form)
		if err != nil {
			return err
		}
		for _, reservation := range page.Reservations {
			for _, one := range reservation.Instances {
				if one.Name != "" && slices.Contains(ids, one.ID) {
					names[one.ID] = one.Name
				}
			}
		}
		if page.NextToken == "" {
			return nil
		}
		form.Set("NextToken", page.NextToken)
	}
}

type describedInstances struct {
	Reservations []struct {
		Instances []struct {
			ID   string `xml:"instanceId"`
			Name string `xml:"privateDnsName"`
		} `xml:"instancesSet>item"`
	} `xml:"reservationSet>item"`
	NextToken string `xml:"nextToken"`
}

func (i *Instances) ask(ctx context.Context, form url.Values) (*describedInstances, error) {
	own, err := i.credentials.Retrieve(ctx)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "no credentials to ask EC2 with: %w", err)
	}
	body := form.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.endpoint+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	request.Header.Set(userAgent, build.UserAgent())
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, own, request, hex.EncodeToString(sum[:]), "ec2", i.region, i.now()); err != nil {
		return nil, err
	}
	response, err := i.client.Do(request)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "ask EC2: %w", withoutURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, instancesMost))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "ask EC2: %w", withoutURL(err))
	}
	if response.StatusCode != http.StatusOK {
		return nil, refusedByEC2(response.StatusCode, text)
	}
	page := &describedInstances{}
	if err := xml.Unmarshal(text, page); err != nil {
		return nil, fault.New(fault.Unavailable, "the answer of EC2 is not XML: %w", err)
	}
	return page, nil
}

func refusedByEC2(status int, text []byte) error {
	var said struct {
		Errors []ec2Error `xml:"Errors>Error"`
	}
	if err := xml.Unmarshal(text, &said); err != nil || len(said.Errors) == 0 {
		return fault.New(fault.Unavailable, "EC2 answered with status %d", status)
	}
	refused := &said.Errors[0]
	kind := fault.Unavailable
	switch {
	case refused.Code == "RequestLimitExceeded" || refused.Code == "Throttling":
		kind = fault.Throttled
	case status == http.StatusForbidden || refused.Code == "UnauthorizedOperation":
		return fault.New(fault.Denied, "EC2 refuses: %w", refused).
			Hint("let the authenticator's identity use ec2:DescribeInstances")
	}
	return fault.New(kind, "EC2 refuses: %w", refused)
}
