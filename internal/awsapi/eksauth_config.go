package awsapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/credential"
)

// EKSAuthConfig says how to reach EKS Auth.
type EKSAuthConfig struct {
	// Region is what calls, or tokens, are signed for. Empty means that of the SDK's
	// configuration, then that of the instance.
	Region string
	// Endpoint replaces the service's own. Empty means AWS_ENDPOINT_URL_EKS_AUTH
	// and the other places where the SDK looks, then the region's endpoint.
	Endpoint string
	// BearerFile makes calls carry the token in that file instead of a
	// signature. It is read for each call, since kubelet replaces it.
	BearerFile string
	// ClientCertificateFile makes calls carry neither, and the connection a client
	// certificate: a PEM file with the certificate and its key, read for each
	// connection. It excludes BearerFile.
	ClientCertificateFile string
	// TokenForCluster makes calls carry a presigned GetCallerIdentity token for the
	// cluster of that name: the broker learns whose credentials they are, and
	// nothing else is signed. It excludes both files.
	TokenForCluster string
	// CAFile has the PEM certificates that the endpoint's must be issued by,
	// instead of the system's; changes are picked up. Empty means AWS_CA_BUNDLE,
	// whose changes are picked up too, then ca_bundle of the configuration file.
	CAFile string
	// RotateFile takes the credentials that sign from the shared credentials
	// file, profile default, and reads it again every minute.
	RotateFile bool
	Now        func() time.Time
}

const (
	eksAuthDial = 500 * time.Millisecond
	// eksAuthAttempt is the end of a call; callers make another beside it long before.
	eksAuthAttempt    = 15 * time.Second
	regionTimeout     = 2 * time.Second
	ownRefresh        = 5 * time.Minute // before own credentials expire
	rotatePeriod      = time.Minute
	eksAuthIdle       = 16
	eksAuthIdlePeriod = 90 * time.Second
)

// NewEKSAuth reads the SDK's configuration. It asks the instance for its region
// if nothing else sets one; no other call is made.
func NewEKSAuth(ctx context.Context, c EKSAuthConfig) (*EKSAuth, error) {
	transport := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = eksAuthDial }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost, t.IdleConnTimeout = eksAuthIdle, eksAuthIdlePeriod
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			noticesDead(t, brokerHandshake)
		})
	loaded, err := load(
		ctx, config.WithHTTPClient(transport), config.WithRegion(c.Region),
		config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = ownRefresh }))
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	service := &EKSAuth{credentials: loaded.Credentials, region: loaded.Region, now: c.Now}
	if service.transport, err = c.transport(loaded.HTTPClient); err != nil {
		return nil, err
	}
	switch {
	case c.ClientCertificateFile != "":
		service.bearer = func(context.Context) (credential.Secret, error) {
			_, err := clientCertificate(c.ClientCertificateFile)
			return credential.Secret{}, err
		}
	case c.BearerFile != "":
		service.bearer = func(context.Context) (credential.Secret, error) { return readToken(c.BearerFile) }
	}
	if c.RotateFile {
		service.credentials = aws.NewCredentialsCache(rotatingFile{c.Now})
	}
	if c.TokenForCluster != "" {
		if loaded.Region == "" {
			if loaded.Region, err = instanceRegion(ctx, loaded); err != nil {
				return nil, err
			}
		}
		tokens, err := newClusterTokens(ctx, c.TokenForCluster, loaded, service.credentials, c.Now)
		if err != nil {
			return nil, err
		}
		service.bearer = tokens.token
	}
	if service.endpoint, err = configuredEndpoint(ctx, "EKS Auth", c.Endpoint, loaded); err != nil {
		return nil, err
	}
	switch {
	case service.bearer != nil && service.endpoint == "":
		// A token of the cluster's own API must never be sent to AWS.
		return nil, errors.New("a broker needs an endpoint")
	case service.bearer != nil && !isPrivate(service.endpoint):
		return nil, errors.New("the token of a pod and the agent's own must not travel in the clear: a broker's " +
			"endpoint must be https, or http on loopback")
	case service.bearer != nil:
		service.region = ""
		return service, nil
	}
	if service.region == "" {
		if service.region, err = instanceRegion(ctx, loaded); err != nil {
			return nil, err
		}
	}
	if service.endpoint == "" {
		// EKS Auth has endpoints of both families only.
		service.endpoint = "https://eks-auth." + service.region + "." + arn.DualStackSuffix(
			arn.PartitionOf(service.region),
		)
	}
	return service, nil
}

// transport keeps the SDK's transport, with the proxy of the environment.
func (c *EKSAuthConfig) transport(from aws.HTTPClient) (http.RoundTripper, error) {
	buildable, ok := from.(*awshttp.BuildableClient)
	if !ok {
		return http.DefaultTransport, nil
	}
	transport := buildable.GetTransport()
	if file := c.ClientCertificateFile; file != "" {
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return clientCertificate(file)
		}
	}
	if file := firstOf(c.CAFile, os.Getenv("AWS_CA_BUNDLE")); file != "" {
		return newTrusting(transport, file)
	}
	return transport, nil
}

// isPrivate reports whether nobody on the way can read what is sent.
func isPrivate(endpoint string) bool {
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := net.ParseIP(parsed.Hostname())
	return parsed.Scheme == "https" || (host != nil && host.IsLoopback()) || parsed.Hostname() == "localhost"
}

// configuredEndpoint looks where every SDK looks: the parameter, the service's
// and the general variable, then the same two in the configuration file.
func configuredEndpoint(ctx context.Context, service, parameter string, loaded aws.Config) (string, error) {
	endpoint := parameter
	if endpoint == "" {
		for _, source := range loaded.ConfigSources {
			named, ok := source.(interface {
				GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
			})
			if !ok {
				continue
			}
			found, ok, err := named.GetServiceBaseEndpoint(ctx, service)
			if err != nil {
				return "", err
			}
			if ok && endpoint == "" {
				endpoint = found
			}
		}
		endpoint = firstOf(endpoint, aws.ToString(loaded.BaseEndpoint))
	}
	if endpoint == "" {
		return "", nil
	}
	parsed, err := url.Parse(endpoint)
	if err != nil || parsed.Host == "" || parsed.User != nil || (parsed.Scheme != "https" && parsed.Scheme != "http") {
		return "", fmt.Errorf("the endpoint of %s must be an http or https URL without a user", service)
	}
	return strings.TrimRight(endpoint, "/"), nil
}

func instanceRegion(ctx context.Context, loaded aws.Config) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, regionTimeout)
	defer cancel()
	found, err := imds.NewFromConfig(loaded).GetRegion(ctx, &imds.GetRegionInput{})
	if err != nil {
		return "", fmt.Errorf("no region: neither the environment nor the configuration sets one, and the instance "+
			"does not answer: %w", err)
	}
	return found.Region, nil
}

func readToken(file string) (credential.Secret, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return credential.Secret{}, err
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return credential.Secret{}, fmt.Errorf("%s must contain one token", file)
	}
	return credential.NewSecret(token), nil
}

// rotatingFile are the keys of a shared credentials file that something else
// replaces, as on hybrid nodes. They claim to expire soon, so that the cache
// around them looks again.
type rotatingFile struct{ now func() time.Time }

// Retrieve reads profile default.
func (r rotatingFile) Retrieve(ctx context.Context) (aws.Credentials, error) {
	profile, err := config.LoadSharedConfigProfile(ctx, "default", func(o *config.LoadSharedConfigOptions) {
		if file := os.Getenv("AWS_SHARED_CREDENTIALS_FILE"); file != "" {
			o.CredentialsFiles = []string{file}
		}
	})
	if err != nil {
		return aws.Credentials{}, err
	}
	if !profile.Credentials.HasKeys() {
		return aws.Credentials{}, errors.New("profile default of the shared credentials file has no keys")
	}
	found := profile.Credentials
	found.CanExpire, found.Expires = true, r.now().Add(rotatePeriod)
	return found, nil
}
