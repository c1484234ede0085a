package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/agent/nodenet"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/obs"
)

func newAgent(sys cli.System) *cobra.Command {
	c := newAgentConfig()
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Serve pods of this node their credentials (EKS Pod Identity)",
		Long: `Answer GET /v1/credentials on 169.254.170.23 and [fd00:ec2::23], as the agent of EKS
Pod Identity does, with credentials from EKS Auth or a broker. The node gets the
addresses by itself, and loses them at the end if it did not have them before. The
flags of AWS's agent are understood.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context(), sys) },
	}
	c.flags(cmd)
	// AWS's agent has its server as a subcommand; its manifests go on working.
	server := &cobra.Command{
		Use: "server", Short: "The same as without it", Hidden: true, Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context(), sys) },
	}
	server.Flags().AddFlagSet(cmd.Flags())
	cmd.AddCommand(server, newAgentInitialize(sys, c))
	return cmd
}

func newAgentInitialize(sys cli.System, c *agentConfig) *cobra.Command {
	remove := false
	cmd := &cobra.Command{
		Use:   "initialize",
		Short: "Give this node the agent's addresses, and end",
		Long: `Make the link pod-id-link0 with the agent's addresses, for an init container with the
capability NET_ADMIN, so that the agent itself needs none. Running it twice changes
nothing.`,
		Args: cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			log, err := c.logger(sys)
			if err != nil {
				return err
			}
			addresses := []netip.Addr{agent.AddressIPv4}
			if c.ipv6 != ipv6Off {
				addresses = append(addresses, agent.AddressIPv6)
			}
			if remove {
				return nodenet.RemoveAll(addresses)
			}
			_, err = nodenet.Prepare(nodenet.Request{Addresses: addresses, RequireIPv6: c.ipv6 == ipv6Require, Log: log})
			return err
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take the link away instead, whoever made it")
	cmd.Flags().StringVar(&c.ipv6, "ipv6", ipv6Auto, "auto, require or off")
	return cmd
}

func (c *agentConfig) serve(ctx context.Context, sys cli.System) (err error) {
	log, err := c.logger(sys)
	if err != nil {
		return err
	}
	c.node = sys.Getenv("NODE_NAME")
	hosts, err := c.validate(log)
	if err != nil {
		return err
	}
	upstream, err := awsapi.NewEKSAuth(ctx, c.eksAuth(sys.Now))
	if err != nil {
		return fault.New(fault.Usage, "find the upstream: %w", err).Hint("--endpoint names it, --region its region")
	}
	attributes := []any{"endpoint", upstream.Endpoint(), "mode", c.upstream}
	if region := upstream.Region(); region != "" {
		attributes = append(attributes, "region", region)
	}
	log.Info("upstream", attributes...)
	setup, err := c.prepare(hosts, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, setup.Remove()) }()
	listeners, err := c.listen(ctx, hosts, log)
	if err != nil {
		return err
	}
	registry := obs.NewRegistry()
	pods, err := c.pods(sys.Now, log)
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	keys, err := c.keys(sys.Now)
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	config := c.settings
	config.Cluster, config.Upstream, config.AllowedHosts, config.Node = c.cluster, upstream, c.allowed(hosts), c.node
	config.Keys, config.Pods, config.Metrics, config.Log, config.Now = keys, pods, registry, log, sys.Now
	config.Changes = c.changes(upstream, log)
	node, err := agent.New(config)
	if err == nil {
		err = node.Restore()
	}
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	registerNode(registry, setup)

	probes := &agent.Probes{Addresses: addressesOf(listeners)}
	if c.readyRequires == "upstream" {
		probes.Upstream = node.Ready
	}
	parts, ctx := errgroup.WithContext(ctx)
	if pods != nil {
		parts.Go(func() error { return pods.Run(ctx, log) })
	}
	if err := c.untaint(ctx, parts, probes, node, log); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	if err := c.serveProbes(ctx, parts, probes, registry, log); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	c.serveNode(ctx, parts, node, listeners, log)
	parts.Go(func() error { staySmall(ctx); return nil })
	return parts.Wait()
}

// serveNode drains the listeners before the agent ends: who is being answered
// still needs it.
func (c *agentConfig) serveNode(ctx context.Context, parts *errgroup.Group, node *agent.Agent, listeners []net.Listener, log *slog.Logger) {
	ctx = c.handOver(ctx, listeners, log)
	limits := httpserve.Limits{Header: 2 * time.Second, Read: 5 * time.Second, Idle: time.Minute, Drain: c.grace}
	parts.Go(func() error { return node.Run(ctx) })
	for _, listener := range listeners {
		server := httpserve.Server{Name: "agent", Handler: node, Log: log, Limits: limits}
		parts.Go(func() error { return server.Serve(ctx, agent.LimitConnections(listener)) })
	}
}

// handOverPause is for connections that the kernel gave this agent before it was
// told to prefer the next one; on a node they are made in microseconds.
const handOverPause = 200 * time.Millisecond

// handOver returns a context that ends a moment later than ctx, when an agent
// that listens at the same time gets the new connections.
func (c *agentConfig) handOver(ctx context.Context, listeners []net.Listener, log *slog.Logger) context.Context {
	if !c.reusePort {
		return ctx
	}
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		defer end()
		for _, listener := range listeners {
			if err := nodenet.HandOver(listener); err != nil {
				log.Warn("connections are not handed over", "address", listener.Addr().String(), "error", err)
			}
		}
		time.Sleep(handOverPause)
	})
	return later
}

// serveProbes serves probes on localhost, both families if there, and metrics
// with the same probes where they are wanted.
func (c *agentConfig) serveProbes(ctx context.Context, parts *errgroup.Group, probes *agent.Probes, registry metricsRegistry, log *slog.Logger) error {
	mux := http.NewServeMux()
	probes.Register(mux)
	withMetrics := http.NewServeMux()
	probes.Register(withMetrics)
	withMetrics.Handle("GET /metrics", obs.MetricsHandler(registry))
	metrics, err := httpserve.Listen(ctx, net.JoinHostPort(c.metricsAddress, strconv.Itoa(c.metricsPort)), true, "")
	if err != nil {
		return err
	}
	listener, err := httpserve.Listen(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(c.probePort)), true, "")
	if err != nil {
		return errors.Join(err, metrics.Close())
	}
	serve := func(name string, on net.Listener, handler http.Handler) {
		server := httpserve.Server{Name: name, Handler: handler, Log: log}
		parts.Go(func() error { return server.Serve(ctx, on) })
	}
	serve("metrics", metrics, withMetrics)
	serve("probes", listener, mux)
	if c.ipv6 == ipv6Off {
		return nil
	}
	if listener, err := httpserve.Listen(ctx, net.JoinHostPort("::1", strconv.Itoa(c.probePort)), true, ""); err == nil {
		serve("probes", listener, mux)
	}
	return nil
}

// prepare gives the node those of the protocol's addresses that are served.
func (c *agentConfig) prepare(hosts []netip.Addr, log *slog.Logger) (*nodenet.Setup, error) {
	var wanted []netip.Addr
	for _, host := range hosts {
		if host == agent.AddressIPv4 || host == agent.AddressIPv6 {
			wanted = append(wanted, host)
		}
	}
	if !c.init || len(wanted) == 0 {
		return &nodenet.Setup{}, nil
	}
	return nodenet.Prepare(nodenet.Request{Addresses: wanted, RequireIPv6: c.ipv6 == ipv6Require, Log: log})
}

// listen opens all listeners or none. An IPv6 address that the node cannot have
// is left out, unless it is required.
func (c *agentConfig) listen(ctx context.Context, hosts []netip.Addr, log *slog.Logger) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, host := range hosts {
		listener, err := nodenet.Listen(ctx, host, c.port, c.reusePort)
		if err != nil && host.Is6() && c.ipv6 == ipv6Auto && len(hosts) > 1 && nodenet.NoAddress(err) {
			log.Warn("not listening on IPv6", "address", host.String(), "error", err)
			continue
		}
		if err != nil {
			return nil, errors.Join(err, closeAll(listeners))
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) error {
	var err error
	for _, listener := range listeners {
		err = errors.Join(err, listener.Close())
	}
	return err
}

func addressesOf(listeners []net.Listener) []string {
	var addresses []string
	for _, listener := range listeners {
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses
}

func (c *agentConfig) pods(now func() time.Time, log *slog.Logger) (*agent.Pods, error) {
	if c.podLiveness == "off" || c.node == "" {
		return nil, nil
	}
	client, err := flags.KubeClient(c.kubeconfig, c.kubeAPI)
	if err != nil {
		if c.podLiveness == "auto" && !c.settings.VerifySource {
			log.Warn("pods of this node are not watched", "error", err)
			return nil, nil
		}
		return nil, err
	}
	return agent.NewPods(client, c.node, now)
}

// changes are told by a broker, of the node it is asked about.
func (c *agentConfig) changes(upstream *awsapi.EKSAuth, log *slog.Logger) agent.ChangeSource {
	switch {
	case c.upstream != upstreamBroker:
		return nil
	case c.node == "":
		log.Warn("changes of associations are seen at renewals only: the node's name is not in NODE_NAME")
		return nil
	}
	return upstream
}

// untaint takes the start-up taint off the node when listeners answer and the
// agent has credentials of its own.
func (c *agentConfig) untaint(ctx context.Context, parts *errgroup.Group, probes *agent.Probes, node *agent.Agent, log *slog.Logger) error {
	if !c.startupTaint {
		return nil
	}
	client, err := flags.KubeClient(c.kubeconfig, c.kubeAPI)
	if err != nil {
		return err
	}
	taint := agent.Taint{Client: client, Node: c.node, Ready: []func(context.Context) error{probes.Serving, node.Ready}, Log: log}
	parts.Go(func() error { taint.Run(ctx); return nil })
	return nil
}

func (c *agentConfig) eksAuth(now func() time.Time) awsapi.EKSAuthConfig {
	config := awsapi.EKSAuthConfig{Region: c.region, Endpoint: c.endpoint, CAFile: c.upstreamCA, RotateFile: c.rotate, Now: now}
	switch {
	case c.upstream != upstreamBroker:
	case c.brokerCertificate != "":
		config.ClientCertificateFile = c.brokerCertificate
	case c.brokerAWSToken:
		config.TokenForCluster = c.cluster
	default:
		config.BearerFile = c.brokerToken
	}
	return config
}

func (c *agentConfig) logger(sys cli.System) (*slog.Logger, error) {
	level, known := map[string]string{
		"panic": "error", "fatal": "error", "error": "error", "warn": "warn", "warning": "warn", "info": "info", "debug": "debug", "trace": "debug",
	}[c.verbosity]
	if !known {
		return nil, cli.Usage("verbosity %q: want error, warn, info, debug, or panic or trace as AWS's agent has them", c.verbosity)
	}
	log, err := obs.NewLogger(sys.Stdout, c.logFormat, level)
	if err != nil {
		return nil, fmt.Errorf("start logging: %w", err)
	}
	return log, nil
}
