package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/issuer/bucket"
	"github.com/rolecall/rolecall/internal/localaws/sts"
	"github.com/rolecall/rolecall/internal/pki"
)

// awsHTTPS is local AWS by HTTPS under the host names of S3, for issuers in a bucket: their
// readers, STS among them, take nothing else.
type awsHTTPS struct {
	listen, caFile string

	address   string
	authority *pki.Authority
	now       func() time.Time

	mu    sync.Mutex
	pairs map[string]*tls.Certificate // by host name
}

// certificates bound what clients can have made by naming hosts.
const (
	maxCertificates     = 1000
	certificateLifetime = 365 * 24 * time.Hour
)

func (h *awsHTTPS) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&h.listen, "https", "",
		"also serve by HTTPS here, under the host names of S3, with certificates of an authority that each start "+
			"makes; STS reads issuers in buckets from there")
	cmd.Flags().StringVar(&h.caFile, "https-ca", "", "file that the authority's certificate is written to, PEM")
	cli.CompleteFiles(cmd, "https-ca", "pem", "crt")
}

func (h *awsHTTPS) validate() error {
	switch {
	case h.listen == "" && h.caFile != "":
		return fault.New(fault.Usage, "--https-ca is about --https").Hint("add --https 127.0.0.1:0")
	case h.listen != "" && h.caFile == "":
		return fault.New(fault.Usage, "a reader by HTTPS needs the authority's certificate").
			Hint("say where to write it: --https-ca FILE")
	}
	return nil
}

// open makes the authority and listens. It returns how STS reaches issuers.
func (h *awsHTTPS) open(
	ctx context.Context, sys cli.System, r *runner, remote bool, access sts.IssuerAccess,
) (sts.IssuerAccess, func(http.Handler), error) {
	if h.listen == "" {
		return access, func(http.Handler) {}, nil
	}
	listener, err := httpserve.Listen(ctx, h.listen, remote, "--allow-remote")
	if err != nil {
		return access, nil, err
	}
	r.close(closeOnce{listener})
	h.address, h.now, h.pairs = listener.Addr().String(), sys.Now, map[string]*tls.Certificate{}
	if h.authority, err = pki.NewAuthority("local AWS", sys.Now(), certificateLifetime); err != nil {
		return access, nil, err
	}
	if err := atomicfile.Write(h.caFile, h.authority.PEM(), 0o644); err != nil {
		return access, nil, fault.New(fault.Unavailable, "write the authority's certificate: %w", err)
	}
	if access.RootCAs == nil {
		if access.RootCAs, err = x509.SystemCertPool(); err != nil {
			access.RootCAs = x509.NewCertPool()
		}
	}
	access.RootCAs.AppendCertsFromPEM(h.authority.PEM())
	access.Local = func(host string) (string, bool) { return h.address, isS3(host) }
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: h.certificate}
	return access, func(handler http.Handler) {
		fmt.Fprintf(sys.Stderr, "S3 by HTTPS at %[1]s; for an issuer in a bucket: "+
			"--issuer-endpoint BUCKET.s3.REGION.amazonaws.com=%[1]s --issuer-ca %[2]s\n", h.address,
			fault.Quote(h.caFile))
		r.addServer(httpserve.Server{Name: "aws-https", Handler: handler, TLS: config}, listener)
	}, nil
}

// isS3 tells S3's own hosts, a bucket's among them.
func isS3(host string) bool {
	_, found := bucket.Of("https://" + strings.ToLower(host) + "/bucket")
	return found
}

// certificate is for the host that a client names, if that is one of S3's or this machine.
func (h *awsHTTPS) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := strings.ToLower(hello.ServerName)
	names := []string{host}
	switch {
	case host == "" || host == "localhost":
		host, names = "localhost", []string{"localhost", "127.0.0.1", "::1"}
	case !isS3(host):
		return nil, fmt.Errorf("%s is no host of S3", host)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if pair, found := h.pairs[host]; found {
		return pair, nil
	}
	pair, err := h.authority.Serving(h.now(), certificateLifetime, names...)
	if err != nil {
		return nil, err
	}
	if len(h.pairs) == maxCertificates {
		clear(h.pairs)
	}
	h.pairs[host] = &pair
	return &pair, nil
}
