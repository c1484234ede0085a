package awsapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/credential"
)

// clusterTokens makes presigned GetCallerIdentity tokens for a cluster with the
// credentials of this process (spec authenticator §2).
type clusterTokens struct {
	cluster, region, host string
	credentials           aws.CredentialsProvider
	now                   func() time.Time

	mu     sync.Mutex
	last   credential.Secret
	keyID  string // whose it is
	signed time.Time
}

// tokenSlack is how much of its advertised life a token must have left to be used
// again.
const tokenSlack = time.Minute

// newClusterTokens makes tokens for the regional STS, by the SDK's rules for
// partitions, FIPS and dual stack. Configured endpoints are ignored: the token
// names AWS's own host, wherever it is verified.
func newClusterTokens(
	ctx context.Context, cluster string, loaded aws.Config, provider aws.CredentialsProvider, now func() time.Time,
) (*clusterTokens, error) {
	host, err := stsHost(ctx, loaded)
	if err != nil {
		return nil, err
	}
	return &clusterTokens{
		cluster:     cluster,
		region:      signingRegion(host, loaded.Region),
		host:        host,
		credentials: provider,
		now:         now,
	}, nil
}

// stsHost is the host of a region's STS, by the SDK's rules.
func stsHost(ctx context.Context, loaded aws.Config) (string, error) {
	options := sts.NewFromConfig(loaded).Options()
	found, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sts.EndpointParameters{
		Region:       aws.String(loaded.Region),
		UseFIPS:      aws.Bool(options.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		UseDualStack: aws.Bool(options.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
	})
	if err != nil {
		return "", fmt.Errorf("find the STS of region %q: %w", loaded.Region, err)
	}
	return found.URI.Host, nil
}

// signingRegion is the region that a host of STS wants in signatures.
func signingRegion(host, region string) string {
	if host == "sts.amazonaws.com" { // that of the region aws-global
		return "us-east-1"
	}
	return region
}

// token returns the last one while it is valid and the credentials are the same or
// unavailable at the moment.
func (c *clusterTokens) token(ctx context.Context) (credential.Secret, error) {
	own, err := c.credentials.Retrieve(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	isGood := !now.Before(c.signed) && now.Before(c.signed.Add(callerid.Advertised-tokenSlack))
	switch {
	case isGood && (err != nil || c.keyID == own.AccessKeyID):
		return c.last, nil
	case err != nil:
		return credential.Secret{}, err
	}
	made, err := presignCallerIdentity(ctx, own, c.host, c.region, c.cluster, now)
	if err != nil {
		return credential.Secret{}, err
	}
	c.last, c.keyID, c.signed = made, own.AccessKeyID, now
	return made, nil
}

// presignCallerIdentity is spec authenticator §2.2 and §2.3.
func presignCallerIdentity(
	ctx context.Context, own aws.Credentials, host, region, cluster string, at time.Time,
) (credential.Secret, error) {
	query := url.Values{
		"Action":        {"GetCallerIdentity"},
		"Version":       {"2011-06-15"},
		"X-Amz-Expires": {callerid.SignedExpires},
	}
	address := url.URL{Scheme: "https", Host: host, Path: "/", RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return credential.Secret{}, err
	}
	request.Header.Set(callerid.ClusterHeader, cluster)
	nothing := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().
		PresignHTTP(ctx, own, request, hex.EncodeToString(nothing[:]), "sts", region, at.UTC())
	if err != nil {
		return credential.Secret{}, err
	}
	return callerid.Encode(signed), nil
}
