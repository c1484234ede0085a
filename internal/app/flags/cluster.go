package flags

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/observe"
)

// clusterFlags say how to reach every API server.
type APIServers struct {
	Kubeconfig string
	URLs       []string
}

func (c *APIServers) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.Kubeconfig, "kubeconfig", "", "file that says how to reach the cluster; without it no API server is asked")
	cmd.Flags().StringArrayVar(&c.URLs, "api-server", nil, "URL of one API server, not of a load balancer; repeat it for all (default: those that have registered themselves)")
}

// Words are the flags as they were given, for commands in hints.
func (c *APIServers) Words() string {
	var words strings.Builder
	if c.Kubeconfig != "" {
		words.WriteString(" --kubeconfig " + fault.Quote(c.Kubeconfig))
	}
	for _, server := range c.URLs {
		words.WriteString(" --api-server " + fault.Quote(server))
	}
	return words.String()
}

// Config is nil if no cluster was named.
func (c *APIServers) Config() (*rest.Config, error) {
	if c.Kubeconfig == "" {
		if len(c.URLs) > 0 {
			return nil, fault.New(fault.Usage, "--api-server needs --kubeconfig for the credentials")
		}
		return nil, nil
	}
	return KubeConfig(c.Kubeconfig, "")
}

// Servers returns all API servers, none if no cluster was named.
func (c *APIServers) Servers(ctx context.Context, more []string) ([]*observe.APIServer, error) {
	config, err := c.Config()
	if err != nil || config == nil {
		return nil, err
	}
	urls := c.URLs
	if len(urls) == 0 {
		urls = more
	}
	servers, err := observe.FindAPIServers(ctx, config, urls)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%w", err).Hint("name each API server with --api-server URL")
	}
	return servers, nil
}

func (c *APIServers) Client() (kubernetes.Interface, error) {
	config, err := c.Config()
	if err != nil {
		return nil, err
	}
	if config == nil {
		return nil, fault.New(fault.Usage, "no cluster named").Hint("add --kubeconfig FILE")
	}
	return kubernetes.NewForConfig(config)
}

// readFlags say how to read what is published.
type IssuerReader struct {
	endpoints []string
	ca        string
}

func (c *IssuerReader) Add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&c.endpoints, "issuer-endpoint", nil, "HOST=ADDRESS:PORT: read issuers on HOST from there; may be repeated")
	cmd.Flags().StringVar(&c.ca, "issuer-ca", "", "PEM file of authorities to trust for issuers, instead of the system's")
}

func (c *IssuerReader) Reader() (*observe.Reader, error) {
	access := observe.Access{Endpoints: map[string]string{}}
	for _, pair := range c.endpoints {
		host, address, ok := strings.Cut(pair, "=")
		if _, _, err := net.SplitHostPort(address); !ok || host == "" || err != nil {
			return nil, fault.New(fault.Usage, "issuer endpoint %q: want HOST=ADDRESS:PORT", pair).Hint("for example oidc.example.com=127.0.0.1:8443")
		}
		access.Endpoints[host] = address
	}
	if c.ca == "" {
		return observe.NewReader(access), nil
	}
	text, err := os.ReadFile(c.ca)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read authorities: %w", err)
	}
	access.RootCAs = x509.NewCertPool()
	if !access.RootCAs.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "%s holds no certificate in PEM", c.ca)
	}
	return observe.NewReader(access), nil
}
