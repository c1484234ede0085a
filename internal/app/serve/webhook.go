package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/servingcert"
	"github.com/rolecall/rolecall/internal/webhook"
)

func newWebhook(sys cli.System) *cobra.Command {
	c := newWebhookConfig()
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Serve the admission webhook that injects pods",
		Long: `Serve /mutate, /healthz and /readyz over HTTPS, and /metrics over plain HTTP; with
--validate-associations also /validate-associations. The webhook is ready only when it
knows every service account of the cluster. It registers itself and renews its
certificate, together with its other replicas; with --tls-cert it serves files that
somebody else renews.`,
		Example: `  rolecall serve webhook --watch-associations --validate-associations
  rolecall serve webhook --tls-cert tls.crt --tls-key tls.key --namespace rolecall-system`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.showVersion {
				fmt.Fprintln(sys.Stdout, cli.Version())
				return nil
			}
			if err := c.plane.Read(cmd); err != nil {
				return err
			}
			if err := c.validate(cmd.Flags().Changed); err != nil {
				return err
			}
			return c.run(cmd, sys)
		},
	}
	c.flags(cmd)
	return cmd
}

// webhookParts are what the webhook is made of, beside what every server has.
type webhookParts struct {
	*runner
	client   kubernetes.Interface
	accounts *webhook.Accounts
	handler  *webhook.Handler
	files    *httpserve.CertificateFiles // nil with an authority of our own
	tls      *tls.Config
}

func (c *webhookConfig) run(cmd *cobra.Command, sys cli.System) error {
	log, err := c.logs.Logger(sys)
	if err != nil {
		return err
	}
	p := &webhookParts{runner: newRunner(log)}
	p.delay = c.shutdownDelay
	return p.run(cmd.Context(), func(ctx context.Context) error {
		if !c.ownAuthority {
			if p.files, err = httpserve.LoadCertificate(c.certificates.CertFile, c.certificates.KeyFile,
				log); err != nil {
				return err
			}
		}
		if err := c.makeParts(ctx, sys, p); err != nil {
			return err
		}
		if c.plane.Given() {
			p.agree(roleWebhook, c.plane.Effective(cmd), p.client)
		}
		return c.serve(ctx, p)
	})
}

// makeParts makes everything and starts nothing.
func (c *webhookConfig) makeParts(ctx context.Context, sys cli.System, p *webhookParts) error {
	if err := c.composeFrom(ctx, sys); err != nil {
		return err
	}
	config, err := c.kube.Config()
	if err != nil {
		return err
	}
	if p.client, err = flags.Lister(config); err != nil {
		return err
	}
	direct := rest.CopyConfig(config)
	direct.QPS = -1 // what uses it limits itself
	accounts, err := flags.Lister(direct)
	if err != nil {
		return err
	}
	p.accounts = webhook.NewAccounts(accounts, c.settings, c.grace, sys.Now)
	hook := webhook.Config{
		Settings: c.settings, ServiceAccounts: p.accounts, Fallback: c.fallback,
		Metrics: p.registry, Log: p.log, Now: sys.Now, Debugging: c.debugging,
		Standstill: p.standstill,
	}
	if c.clientCA != "" {
		hook.Callers = &webhook.Callers{Names: c.clientNames}
	}
	p.watching(p.accounts.Watched())
	p.add(p.accounts.Run)
	p.add(p.staySmall)
	p.add(c.checkPermissions(p.client, p.log))
	if c.watchConfigMap {
		source := webhook.NewConfigMap(p.client, c.certificates.Namespace, c.settings, sys.Now, p.log)
		hook.ConfigMap = source
		p.add(source.Run)
		p.watching(source.Watched())
	}
	if c.identitiesFile != "" {
		source, err := webhook.NewIdentitiesFile(c.identitiesFile, p.log)
		if err != nil {
			return err
		}
		hook.Identities = source
		p.add(source.Run)
	}
	if c.watchAssociations {
		client, err := dynamic.NewForConfig(direct)
		if err != nil {
			return err
		}
		hook.Associations = webhook.NewAssociations(client, c.grace, sys.Now, p.log)
		p.add(hook.Associations.Run)
		p.watching(hook.Associations.Watched())
	}
	if c.enforceGrants || c.validateWrites {
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return err
		}
		source := follow.Grants(client, c.bounds.GrantSet, sys.Now, p.log)
		var told kubernetes.Interface
		if c.events {
			told = p.client
		}
		if err := p.tellGrants(sys, source, told, "pod-identity-webhook"); err != nil {
			return err
		}
		p.add(source.Run)
		p.watching(source.Watched())
		if c.enforceGrants {
			hook.Grants = source
		}
		if c.validateWrites {
			newest, err := newestGrants(config, source)
			if err != nil {
				return err
			}
			hook.Writes = &webhook.Writes{Bounds: c.allowed, Grants: source, Newest: newest}
		}
	}
	if c.events {
		events := webhook.NewEvents(p.client, sys.Now)
		hook.Refused = events.Refused
		p.add(events.Run)
	}
	if p.handler, err = webhook.New(hook); err != nil {
		return err
	}
	return c.serving(sys, p)
}

// newestGrants reads RoleGrants again, with a client of its own: somebody who is refused
// again and again must not slow down what is followed.
func newestGrants(
	config *rest.Config, followed *follow.Objects[grant.Grant, *grant.Set],
) (func(context.Context) (*grant.Set, error), error) {
	slow := rest.CopyConfig(config)
	slow.QPS, slow.Burst = 5, 10
	client, err := dynamic.NewForConfig(slow)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (*grant.Set, error) { return followed.ReadBy(ctx, client, "") }, nil
}

// serving decides who makes them, and who tells API servers.
func (c *webhookConfig) serving(sys cli.System, p *webhookParts) error {
	registrar, err := c.registrar(p.client)
	if err != nil {
		return err
	}
	if c.ownAuthority {
		rotations := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "certificate_manager_server_rotation_seconds",
			Help: "Age of serving certificates when they are replaced.",
			Buckets: []float64{
				60,
				3600,
				4 * 3600,
				24 * 3600,
				7 * 24 * 3600,
				30 * 24 * 3600,
				90 * 24 * 3600,
				180 * 24 * 3600,
				365 * 24 * 3600,
			},
		})
		if err := p.registry.Register(rotations); err != nil {
			return err
		}
		keeper := &servingcert.Keeper{
			Client:    p.client,
			Namespace: c.certificates.Namespace,
			Secret:    c.certificates.Secret,
			Names:     c.names(),
			Lifetimes: c.certificates.Lifetimes,
			Authority: "rolecall webhook", Registrar: registrar, Rotations: rotations, Log: p.log, Now: sys.Now,
			Looks: follow.NewWatch(servingSecret, sys.Now),
		}
		p.watching(keeper.Looks)
		p.tls = keeper.TLSConfig()
		p.add(keeper.Run)
		return c.restrictTo(p)
	}
	if registrar != nil {
		bundle := &servingcert.FileBundle{File: c.caFile, Registrar: registrar, Every: 10 * time.Second, Log: p.log}
		p.add(bundle.Run)
	}
	p.tls = p.files.TLSConfig()
	return c.restrictTo(p)
}

// restrictTo says by which TLS, and to whom, the webhook answers.
func (c *webhookConfig) restrictTo(p *webhookParts) error {
	if err := c.restrict(p.tls); err != nil || c.clientCA == "" {
		return err
	}
	return verifyClients(p.tls, c.clientCA, "the API servers' ones", p.log)
}

// names are what the certificate is for.
func (c *webhookConfig) names() []string {
	names := c.certificates.Names()
	if called, err := url.Parse(c.url); err == nil && called.Hostname() != "" {
		names = append(names, called.Hostname())
	}
	return names
}

// registrar keeps the registrations; nil leaves them to others.
func (c *webhookConfig) registrar(client kubernetes.Interface) (*servingcert.Registrar, error) {
	if !c.registers() {
		return nil, nil
	}
	called, err := c.clientConfig(mutatePath)
	if err != nil {
		return nil, err
	}
	registrar := &servingcert.Registrar{
		Client:   client,
		Mutating: webhook.Registration(called, c.certificates.Namespace),
	}
	registrar.Mutating.Name = c.registration
	if !c.validateWrites {
		return registrar, nil
	}
	if called, err = c.clientConfig(webhook.ValidatePath); err != nil {
		return nil, err
	}
	registrar.Validating = webhook.WritesRegistration(called)
	registrar.Validating.Name = c.registration
	return registrar, nil
}

const mutatePath = "/mutate"

// clientConfig says how API servers call one of our paths. --webhook-url is that
// of /mutate, others are beside it.
func (c *webhookConfig) clientConfig(path string) (admissionregistrationv1.WebhookClientConfig, error) {
	if c.url == "" {
		return admissionregistrationv1.WebhookClientConfig{
			Service: &admissionregistrationv1.ServiceReference{
				Namespace: c.certificates.Namespace,
				Name:      c.certificates.Service,
				Path:      &path,
			},
		}, nil
	}
	called := c.url
	if path != mutatePath {
		base, found := strings.CutSuffix(c.url, mutatePath)
		if !found {
			return admissionregistrationv1.WebhookClientConfig{}, fault.New(fault.Usage,
				"--webhook-url %q: want one that ends in %s, so that %s can be called beside it", c.url, mutatePath,
				path)
		}
		called = base + path
	}
	return admissionregistrationv1.WebhookClientConfig{URL: &called}, nil
}

// serve opens the addresses. Reviews come from API servers, so both are open to others.
func (c *webhookConfig) serve(ctx context.Context, p *webhookParts) error {
	routes := http.NewServeMux()
	p.metrics(routes)
	if c.debugging {
		routes.Handle("/debug/", webhook.DebugCache(p.accounts))
	}
	p.whenTold(p.handler.Close)
	return p.listenAll(ctx, []listening{
		{
			c.listen,
			httpserve.Server{Name: "webhook", Handler: p.handler, TLS: p.tls, Limits: httpserve.CalledByAPIServers()},
		},
		{c.metricsListen, httpserve.Server{Name: "metrics", Handler: routes}},
	})
}

// staySmall begins when the first list is read, which takes more than what comes
// after it.
func (p *webhookParts) staySmall(ctx context.Context) error {
	select {
	case <-p.accounts.Synced():
		staySmall(ctx)
	case <-ctx.Done():
	}
	return nil
}

// composeFrom finds out the account of composed role ARNs.
func (c *webhookConfig) composeFrom(ctx context.Context, sys cli.System) error {
	if !c.compose || c.settings.ComposeAccount != "" {
		return nil
	}
	instance, err := awsapi.Instance(ctx, sys.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"))
	if err != nil {
		return fault.New(fault.Unavailable, "find the account for --compose-role-arn: %w", err).
			Hint("outside EC2, or with the metadata service closed to pods, add --compose-account ACCOUNT")
	}
	c.settings.ComposeAccount, c.settings.ComposePartition = instance.Account, instance.Partition
	return nil
}
