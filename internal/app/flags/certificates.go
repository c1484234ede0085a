package flags

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/pki"
)

// Certificates say where a server's certificate comes from: files that somebody else
// renews, or a Secret in which its replicas keep one of their own. What the fields hold
// when the flags are added are the defaults.
type Certificates struct {
	// CertFile and KeyFile are PEM.
	CertFile, KeyFile string
	// Secret keeps the certificate and its authority; Service and Namespace are what the
	// certificate is for.
	Secret, Service, Namespace string
	// ConfigMap is told the authorities, for clients that mount it; empty for a server
	// whose clients learn of them otherwise, which has no flag for it.
	ConfigMap string
	Lifetimes pki.Lifetimes
}

// CertificateHeading is the heading of these flags.
const CertificateHeading = "Serving certificate"

// Add adds the flags.
func (c *Certificates) Add(cmd *cobra.Command) {
	cli.Group(cmd, CertificateHeading, func(f *pflag.FlagSet) {
		f.StringVar(&c.CertFile, "tls-cert", c.CertFile,
			"serving certificate chain, PEM, reloaded when it changes; without it one is made and kept in --tls-secret")
		f.StringVar(&c.KeyFile, "tls-key", c.KeyFile, "its key, PEM")
		f.StringVar(&c.Secret, "tls-secret", c.Secret,
			"Secret in which replicas share a certificate of their own, and its authority; no pod may mount it")
		if c.ConfigMap != "" {
			f.StringVar(&c.ConfigMap, "ca-configmap", c.ConfigMap,
				"ConfigMap whose ca.crt clients mount to verify that certificate")
		}
		f.StringVar(&c.Service, "service-name", c.Service, "Service that the certificate is for")
		f.StringVar(&c.Namespace, "namespace", c.Namespace,
			"namespace of the server's own objects: Service, Secret, ConfigMaps")
		f.DurationVar(&c.Lifetimes.Authority, "ca-lifetime", c.Lifetimes.Authority,
			"lifetime of the authority; it is replaced after two thirds")
		f.DurationVar(&c.Lifetimes.Serving, "cert-lifetime", c.Lifetimes.Serving,
			"lifetime of the serving certificate; it is replaced after two thirds")
		f.DurationVar(&c.Lifetimes.Settle, "ca-settle", c.Lifetimes.Settle,
			"how long clients and replicas may take to learn of a new authority")
	})
	_ = cmd.MarkFlagFilename("tls-cert", "pem", "crt")
	_ = cmd.MarkFlagFilename("tls-key", "pem", "key")
}

// Names are what the certificate is for: all names of the Service.
func (c *Certificates) Names() []string {
	name := c.Service + "." + c.Namespace
	return []string{name + ".svc", c.Service, name, name + ".svc.cluster.local"}
}
