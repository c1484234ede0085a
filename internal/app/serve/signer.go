package serve

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/signer"
)

// serveSignerConfig is what `serve signer` needs.
type serveSignerConfig struct {
	socket string
	// abstract lets the socket be a name in the abstract namespace.
	abstract bool
	keyFiles []string
	store    flags.KeyStore
	readOnly bool
	// refreshHint is how often API servers fetch the keys.
	refreshHint time.Duration
	// maxTokenLife is the longest life of a token.
	maxTokenLife time.Duration
	// rotateEvery is how long a key signs; zero is forever.
	rotateEvery time.Duration
	// publishFor is how long a new key is published before it signs.
	publishFor time.Duration
	metrics    string
	logs       flags.Logs
}

func newSigner(sys cli.System) *cobra.Command {
	var c serveSignerConfig
	cmd := &cobra.Command{
		Use:   "signer (--store FILE --kms-key-file FILE | --key-file FILE...)",
		Short: "Sign service-account tokens for an API server (external signer)",
		Long: `Sign service-account tokens for kube-apiserver --service-account-signing-endpoint, on a
Unix socket, so that keys are renewed without restarting it (Kubernetes 1.32 and
newer; below 1.34 with the feature gate ExternalServiceAccountTokenSigner).

Keys are in an encrypted store that ` + "`rolecall signer`" + ` makes, or in PEM files of which
the first private key signs and all verify; both are followed for changes. A new key
signs only when every API server on the socket has fetched it and had it for
--refresh-hint. With --rotate-every the signer renews the keys of its store by itself.`,
		Example: `  rolecall signer import --store /var/lib/rolecall/keys --kms-key-file /etc/rolecall/kms.key \
    --key-file /etc/kubernetes/pki/sa.key
  rolecall serve signer --store /var/lib/rolecall/keys --kms-key-file /etc/rolecall/kms.key --rotate-every 720h
  kube-apiserver --service-account-signing-endpoint=/run/rolecall/signer.sock …`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			return c.run(cmd.Context(), sys)
		},
	}
	c.store.Add(cmd)
	f := cmd.Flags()
	f.StringVar(&c.socket, "socket", "/run/rolecall/signer.sock",
		"Unix socket to listen on, in a folder that only root and this user can change")
	f.BoolVar(&c.abstract, "insecure-abstract-socket", false,
		"let --socket be @NAME, an abstract socket: every process of root on this host's network, in containers too, "+
			"may then have any token signed")
	f.StringArrayVar(&c.keyFiles, "key-file", nil, "PEM file or folder of keys, instead of a store; may be repeated")
	f.BoolVar(&c.readOnly, "read-only", false,
		"never change the store: another signer does, and copies of its file are put here")
	f.DurationVar(&c.refreshHint, "refresh-hint", 30*time.Second, "how often API servers fetch the keys; whole seconds")
	f.DurationVar(&c.maxTokenLife, "max-token-expiration", 24*time.Hour,
		"longest life of a token; API servers ask for it when they start")
	f.DurationVar(&c.rotateEvery, "rotate-every", 0,
		"how long a key of the store signs until the next one does; 0 never makes one")
	cli.CompleteFiles(cmd, "key-file", "pem", "key", "pub")
	flags.PublishFor(cmd, &c.publishFor)
	f.StringVar(&c.metrics, "metrics-listen", "127.0.0.1:9094", "loopback address of /metrics, /healthz and /readyz")
	c.logs.Add(cmd)
	return cmd
}

func (c *serveSignerConfig) validate() error {
	fromStore := c.store.Path != ""
	switch {
	case strings.HasPrefix(c.socket, "@") && !c.abstract:
		return fault.New(fault.Usage, "--socket %s: an abstract socket has no file mode, so that every process of root on "+
			"this host's network, also in a container, may have any token signed", c.socket).
			Hint("--socket /run/rolecall/signer.sock, and mount its folder where the API server runs; or, if nothing " +
				"else runs on this host's network, add --insecure-abstract-socket")
	case fromStore == (len(c.keyFiles) > 0):
		return fault.New(fault.Usage, "want one source of keys").
			Hint("--store FILE with --kms-key-file FILE, or --key-file FILE")
	case !fromStore && (c.rotateEvery != 0 || c.readOnly):
		return fault.New(fault.Usage,
			"--rotate-every and --read-only are for a --store: key files are changed by you alone")
	case c.readOnly && c.rotateEvery != 0:
		return fault.New(fault.Usage, "--rotate-every changes the store, and --read-only forbids it")
	case c.rotateEvery < 0 || (c.rotateEvery > 0 && c.rotateEvery <= c.publishFor):
		return fault.New(fault.Usage,
			"--rotate-every %s: want longer than --publish-for %s, for which the next key is published first",
			c.rotateEvery, c.publishFor)
	case c.publishFor < 2*c.refreshHint:
		return fault.New(fault.Usage, "--publish-for %s: want at least twice the --refresh-hint of %s", c.publishFor,
			c.refreshHint)
	}
	return nil
}

// source opens what the keys are read from, and what renews them if anything
// does.
func (c *serveSignerConfig) source(
	sys cli.System, log *slog.Logger,
) (signer.Source, func(context.Context, signer.Status) error, error) {
	if len(c.keyFiles) > 0 {
		return &signer.Files{Paths: c.keyFiles, Now: sys.Now}, nil, nil
	}
	store, err := c.store.Open()
	if err != nil {
		return nil, nil, err
	}
	stored := &signer.Stored{
		Store: store, RefreshHint: c.refreshHint, MaxTokenLife: c.maxTokenLife,
		RotateEvery: c.rotateEvery, PublishFor: c.publishFor, Now: sys.Now, Log: log,
	}
	if c.readOnly {
		return stored, nil, nil
	}
	return stored, stored.Tend, nil
}

func (c *serveSignerConfig) run(ctx context.Context, sys cli.System) error {
	log, err := c.logs.Logger(sys)
	if err != nil {
		return err
	}
	r := newRunner(log)
	return r.run(ctx, func(ctx context.Context) error { return c.makeParts(ctx, sys, r) })
}

func (c *serveSignerConfig) makeParts(ctx context.Context, sys cli.System, r *runner) error {
	source, tend, err := c.source(sys, r.log)
	if err != nil {
		return err
	}
	set, err := source.Read(ctx)
	if err != nil {
		return err
	}
	ring, err := signer.NewRing(set, c.refreshHint)
	if err != nil {
		return err
	}
	service, err := signer.NewService(signer.Config{
		Ring:         ring,
		RefreshHint:  c.refreshHint,
		MaxTokenLife: c.maxTokenLife,
		Metrics:      r.registry,
		Log:          r.log,
		Now:          sys.Now,
	})
	if err != nil {
		return err
	}
	observed, err := httpserve.Listen(ctx, c.metrics, false, "")
	if err != nil {
		return err
	}
	r.close(closeOnce{observed})
	listener, err := signer.Listen(ctx, c.socket)
	if err != nil {
		return err
	}
	if c.abstract && strings.HasPrefix(c.socket, "@") {
		r.log.Warn("every process of root on this host's network, also in a container, may have any token signed",
			"socket", c.socket)
	}
	r.add(func(ctx context.Context) error { return service.Serve(ctx, listener) })
	r.add(func(ctx context.Context) error { return signer.Follow(ctx, ring, source, tend, sys.Now, r.log) })
	r.check(func(context.Context) error {
		if ring.Look(sys.Now()).Signing == "" {
			return errors.New("no key signs")
		}
		return nil
	})
	routes := http.NewServeMux()
	r.metrics(routes)
	r.probes(routes)
	r.addServer(httpserve.Server{Name: "metrics", Handler: routes}, observed)
	return nil
}
