package flags

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/observe"
)

// APIServers say how to reach every API server of a cluster.
type APIServers struct {
	Kubeconfig string
	URLs       []string
}

// Add adds --kubeconfig and --api-server.
func (c *APIServers) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.Kubeconfig, "kubeconfig", "",
		"kubeconfig of the cluster; without it no API server is asked")
	cli.CompleteFiles(cmd, "kubeconfig")
	cmd.Flags().StringArrayVar(&c.URLs, "api-server", nil,
		"URL of one API server, not of a load balancer; repeat it for all (default: those that have registered "+
			"themselves)")
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

// Client is for the cluster behind the kubeconfig; without one it is refused.
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
