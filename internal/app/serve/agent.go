package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/agent/nodenet"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/obs"
)

func newAgent(sys cli.System) *cobra.Command {
	c := newAgentConfig()
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Serve credentials to the pods of this node (EKS Pod Identity)",
		Long: `Answer GET /v1/credentials on 169.254.170.23 and [fd00:ec2::23], as the agent of EKS
Pod Identity does, with credentials from EKS Auth or a broker. The agent gives the node
these addresses, and removes them at the end if the node did not have them before. It
accepts the flags of AWS's agent.`,
		Example: `  rolecall serve agent --cluster-name prod
  rolecall serve agent --cluster-name prod --upstream broker --endpoint https://rolecall-broker.rolecall-system:8443`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd, sys) },

		Annotations: map[string]string{cli.TakesWords: "true"},
	}
	c.flags(cmd)
	// AWS's agent has its server as a subcommand; its manifests go on working.
	server := &cobra.Command{
		Use:     "server",
		Short:   "Serve credentials, as without this word",
		Example: "  rolecall serve agent server --cluster-name prod",
		Hidden:  true,
		// AWS's agent ignores words that belong to no flag.
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, stray []string) error {
			for _, word := range stray {
				if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "warning: unexpected argument %q is ignored\n", word); err != nil {
					return err
				}
			}
			return c.run(cmd, sys)
		},

		Annotations: cmd.Annotations,
	}
	version := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  rolecall serve agent version",
		Hidden:  true,
		Args:    cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(sys.Stdout, cli.Version())
			return err
		},
	}
	server.Flags().AddFlagSet(cmd.Flags())
	cmd.AddCommand(server, version, newAgentInitialize(sys, c), newAgentProbe(sys))
	return cmd
}

func newAgentInitialize(sys cli.System, c *agentConfig) *cobra.Command {
	remove := false
	cmd := &cobra.Command{
		Use:   "initialize",
		Short: "Give this node the agent's addresses, and exit",
		Long: `Make the link pod-id-link0 with the agent's addresses, for an init container with the
capability NET_ADMIN, so that the agent itself needs no capability. Running it twice
changes nothing.`,
		Example: `  rolecall serve agent initialize
  rolecall serve agent initialize --remove`,
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
			_, err = nodenet.Prepare(
				nodenet.Request{Addresses: addresses, RequireIPv6: c.ipv6 == ipv6Require, Log: log})
			return err
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the link instead, no matter who made it")
	cmd.Flags().StringVar(&c.ipv6, "ipv6", ipv6Auto, "auto, require or off")
	cli.CompleteFlag(cmd, "ipv6", ipv6Auto, ipv6Require, ipv6Off)
	return cmd
}

func (c *agentConfig) run(cmd *cobra.Command, sys cli.System) error {
	if err := c.plane.Read(cmd); err != nil {
		return err
	}
	log, err := c.logger(sys)
	if err != nil {
		return err
	}
	c.node = sys.Getenv("NODE_NAME")
	r := newRunner(log)
	return r.run(cmd.Context(), func(ctx context.Context) error {
		if err := c.makeParts(ctx, sys, r); err != nil || !c.plane.Given() {
			return err
		}
		client, err := c.kube.Client()
		if err != nil {
			r.log.Debug("not held to the plane of others, without an API server", "error", err)
			return nil
		}
		r.agree(roleAgent, c.plane.Effective(cmd), client)
		return nil
	})
}

// agentParts are what the agent is made of, beside what every server has.
type agentParts struct {
	*runner
	upstream  *awsapi.EKSAuth
	pods      *agent.Pods // nil where the pods of the node are not watched
	node      *agent.Agent
	listeners []net.Listener
	// shared are the listeners that a second agent may have too.
	shared []net.Listener
}

func (c *agentConfig) makeParts(ctx context.Context, sys cli.System, r *runner) error {
	hosts, err := c.validate(r.log)
	if err != nil {
		return err
	}
	p := &agentParts{runner: r}
	if p.upstream, err = awsapi.NewEKSAuth(ctx, c.eksAuth(sys.Now)); err != nil {
		return fault.New(fault.Usage, "find the upstream: %w", err).Hint("--endpoint names it, --region its region")
	}
	attributes := []any{"endpoint", p.upstream.Endpoint(), "mode", c.upstream}
	if region := p.upstream.Region(); region != "" {
		attributes = append(attributes, "region", region)
	}
	r.log.Info("upstream", attributes...)
	setup, err := c.prepare(hosts, r.log)
	if err != nil {
		return err
	}
	r.close(closeFunc(setup.Remove))
	if p.pods, err = c.pods(sys.Now, r.log); err != nil {
		return err
	}
	if err := c.makeNode(sys, p, hosts); err != nil {
		return err
	}
	registerNode(r.registry, setup)
	probes := &agent.Probes{}
	if c.readyRequires == "upstream" {
		probes.Upstream = p.node.Ready
	}
	if p.pods != nil {
		r.add(func(ctx context.Context) error { return p.pods.Run(ctx, r.log) })
	}
	if err := c.untaint(p, probes); err != nil {
		return err
	}
	if err := c.serveProbes(ctx, p, probes); err != nil {
		return err
	}
	// The last thing that can fail: connections of an agent that ends at once would be lost.
	if err := c.listen(ctx, p, hosts); err != nil {
		return err
	}
	probes.Addresses = addressesOf(p.listeners)
	if err := c.serveNode(p, sys.Now); err != nil {
		return err
	}
	r.add(func(ctx context.Context) error { staySmall(ctx); return nil })
	return nil
}

func (c *agentConfig) makeNode(sys cli.System, p *agentParts, hosts []netip.Addr) error {
	keys, err := c.keys(sys.Now)
	if err != nil {
		return err
	}
	config := c.settings
	config.Cluster, config.Upstream, config.AllowedHosts, config.Node = c.cluster, p.upstream, c.allowed(hosts), c.node
	config.Keys, config.Pods, config.Metrics, config.Log, config.Now = keys, p.pods, p.registry, p.log, sys.Now
	config.Changes = c.changes(p.upstream, p.log)
	if p.node, err = agent.New(config); err != nil {
		return err
	}
	return p.node.Restore()
}

// handOverPause is for connections that the kernel gave this agent before it was
// told to prefer the next one, and once more for those before it was told to give it
// none; on a node they are made in microseconds.
const handOverPause = 200 * time.Millisecond

// serveNode drains the listeners before the agent ends: who is being answered
// still needs it. With --reuse-port an agent that came later gets the new connections,
// for a moment before; until then it gets none.
func (c *agentConfig) serveNode(p *agentParts, now func() time.Time) error {
	if c.reusePort {
		p.delay = handOverPause
		p.whenTold(func() {
			p.eachShared(nodenet.HandOver)
			time.Sleep(handOverPause)
			p.eachShared(nodenet.Refuse)
		})
	}
	limits := httpserve.Limits{Header: 2 * time.Second, Read: 5 * time.Second, Idle: time.Minute, Drain: c.grace}
	p.add(p.node.Run)
	origins := c.origins(p.registry, p.log, now)
	for _, listener := range p.listeners {
		guarded, err := nodenet.Guard(listener, origins)
		if err != nil {
			return err
		}
		p.addServer(httpserve.Server{Name: "agent", Handler: p.node, Limits: limits}, agent.LimitConnections(guarded))
	}
	return nil
}

// eachShared does a step of handing over.
func (p *agentParts) eachShared(step func(net.Listener) error) {
	for _, listener := range p.shared {
		if err := step(listener); err != nil {
			p.log.Warn("connections are not handed over", "address", listener.Addr().String(), "error", err)
		}
	}
}

// serveProbes serves probes on localhost, both families if there, and metrics
// with the same probes where they are wanted; and probes on a socket of the agent's own,
// if it is to have one.
func (c *agentConfig) serveProbes(ctx context.Context, p *agentParts, probes *agent.Probes) error {
	routes := http.NewServeMux()
	probes.Register(routes)
	withMetrics := http.NewServeMux()
	probes.Register(withMetrics)
	p.metrics(withMetrics)
	port := strconv.Itoa(c.probePort)
	for _, one := range []listening{
		{
			net.JoinHostPort(c.metricsAddress, strconv.Itoa(c.metricsPort)),
			httpserve.Server{Name: "metrics", Handler: withMetrics},
		},
		{net.JoinHostPort("127.0.0.1", port), httpserve.Server{Name: "probes", Handler: routes}},
	} {
		listener, err := c.listenAt(ctx, p, one.address)
		if err != nil {
			return err
		}
		p.addServer(one.server, listener)
	}
	if c.probeSocket != "" {
		listener, err := listenProbes(ctx, c.probeSocket)
		if err != nil {
			return err
		}
		p.close(closeOnce{listener})
		p.addServer(httpserve.Server{Name: "probes", Handler: routes}, listener)
	}
	if c.ipv6 == ipv6Off {
		return nil
	}
	if listener, err := c.listenAt(ctx, p, net.JoinHostPort("::1", port)); err == nil {
		p.addServer(httpserve.Server{Name: "probes", Handler: routes}, listener)
	}
	return nil
}

// listenAt opens a listener for others than pods, which a second agent may have too.
func (c *agentConfig) listenAt(ctx context.Context, p *agentParts, address string) (net.Listener, error) {
	if !c.reusePort {
		return p.listen(ctx, address)
	}
	listener, err := nodenet.ListenAt(ctx, address, true)
	if err != nil {
		return nil, err
	}
	p.close(closeOnce{listener})
	p.shared = append(p.shared, listener)
	return listener, nil
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
func (c *agentConfig) listen(ctx context.Context, p *agentParts, hosts []netip.Addr) error {
	for _, host := range hosts {
		listener, err := nodenet.Listen(ctx, host, c.port, c.reusePort)
		if err != nil && host.Is6() && c.ipv6 == ipv6Auto && len(hosts) > 1 && nodenet.NoAddress(err) {
			p.log.Warn("not listening on IPv6", "address", host.String(), "error", err)
			continue
		}
		if err != nil {
			return err
		}
		p.close(closeOnce{listener})
		p.listeners, p.shared = append(p.listeners, listener), append(p.shared, listener)
	}
	return nil
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
	client, err := c.kube.Client()
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
func (c *agentConfig) untaint(p *agentParts, probes *agent.Probes) error {
	if !c.startupTaint {
		return nil
	}
	client, err := c.kube.Client()
	if err != nil {
		return err
	}
	taint := agent.Taint{
		Client: client,
		Node:   c.node,
		Ready:  []func(context.Context) error{probes.Serving, p.node.Ready},
		Log:    p.log,
	}
	p.add(func(ctx context.Context) error { taint.Run(ctx); return nil })
	return nil
}

func (c *agentConfig) eksAuth(now func() time.Time) awsapi.EKSAuthConfig {
	config := awsapi.EKSAuthConfig{
		Region:     c.region,
		Endpoint:   c.endpoint,
		CAFile:     c.upstreamCA,
		RotateFile: c.rotate,
		Now:        now,
	}
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
		"panic":   "error",
		"fatal":   "error",
		"error":   "error",
		"warn":    "warn",
		"warning": "warn",
		"info":    "info",
		"debug":   "debug",
		"trace":   "debug",
	}[strings.ToLower(c.verbosity)]
	if !known {
		return nil, cli.Usage("verbosity %q: want error, warn, info, debug, or panic or trace as AWS's agent has them",
			c.verbosity)
	}
	log, err := obs.NewLogger(sys.Stdout, c.logFormat, level)
	if err != nil {
		return nil, fmt.Errorf("start logging: %w", err)
	}
	return log, nil
}
