package app

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/webhook"
)

// webhookConfig is what `serve webhook` needs.
type webhookConfig struct {
	// listen and metricsListen are HOST:PORT.
	listen, metricsListen string
	// kubeconfig and kubeAPI say how to reach the API server; both empty
	// means from inside the cluster.
	kubeconfig, kubeAPI string
	// certFile and keyFile are reloaded when they change.
	certFile, keyFile string
	settings          inject.Settings
	logs              logConfig
}

func newServeWebhook(sys System) *cobra.Command {
	c := webhookConfig{settings: inject.Defaults()}
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Serve the admission webhook that injects pods",
		Long: `Serve /mutate, /healthz and /readyz over HTTPS, and /metrics over plain HTTP. It is
ready only when it knows every service account of the cluster.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.listen, "listen", ":443", "where to listen for the API server, HTTPS")
	flags.StringVar(&c.metricsListen, "metrics-listen", ":9999", "where to serve metrics, plain HTTP")
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "file that says how to reach the API server; from inside the cluster if empty")
	flags.StringVar(&c.kubeAPI, "kube-api", "", "URL of the API server, over what the kubeconfig says")
	flags.StringVar(&c.certFile, "tls-cert", "/etc/webhook/certs/tls.crt", "serving certificate chain, PEM")
	flags.StringVar(&c.keyFile, "tls-key", "/etc/webhook/certs/tls.key", "its key, PEM")
	injectFlags(cmd, &c.settings)
	c.logs.flags(cmd)
	return cmd
}

func (c *webhookConfig) run(ctx context.Context, sys System) error {
	log, err := obs.NewLogger(sys.Stderr, c.logs.format, c.logs.level)
	if err != nil {
		return err
	}
	certificate, err := httpserve.LoadCertificate(c.certFile, c.keyFile, log)
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	accounts := webhook.NewAccounts(client, c.settings, time.Second)
	registry := obs.NewRegistry()
	handler, err := webhook.New(webhook.Config{Settings: c.settings, ServiceAccounts: accounts, Metrics: registry, Log: log, Now: sys.Now})
	if err != nil {
		return err
	}
	// A webhook is called by the API server, so it listens beyond loopback.
	listener, err := httpserve.Listen(ctx, c.listen, true, "")
	if err != nil {
		return err
	}
	metricsListener, err := httpserve.Listen(ctx, c.metricsListen, true, "")
	if err != nil {
		_ = listener.Close()
		return err
	}
	hook := httpserve.Server{Name: "webhook", Handler: handler, TLS: certificate.TLSConfig(), Log: log}
	metrics := httpserve.Server{Name: "metrics", Handler: obs.MetricsHandler(registry), Log: log}
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return accounts.Run(ctx) })
	parts.Go(func() error { return hook.Serve(ctx, listener) })
	parts.Go(func() error { return metrics.Serve(ctx, metricsListener) })
	return parts.Wait()
}

// client reads the kubeconfig, or the pod's own service account.
func (c *webhookConfig) client() (kubernetes.Interface, error) {
	var config *rest.Config
	var err error
	if c.kubeconfig == "" && c.kubeAPI == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags(c.kubeAPI, c.kubeconfig)
	}
	if err != nil {
		return nil, fault.New(fault.Usage, "find the API server: %w", err).Hint("outside a cluster, add --kubeconfig FILE")
	}
	config.QPS, config.Burst = 50, 50
	return kubernetes.NewForConfig(config)
}
