package awsapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/rolecall/rolecall/internal/build"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

// Callers asks STS who signed a presigned GetCallerIdentity token.
//
// It does not use the SDK's client, which signs with its own credentials: here
// the request was signed by somebody else, and is sent to STS byte for byte (spec
// authenticator §3.2).
type Callers struct {
	cluster string
	scheme  string // https; http at a local AWS
	client  *http.Client
	answers func(region string, status int)
}

// CallersConfig says for which cluster tokens are verified, and where STS is.
type CallersConfig struct {
	// Cluster is the name of the cluster that tokens must have been signed for.
	Cluster string
	// Endpoint is where connections go instead of to the host of the token, which
	// stays in the request and in the certificate that is expected; a path in it is
	// ignored. Empty means AWS_ENDPOINT_URL_STS and the other places where the SDK
	// looks, then the host itself.
	Endpoint string
	// Answers is told the status of each answer, of the STS of a region; 0 if there was
	// none. nil for nobody.
	Answers func(region string, status int)
}

const (
	callersDial  = 2 * time.Second
	callersIdle  = 256
	callersTotal = 10 * time.Second
	// callersRetry is how much time must be left for a second attempt, and
	// callersPause the longest wait before it.
	callersRetry = 3 * time.Second
	callersPause = 300 * time.Millisecond
)

// NewCallers reads the SDK's configuration in the environment and makes no call. It
// needs no credentials, and looks for none.
func NewCallers(ctx context.Context, c CallersConfig) (*Callers, error) {
	base := awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = callersDial })
	loaded, err := fromEnvironment(ctx, base, "")
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	buildable, ok := loaded.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, errors.New("the AWS configuration has an HTTP client of its own")
	}
	transport := buildable.GetTransport() // a copy, with AWS_CA_BUNDLE and the proxy of the environment
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = callersIdle, 2*callersIdle
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{}
	}
	transport.TLSClientConfig.MinVersion = tls.VersionTLS12
	noticesDead(transport, awsHandshake)
	asks := &Callers{cluster: c.Cluster, scheme: "https", answers: c.Answers}
	endpoint, err := configuredEndpoint(ctx, "STS", c.Endpoint, loaded)
	if err != nil {
		return nil, err
	}
	if endpoint != "" {
		if err := asks.connectTo(endpoint, transport); err != nil {
			return nil, err
		}
	}
	asks.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return asks, nil
}

// connectTo makes connections go to an endpoint. Nobody else may read a request,
// or answer it.
func (c *Callers) connectTo(endpoint string, transport *http.Transport) error {
	if !isPrivate(endpoint) {
		return errors.New("tokens of callers must not travel in the clear: an STS endpoint must be https, or http on " +
			"loopback")
	}
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	port := parsed.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[parsed.Scheme]
	}
	target, dial := net.JoinHostPort(parsed.Hostname(), port), transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, target)
	}
	transport.Proxy = nil // a proxy would be asked to connect to the host of the token
	c.scheme = parsed.Scheme
	return nil
}

// Identify asks about one token, for ten seconds at most. Errors are those of
// callerid.ReadAnswer; none contains the token.
func (c *Callers) Identify(ctx context.Context, p *callerid.Presigned) (*callerid.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, callersTotal)
	defer cancel()
	return c.askTwice(ctx, p)
}

// askTwice asks again if STS could not decide and there is time.
func (c *Callers) askTwice(ctx context.Context, p *callerid.Presigned) (*callerid.Identity, error) {
	who, err := c.ask(ctx, p)
	kind := fault.KindOf(err)
	deadline, _ := ctx.Deadline()
	if err == nil || (kind != fault.Unavailable && kind != fault.Throttled) || time.Until(deadline) < callersRetry {
		return who, err
	}
	select {
	case <-ctx.Done():
		return nil, err
	case <-time.After(rand.N(callersPause)):
	}
	return c.ask(ctx, p)
}

func (c *Callers) ask(ctx context.Context, p *callerid.Presigned) (*callerid.Identity, error) {
	address := url.URL{Scheme: c.scheme, Host: p.Host, Path: "/", RawQuery: p.Query.Reveal()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, p.Unreachable(errors.New("the token cannot be turned into a request"))
	}
	request.Header.Set(callerid.ClusterHeader, c.cluster)
	request.Header.Set("Accept", "application/json")
	request.Header.Set(userAgent, build.UserAgent())
	response, err := c.client.Do(request)
	if err != nil {
		c.tell(p, 0)
		return nil, p.Unreachable(withoutURL(err))
	}
	c.tell(p, response.StatusCode)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, callerid.MaxAnswer+1))
	if err != nil {
		return nil, p.Unreachable(fmt.Errorf("error reading HTTP result: %w", withoutURL(err)))
	}
	return callerid.ReadAnswer(p, response.StatusCode, body)
}

// tell counts an answer, if anybody does.
func (c *Callers) tell(p *callerid.Presigned, status int) {
	if c.answers != nil {
		c.answers(p.Region, status)
	}
}

// withoutURL returns the cause of a failed request. Causes that are known to
// mention only addresses, certificates and times are kept; others repeat what
// was received, which may contain the token.
func withoutURL(err error) error {
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err
	}
	if network, ok := errors.AsType[net.Error](err); ok {
		return network
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errors.New("the answer is not HTTP")
}
