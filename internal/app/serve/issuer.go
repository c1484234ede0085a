package serve

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/issuer/server"
)

// serveIssuerConfig is what `serve issuer` needs.
type serveIssuerConfig struct {
	listen, documents string
	certFile, keyFile string
	maxAge            time.Duration
	logs              flags.Logs
}

func newIssuer(sys cli.System) *cobra.Command {
	var c serveIssuerConfig
	cmd := &cobra.Command{
		Use:   "issuer",
		Short: "Serve the published keys of an issuer over HTTPS",
		Long: `Serve the discovery document and the key set below the path of the issuer's URL,
with caching headers and ETags, to anybody: both are public. What changes on disk,
documents and certificate alike, is served without a restart; what is broken is not
served at all. While the folder is empty readers are answered 503, so that it may be
started before "rolecall issuer init", which reads back what it has written.`,
		Example: `  rolecall serve issuer --documents /var/lib/rolecall/issuer
  rolecall serve issuer --tls-cert tls.crt --tls-key tls.key --max-age 1m`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.listen, "listen", ":8443", "where to listen, HTTPS")
	flags.StringVar(&c.documents, "documents", "/etc/rolecall/issuer",
		"folder that \"rolecall issuer publish\" writes, or a mounted ConfigMap of the controller")
	flags.StringVar(&c.certFile, "tls-cert", "/etc/rolecall/tls/tls.crt", "serving certificate chain, PEM")
	flags.StringVar(&c.keyFile, "tls-key", "/etc/rolecall/tls/tls.key", "its key, PEM")
	flags.DurationVar(&c.maxAge, "max-age", 5*time.Minute, "how long readers may keep the documents; at most an hour")
	_ = cmd.MarkFlagDirname("documents")
	cli.CompleteFiles(cmd, "tls-cert", "pem", "crt")
	cli.CompleteFiles(cmd, "tls-key", "pem", "key")
	c.logs.Add(cmd)
	return cmd
}

func (c *serveIssuerConfig) run(ctx context.Context, sys cli.System) error {
	if c.maxAge < 0 || c.maxAge > time.Hour {
		return fault.New(fault.Usage, "--max-age %s: want at most an hour", c.maxAge).
			Hint("a key that nobody has seen yet must not sign: the longer, the slower a rotation")
	}
	log, err := c.logs.Logger(sys)
	if err != nil {
		return err
	}
	r := newRunner(log)
	return r.run(ctx, func(ctx context.Context) error {
		files, err := server.AwaitFiles(c.documents, c.maxAge, log)
		if err != nil {
			return err
		}
		certificate, err := httpserve.LoadCertificate(c.certFile, c.keyFile, log)
		if err != nil {
			return err
		}
		// AWS reads it, so it listens beyond loopback.
		return r.listenAll(ctx, []listening{{c.listen, issuerServer(files, certificate.TLSConfig())}})
	})
}

func issuerServer(documents http.Handler, certificate *tls.Config) httpserve.Server {
	return httpserve.Server{
		Name: "issuer", Handler: documents, TLS: certificate, Limits: httpserve.ReadByAnybody(),
	}
}
