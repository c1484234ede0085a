package flags

import (
	"crypto/x509"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/observe"
)

// IssuerReader says how to read what issuers publish: from where, and trusting whom.
type IssuerReader struct {
	endpoints []string
	ca        string
}

// Add adds --issuer-endpoint and --issuer-ca.
func (c *IssuerReader) Add(cmd *cobra.Command) {
	cli.Group(cmd, "Reading issuers", func(f *pflag.FlagSet) {
		f.StringArrayVar(&c.endpoints, "issuer-endpoint", nil,
			"HOST=ADDRESS:PORT: read issuers on HOST from there; may be repeated")
		f.StringVar(&c.ca, "issuer-ca", "", "PEM file of authorities to trust for issuers, instead of the system's")
	})
	cli.CompleteFiles(cmd, "issuer-ca", "pem", "crt")
}

// Words are the flags as they were given, for commands in hints.
func (c *IssuerReader) Words() string {
	var words strings.Builder
	for _, endpoint := range c.endpoints {
		words.WriteString(" --issuer-endpoint " + fault.Quote(endpoint))
	}
	if c.ca != "" {
		words.WriteString(" --issuer-ca " + fault.Quote(c.ca))
	}
	return words.String()
}

// Access reads the flags: addresses by host, and the authorities, nil for the system's.
func (c *IssuerReader) Access() (endpoints map[string]string, authorities *x509.CertPool, err error) {
	endpoints = map[string]string{}
	for _, pair := range c.endpoints {
		host, address, ok := strings.Cut(pair, "=")
		if _, _, err := net.SplitHostPort(address); !ok || host == "" || err != nil {
			return nil, nil, cli.Usage("issuer endpoint %q: want HOST=ADDRESS:PORT", pair).
				Hint("for example oidc.example.com=127.0.0.1:8443")
		}
		endpoints[host] = address
	}
	if c.ca == "" {
		return endpoints, nil, nil
	}
	text, err := os.ReadFile(c.ca)
	if err != nil {
		return nil, nil, fault.New(fault.NotFound, "read authorities: %w", err)
	}
	authorities = x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return nil, nil, fault.New(fault.Invalid, "%s holds no certificate in PEM", c.ca)
	}
	return endpoints, authorities, nil
}

// Reader reads issuers as the flags say.
func (c *IssuerReader) Reader() (*observe.Reader, error) {
	endpoints, authorities, err := c.Access()
	if err != nil {
		return nil, err
	}
	return observe.NewReader(observe.Access{Endpoints: endpoints, RootCAs: authorities}), nil
}
