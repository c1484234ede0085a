package serve

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/internal/agent"
	"github.com/rolecall/rolecall/internal/agent/nodenet"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/limit"
	"github.com/rolecall/rolecall/internal/obs"
	"github.com/rolecall/rolecall/internal/planefile"
)

const (
	podIdentityAudience = "pods.eks.amazonaws.com"

	ipv6Auto, ipv6Require, ipv6Off  = "auto", "require", "off"
	upstreamEKSAuth, upstreamBroker = "eks-auth", "broker"
	keysAuto, keysOff               = "auto", "off"
)

// agentConfig is what `serve agent` needs. docs/reference/agent-flags.md is its
// manual.
type agentConfig struct {
	plane   flags.Plane
	cluster string
	// bindHosts may carry brackets; see validate.
	bindHosts    []string
	port         int
	anyBindHost  bool
	podLinks     []string
	allowedHosts []string
	ipv6         string
	init         bool
	reusePort    bool

	upstream, endpoint, region, brokerToken string
	upstreamCA, brokerCertificate           string
	rotate, brokerAWSToken                  bool
	// startupTaint: take the taint off this node once the agent is ready.
	startupTaint bool

	probePort, metricsPort int
	probeSocket            string
	metricsAddress         string
	readyRequires          string

	localKeys, keysIssuer string
	keysAlso              []string // ISSUER=KEYS
	podLiveness           string
	kube                  flags.Kube
	// node is this node's name, from NODE_NAME.
	node string

	errorFormat          string
	grace                time.Duration
	verbosity, logFormat string
	settings             agent.Config
}

func newAgentConfig() *agentConfig { return &agentConfig{settings: agent.Defaults()} }

func (c *agentConfig) flags(cmd *cobra.Command) {
	s := &c.settings
	f := cmd.Flags()
	// Those of AWS's agent, with its names, defaults and meaning.
	f.BoolVar(&c.rotate, "rotate-credentials", false,
		"read profile default of the shared credentials file again every minute, for hybrid nodes")
	f.StringVar(&c.endpoint, "endpoint", "",
		"URL of EKS Auth or of the broker; else AWS_ENDPOINT_URL_EKS_AUTH, else the region's")
	cmd.PersistentFlags().StringVarP(&c.verbosity, "verbosity", "v", "info",
		"error, warn, info or debug; panic and trace are accepted too")
	cmd.PersistentFlags().StringVar(&c.logFormat, "log-format", "json", "text or json")
	// Ours.
	f.StringVar(&c.upstream, "upstream", upstreamEKSAuth,
		"eks-auth signs as the node, broker sends the agent's own token")
	f.BoolVar(&c.startupTaint, "startup-taint", false, "remove the taint "+agent.TaintKey+" from $NODE_NAME once ready")
	f.StringVar(&c.errorFormat, "error-format", "json", "form of errors: json, or text as from AWS's agent")
	f.BoolVar(&s.LegacyMetrics, "legacy-metrics", s.LegacyMetrics, "serve the three metrics of AWS's agent, too")
	f.StringVar(&c.readyRequires, "ready-requires", "",
		"upstream: be ready only once the agent's own credentials were found")
	c.plane.Add(cmd)
	cli.Group(cmd, flags.PlaneHeading, func(f *pflag.FlagSet) {
		f.StringVarP(&c.cluster, "cluster-name", "c", "", "name of the cluster; required")
		f.StringVar(&c.region, "region", "",
			"region to sign for; else that of the AWS configuration, else the instance's")
	})
	cli.Group(cmd, "Credentials", func(f *pflag.FlagSet) {
		f.DurationVar(&s.Retention, "max-credential-retention-before-renewal", s.Retention,
			"renew at this age at the latest; 0 keeps nothing")
		f.IntVar(&s.CacheSize, "max-cache-size", s.CacheSize, "pods to keep credentials of; 0 keeps nothing")
		f.Float64Var(&s.RenewRate, "max-service-qps", s.RenewRate, "renewals a second")
		f.DurationVar(&s.MinServeTTL, "min-serve-ttl", s.MinServeTTL, "hand out no credentials with less left")
		f.Float64Var(&s.RefreshFraction, "refresh-fraction", s.RefreshFraction,
			"renew after this part of a session's life")
		f.DurationVar(&s.ForegroundDeadline, "foreground-deadline", s.ForegroundDeadline,
			"how long a pod without credentials waits, and twice that when it asks again; the first SDKs give up at 1 s")
		f.StringVar(&s.StateFile, "state-file", "",
			"file in memory (tmpfs) for the next agent to start from; holds live credentials")
	})
	cli.Group(cmd, "Limits", func(f *pflag.FlagSet) {
		f.Float64Var(&s.Limits.PodRate, "pod-qps", s.Limits.PodRate, "requests a second of one pod")
		f.IntVar(&s.Limits.PodBurst, "pod-burst", s.Limits.PodBurst, "requests of one pod at once")
		f.Float64Var(&s.Limits.TotalRate, "max-qps", s.Limits.TotalRate, "requests a second of all pods")
	})
	cli.Group(cmd, "Addresses", func(f *pflag.FlagSet) {
		f.StringSliceVarP(&c.bindHosts, "bind-hosts", "b",
			[]string{agent.AddressIPv4.String(), "[" + agent.AddressIPv6.String() + "]"},
			"addresses to serve credentials on; may be repeated")
		f.IntVarP(&c.port, "port", "p", 80, "port of every bind host")
		f.StringVar(&c.ipv6, "ipv6", ipv6Auto, "auto leaves IPv6 out where the node has none; require; off")
		f.BoolVar(&c.init, "init", true, "give the node the addresses if it lacks them, and remove them at the end")
		f.BoolVar(&c.reusePort, "reuse-port", false,
			"let a second agent listen at the same time, for updates without a gap")
		f.BoolVar(&c.anyBindHost, "allow-any-bind-host", false,
			"allow bind hosts that are neither loopback nor link-local nor in fd00:ec2::/64")
		f.StringSliceVar(&c.podLinks, "pod-interfaces", nil,
			"names of the node's interfaces, as cni0 or eni*, behind which pods are; else found by what they are. "+
				"Connections by others are closed; * takes all")
		f.StringSliceVar(&c.allowedHosts, "allowed-hosts", nil,
			"addresses accepted in the Host header beside the bind hosts and the protocol's")
		f.IntVar(&c.probePort, "probe-port", 2703, "port of /healthz and /readyz on localhost")
		f.StringVar(&c.probeSocket, "probe-socket", "",
			"Unix socket of /healthz and /readyz beside the port, which two agents may share: for `serve agent probe`")
		f.StringVar(&c.metricsAddress, "metrics-address", "0.0.0.0", "where to serve /metrics; better 127.0.0.1")
		f.IntVar(&c.metricsPort, "metrics-port", 2705, "port of /metrics")
		f.DurationVar(&c.grace, "shutdown-grace", 25*time.Second,
			"how long requests may take at the end; less than the pod's grace period")
	})
	cli.Group(cmd, "Pods' tokens", func(f *pflag.FlagSet) {
		f.StringVar(&c.localKeys, "local-keys", keysAuto,
			"keys that rotated tokens are verified with: apiserver, a file or https URL of a JWKS, off; auto is "+
				"apiserver with a broker")
		f.StringVar(&c.keysIssuer, "local-keys-issuer", "", "issuer of the tokens; needed with a file or URL")
		f.StringArrayVar(&c.keysAlso, "local-keys-also", nil,
			"ISSUER=KEYS: a further issuer of the cluster's tokens, as while its URL is changed, and where its keys "+
				"come from, as in --local-keys; may be repeated")
		f.StringVar(&c.podLiveness, "pod-liveness", "auto",
			"watch the pods of $NODE_NAME and forget those that ended: auto, on or off")
		f.BoolVar(&s.VerifySource, "verify-source-ip", false,
			"refuse a pod's token from other addresses than the pod's; needs the watch of pods")
	})
	cli.Group(cmd, "Broker", func(f *pflag.FlagSet) {
		f.StringVar(&c.brokerToken, "broker-token-file", "/var/run/secrets/rolecall.io/broker/token",
			"the agent's own service-account token, for --upstream broker")
		f.StringVar(&c.brokerCertificate, "broker-client-certificate", "",
			"PEM file with a certificate and its key, as kubelet's own, instead of the token")
		f.BoolVar(&c.brokerAWSToken, "broker-aws-token", false,
			"show the broker a token of the node's own AWS role instead, for its --agent-auth aws-token")
		f.StringVar(&c.upstreamCA, "upstream-ca-file", "",
			"PEM certificates that the upstream's must come from; followed. Else AWS_CA_BUNDLE, else the system's")
	})
	c.plane.Bind("cluster-name", planefile.ClusterName)
	c.plane.Bind("region", planefile.Region)
	c.plane.Bind("local-keys-issuer", planefile.TokenIssuer)
	c.kube.Add(cmd)
	for flag, values := range map[string][]string{
		"verbosity":      {"error", "warn", "info", "debug"},
		"log-format":     {"text", "json"},
		"upstream":       {upstreamEKSAuth, upstreamBroker},
		"error-format":   {"json", "text"},
		"ready-requires": {"upstream"},
		"ipv6":           {ipv6Auto, ipv6Require, ipv6Off},
		"local-keys":     {keysAuto, "apiserver", "off"},
		"pod-liveness":   {"auto", "on", "off"},
	} {
		cli.CompleteFlag(cmd, flag, values...)
	}
	cli.CompleteFiles(cmd, "probe-socket")
	cli.CompleteFiles(cmd, "broker-client-certificate", "pem")
	cli.CompleteFiles(cmd, "upstream-ca-file", "pem", "crt")
}

// validate checks what the flags say together and returns the bind hosts.
func (c *agentConfig) validate(log *slog.Logger) ([]netip.Addr, error) {
	s := &c.settings
	s.PlainErrors = c.errorFormat == "text"
	for _, choice := range []struct {
		flag, got string
		want      []string
	}{
		{"ipv6", c.ipv6, []string{ipv6Auto, ipv6Require, ipv6Off}},
		{"upstream", c.upstream, []string{upstreamEKSAuth, upstreamBroker}},
		{"error-format", c.errorFormat, []string{"json", "text"}},
		{"pod-liveness", c.podLiveness, []string{"auto", "on", "off"}},
		{"ready-requires", c.readyRequires, []string{"", "upstream"}},
	} {
		if !slices.Contains(choice.want, choice.got) {
			return nil, cli.Usage("--%s %q: want %s", choice.flag, choice.got,
				strings.Trim(strings.Join(choice.want, ", "), ", "))
		}
	}
	switch {
	case c.cluster == "":
		return nil, cli.Usage("no cluster name").Hint("add --cluster-name NAME")
	case !arn.IsClusterName(c.cluster):
		return nil, cli.Usage("cluster name %w", arn.CheckClusterName(c.cluster))
	case c.region != "" && !arn.IsRegionLabel(c.region):
		return nil, cli.Usage("--region %q: want a region such as eu-west-1", c.region)
	case c.podLiveness == "on" && c.node == "":
		return nil, cli.Usage("--pod-liveness on needs the node's name in NODE_NAME")
	case c.startupTaint && c.node == "":
		return nil, cli.Usage("--startup-taint needs the node's name in NODE_NAME")
	case s.VerifySource && (c.node == "" || c.podLiveness == "off"):
		return nil, cli.Usage("--verify-source-ip needs the watch of pods").
			Hint("set NODE_NAME, and not --pod-liveness off")
	case c.brokerCertificate != "" && c.upstream != upstreamBroker:
		return nil, cli.Usage("--broker-client-certificate is for --upstream broker")
	case len(c.keysAlso) > 0 && c.keysFrom() == keysOff:
		return nil, cli.Usage("--local-keys-also needs --local-keys, where the keys of the issuer come from")
	case c.brokerAWSToken && c.upstream != upstreamBroker:
		return nil, cli.Usage("--broker-aws-token is for --upstream broker").
			Hint("EKS Auth gets requests that are signed as the node anyway")
	case c.brokerAWSToken && c.brokerCertificate != "":
		return nil, cli.Usage("--broker-aws-token and --broker-client-certificate exclude each other")
	case s.CacheSize < 0 || s.Retention < 0 || s.RenewRate <= 0 || s.MinServeTTL < 0 || s.ForegroundDeadline <= 0,
		c.grace < 0:
		return nil, cli.Usage(
			"sizes, times and rates must not be negative, and --max-service-qps and --foreground-deadline not 0")
	case s.RefreshFraction <= 0 || s.RefreshFraction > 0.9:
		return nil, cli.Usage("--refresh-fraction %v: want more than 0, at most 0.9", s.RefreshFraction)
	}
	if err := flags.ValidateFurther("local-keys-also", c.keysIssuer, c.keysAlso); err != nil {
		return nil, err
	}
	c.warnCapacity(log)
	return c.hosts()
}

// warnCapacity: AWS's agent refuses to start when a full cache needs more than
// twice the rate. With a real queue it is only late, so half of the rate is
// where to say so.
func (c *agentConfig) warnCapacity(log *slog.Logger) {
	s := c.settings
	perRetention := s.RenewRate * s.Retention.Seconds()
	if s.Retention > 0 && float64(s.CacheSize) > perRetention/2 {
		log.Warn("a full cache could not be renewed in time; raise --max-service-qps or lower --max-cache-size",
			"renewals", perRetention, "entries", s.CacheSize)
	}
}

// hosts reads the bind hosts.
func (c *agentConfig) hosts() ([]netip.Addr, error) {
	var hosts []netip.Addr
	aws := netip.MustParsePrefix("fd00:ec2::/64")
	for _, text := range c.bindHosts {
		host, err := agent.ParseHost(text)
		switch {
		case err != nil:
			return nil, cli.Usage("bind host %w", err)
		case !host.IsLoopback() && !host.IsLinkLocalUnicast() && !aws.Contains(host) && !c.anyBindHost:
			return nil, cli.Usage("bind host %s: neither loopback nor link-local nor in fd00:ec2::/64", host).
				Hint("others on the network could reach it; if they are meant to, add --allow-any-bind-host")
		case host.Is6() && c.ipv6 == ipv6Off:
		default:
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return nil, cli.Usage("no bind host is left")
	}
	for _, text := range c.allowedHosts {
		if _, err := agent.ParseHost(text); err != nil {
			return nil, cli.Usage("allowed host %w", err)
		}
	}
	return hosts, nil
}

// allowed are the Host headers beside the protocol's own.
func (c *agentConfig) allowed(hosts []netip.Addr) []netip.Addr {
	for _, text := range c.allowedHosts {
		if host, err := agent.ParseHost(text); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// keysFrom is where the keys of the cluster's issuer come from.
func (c *agentConfig) keysFrom() string {
	switch {
	case c.localKeys != keysAuto:
		return c.localKeys
	case c.upstream == upstreamBroker:
		return follow.KeysAPIServer
	}
	return keysOff
}

// keys are nil where tokens are not verified on the node.
func (c *agentConfig) keys(now func() time.Time) (*agent.Keys, error) {
	from := c.keysFrom()
	switch {
	case from == keysOff:
		return nil, nil
	case from != follow.KeysAPIServer && c.keysIssuer == "":
		return nil, cli.Usage("--local-keys %s needs --local-keys-issuer, the issuer of the tokens", from)
	}
	var client kubernetes.Interface
	if from == follow.KeysAPIServer || slices.ContainsFunc(c.keysAlso,
		func(one string) bool { return strings.HasSuffix(one, "="+follow.KeysAPIServer) }) {
		var err error
		if client, err = c.kube.Client(); err != nil {
			return nil, err
		}
	}
	return agent.NewKeys(follow.KeySourceAt(client, from, c.keysIssuer), podIdentityAudience, now,
		follow.FurtherIssuers(client, c.keysAlso)...), nil
}

// complainRate is how often a minute it is said that a link brings connections that
// are not pods'.
const complainRate = 1.0 / 60

// origins is where requests may come from. What is refused is counted, and said once
// a minute for each link.
func (c *agentConfig) origins(registry *prometheus.Registry, log *slog.Logger, now func() time.Time) nodenet.Origins {
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "rolecall_agent_foreign_connections_total",
		Help: "Connections that were closed because they came from elsewhere than this node and its pods.",
	})
	registry.MustRegister(refused)
	said := limit.NewRates[string](complainRate, 1, maxLinksSaid)
	return nodenet.Origins{Links: c.podLinks, Now: now, Refused: func(client netip.Addr, link, why string) {
		refused.Inc()
		if said.Allow(link, now()) {
			log.Warn("connection closed: it is not from a pod of this node", "client", client.String(), "interface", link,
				obs.KeyReason, why, "hint", "if pods are behind this interface, name it in --pod-interfaces")
		}
	}}
}

const maxLinksSaid = 256

// registerNode adds what is known of the node and the program.
func registerNode(registry *prometheus.Registry, setup *nodenet.Setup) {
	link := prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: "rolecall_agent_link_info", Help: "What kind of link has the addresses."},
		[]string{"type"})
	build := prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: "rolecall_agent_build_info", Help: "The program's version."}, []string{"version"})
	registry.MustRegister(link, build)
	build.WithLabelValues(cli.Version()).Set(1)
	if setup.LinkType != "" {
		link.WithLabelValues(setup.LinkType).Set(1)
	}
}
