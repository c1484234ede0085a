package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/localaws"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/obs"
)

// awsConfig is what `serve aws` needs.
type awsConfig struct {
	// listen is HOST:PORT; anything but loopback needs public.
	listen string
	public bool
	// account is the number of the account that is played.
	account string
	// region stands in the export lines.
	region string
	// dataDir keeps the account; empty forgets it.
	dataDir string
	// issuerEndpoints are HOST=ADDRESS: where an issuer's host is really.
	issuerEndpoints []string
	// issuerCA is a PEM file of authorities that issuers' certificates are
	// signed by.
	issuerCA string
	// privateIssuers lets issuers be on this machine's own networks.
	privateIssuers bool
	logs           logConfig
}

// logConfig is how a server logs.
type logConfig struct{ format, level string }

func (c *logConfig) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.format, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&c.level, "log-level", "info", "debug, info, warn or error")
}

func newServeAWS(sys System) *cobra.Command {
	var c awsConfig
	cmd := &cobra.Command{
		Use:   "aws",
		Short: "Serve a local AWS that says no for the right reasons",
		Long: `Serve IAM and STS of one account on one port: signatures, web-identity tokens and
trust policies are verified for real, refusals are AWS's. The reason AWS hides is
logged, and served at /_diag/REQUEST-ID. Not for production.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			return c.run(cmd.Context(), sys)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.listen, "listen", defaultAWSAddress, "where to listen; port 0 takes any free one")
	flags.BoolVar(&c.public, "unsafe-listen-publicly", false, "allow addresses that others can reach")
	flags.StringVar(&c.account, "account", "111122223333", "number of the account")
	flags.StringVar(&c.region, "region", "us-east-1", "region for the printed export lines")
	flags.StringVar(&c.dataDir, "data", "", "folder that keeps the account; without it, it is forgotten")
	flags.StringArrayVar(&c.issuerEndpoints, "issuer-endpoint", nil, "HOST=ADDRESS:PORT: fetch the keys of issuers on HOST from there; may be repeated")
	flags.StringVar(&c.issuerCA, "issuer-ca", "", "PEM file of authorities to trust for issuers, instead of the system's")
	flags.BoolVar(&c.privateIssuers, "allow-private-issuers", false, "fetch keys also from loopback, link-local and private addresses")
	c.logs.flags(cmd)
	return cmd
}

func (c *awsConfig) validate() error {
	if !arn.IsAccount(c.account) {
		return fault.New(fault.Usage, "account %q: want 12 digits", c.account)
	}
	for _, pair := range c.issuerEndpoints {
		host, address, ok := strings.Cut(pair, "=")
		if _, _, err := net.SplitHostPort(address); !ok || host == "" || err != nil {
			return fault.New(fault.Usage, "issuer endpoint %q: want HOST=ADDRESS:PORT", pair).Hint("for example oidc.example.com=127.0.0.1:8443")
		}
	}
	return nil
}

func (c *awsConfig) run(ctx context.Context, sys System) error {
	log, err := obs.NewLogger(sys.Stderr, c.logs.format, c.logs.level)
	if err != nil {
		return err
	}
	access, err := c.issuerAccess()
	if err != nil {
		return err
	}
	store := account.NewMemory()
	if c.dataDir != "" {
		if store, err = account.Open(ctx, c.dataDir); err != nil {
			return err
		}
	}
	defer func() { _ = store.Close() }()
	aws, err := localaws.New(localaws.Config{Account: c.account, Store: store, Issuers: access, Now: sys.Now, Log: log})
	if err != nil {
		return err
	}
	listener, err := httpserve.Listen(ctx, c.listen, c.public, "--unsafe-listen-publicly")
	if err != nil {
		return err
	}
	fmt.Fprintln(sys.Stderr, "local AWS: not for production")
	printExports(sys, "http://"+listener.Addr().String(), c.region, aws.Admin())
	server := httpserve.Server{Name: "aws", Handler: aws, Log: log}
	return server.Serve(ctx, listener)
}

func (c *awsConfig) issuerAccess() (sts.IssuerAccess, error) {
	access := sts.IssuerAccess{Endpoints: map[string]string{}, AllowPrivate: c.privateIssuers}
	for _, pair := range c.issuerEndpoints {
		host, address, _ := strings.Cut(pair, "=")
		access.Endpoints[host] = address
	}
	if c.issuerCA == "" {
		return access, nil
	}
	text, err := os.ReadFile(c.issuerCA)
	if err != nil {
		return access, fault.New(fault.NotFound, "read authorities: %w", err)
	}
	access.RootCAs = x509.NewCertPool()
	if !access.RootCAs.AppendCertsFromPEM(text) {
		return access, fault.New(fault.Invalid, "%s holds no certificate in PEM", c.issuerCA)
	}
	return access, nil
}
