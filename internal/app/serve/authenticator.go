package serve

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/authenticator"
	"github.com/rolecall/rolecall/internal/authenticator/sources"
	"github.com/rolecall/rolecall/internal/authenticator/statedir"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/events"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/identify"
	"github.com/rolecall/rolecall/internal/obs"
)

func newAuthenticator(sys cli.System) *cobra.Command {
	c := newAuthenticatorConfig()
	cmd := &cobra.Command{
		Use:   "authenticator",
		Short: "Tell API servers who people and pipelines are, by their AWS identities",
		Long: `Serve /authenticate for --authentication-token-webhook-config-file of API servers: a
token of "rolecall token", "aws eks get-token" or "aws-iam-authenticator token" is
verified by STS, and AccessEntries, IdentityMappings, aws-auth and the rest say which
Kubernetes user that is. Flags, configuration file, state directory and metrics are those
of aws-iam-authenticator, in whose place it may be put; "rolecall authenticator init"
writes what a cluster needs.`,
		Example: `  rolecall serve authenticator -i prod -c /etc/aws-iam-authenticator/config.yaml
  rolecall serve authenticator -i prod --backend-mode EKSConfigMap --kubeconfig /etc/kubernetes/admin.conf`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.read(cmd, sys.Getenv); err != nil {
				return err
			}
			if err := c.validate(); err != nil {
				return err
			}
			return c.run(cmd, sys)
		},
	}
	c.flags(cmd)
	return cmd
}

// authenticatorParts are what the authenticator is made of, beside what every server has.
type authenticatorParts struct {
	*runner
	metrics *authenticator.Metrics
	client  kubernetes.Interface // nil without a cluster
	objects dynamic.Interface
	tls     *tls.Config
	server  *authenticator.Server
}

func (c *authenticatorConfig) run(cmd *cobra.Command, sys cli.System) error {
	log, err := obs.NewLogger(sys.Stderr, c.logFormat, c.logVerbosity)
	if err != nil {
		return err
	}
	p := &authenticatorParts{runner: newRunner(log)}
	p.delay = c.shutdownDelay
	log.Info("authenticator", "cluster", c.cluster, "from", c.clusterFrom, "partition", c.partition)
	for _, note := range c.file.Notes {
		log.Warn("configuration without effect", "file", c.configFile, "line", note.Line, "key", note.Key, "reason", note.Text)
	}
	for _, gate := range c.gates {
		log.Warn("feature gate without effect: what it opens is always there", "gate", gate)
	}
	return p.run(cmd.Context(), func(ctx context.Context) error {
		if err := c.makeParts(ctx, sys, p); err != nil {
			return err
		}
		return c.serve(ctx, p)
	})
}

// makeParts makes everything and starts nothing.
func (c *authenticatorConfig) makeParts(ctx context.Context, sys cli.System, p *authenticatorParts) (err error) {
	regions := slices.Clone(c.regions)
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region := sys.Getenv(name); region != "" && len(regions) == 0 {
			regions = []string{region}
		}
	}
	p.metrics, err = authenticator.Register(p.registry, func(region string) bool {
		return arn.HasRegion(c.partition, region) || slices.Contains(regions, region)
	})
	if err != nil {
		return err
	}
	if err := c.clients(p); err != nil {
		return err
	}
	identities, err := c.identities(ctx, sys, p, regions)
	if err != nil {
		return err
	}
	names, err := c.names(ctx, sys, p, regions)
	if err != nil {
		return err
	}
	set, err := c.sources(sys, p, names)
	if err != nil {
		return err
	}
	if err := c.certificate(sys, p); err != nil { // last: it writes
		return err
	}
	p.server = authenticator.New(authenticator.Config{
		Cluster: c.cluster, Identify: identities.Identify, Resolve: set.Resolve, Scrubbed: c.file.Scrubbed,
		CacheDenials: c.denyStatus == http.StatusOK, TellWhy: c.tellWhy, NeedsClient: c.clientCA != "",
		Metrics: p.metrics, Log: p.log, Now: sys.Now,
	})
	return nil
}

// needsCluster says whether there is nothing to do without a cluster.
func (c *authenticatorConfig) needsCluster() bool {
	return c.objects == objectsOn || slices.Contains(c.backends, access.EKSConfigMap) || slices.Contains(c.backends, access.CRD)
}

// clients makes clients of the cluster, if there is one.
func (c *authenticatorConfig) clients(p *authenticatorParts) error {
	if !c.needsCluster() && c.objects == objectsOff && c.file.BackendModeFile == "" {
		return nil
	}
	config, err := c.kube.Config()
	if err != nil && (c.needsCluster() || c.kube.Kubeconfig != "" || c.kube.API != "") {
		return err
	}
	if err != nil {
		p.log.Info("no cluster is followed: AccessEntries, IdentityMappings and GroupMappings do not count",
			"hints", []string{"with --kubeconfig they do; --access-objects off says that they need not"})
		return nil //nolint:nilerr // no cluster was asked for
	}
	config = rest.CopyConfig(config)
	config.QPS = -1 // what uses it lists and watches
	if p.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	p.objects, err = dynamic.NewForConfig(config)
	return err
}

// certificate is by files, or of the pair in the state directory.
func (c *authenticatorConfig) certificate(sys cli.System, p *authenticatorParts) error {
	if c.tlsCert != "" {
		files, err := httpserve.LoadCertificate(c.tlsCert, c.tlsKey, p.log)
		if err != nil {
			return err
		}
		p.tls = files.TLSConfig()
	} else {
		keeper := &statedir.Keeper{Dir: c.stateDir, Names: c.servedAs(), Log: p.log, Now: sys.Now}
		kubeconfig := c.kubeconfigOut
		pair, err := keeper.Open(kubeconfig, c.rotate)
		if err != nil {
			return err
		}
		p.log.Info("serving pair", "directory", c.stateDir, "fingerprint", pair.Fingerprint(), "notAfter", pair.NotAfter())
		p.tls = keeper.TLSConfig()
		if !c.pregenerated {
			webhook := statedir.Webhook{Hostname: c.hostname, Port: c.port, Authorities: pair.PEM()}
			changed, err := webhook.WriteKubeconfig(kubeconfig)
			if err != nil {
				return err
			}
			if changed {
				p.log.Info("kubeconfig of API servers written", "file", kubeconfig, "server", webhook.URL())
			}
		}
	}
	if c.clientCA == "" {
		return nil
	}
	return verifyClients(p.tls, c.clientCA, "the API servers' ones", p.log)
}

// servedAs are the names that the certificate is for.
func (c *authenticatorConfig) servedAs() []string {
	names := []string{c.hostname}
	if ip := net.ParseIP(c.address); ip != nil && !ip.IsUnspecified() && c.address != c.hostname {
		names = append(names, c.address)
	}
	return names
}

// identities asks STS whose tokens are.
func (c *authenticatorConfig) identities(
	ctx context.Context, sys cli.System, p *authenticatorParts, regions []string,
) (*identify.Identifier, error) {
	callers, err := awsapi.NewCallers(ctx, awsapi.CallersConfig{
		Cluster: c.cluster, Endpoint: c.stsEndpoint, Answers: p.metrics.Answered,
	})
	if err != nil {
		return nil, fault.New(fault.Usage, "ask STS about tokens: %w", err).
			Hint("see --sts-endpoint; without it AWS_ENDPOINT_URL_STS counts")
	}
	limits := authenticator.Limits()
	limits.GoodFor = c.knownFor
	identities := identify.New(identify.Config{
		Policy: callerid.Policy{
			Partition: c.partition, Regions: regions, MaxBytes: c.maxTokenBytes, Skew: c.clockSkew,
			AnyRegion: c.hostPolicy == hostsCompat, StrictScope: c.strictScope,
		},
		Ask: authenticator.Observed(callers.Identify, p.metrics, c.file.Scrubbed, p.log), Observe: p.metrics.Token,
		Now: sys.Now, Limits: &limits,
	})
	return identities, p.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rolecall_authenticator_waiting_tokens", Help: "Tokens that wait for a place to ask STS.",
	}, func() float64 { return float64(identities.Waiting()) }))
}

// names tells the names of nodes.
func (c *authenticatorConfig) names(
	ctx context.Context, sys cli.System, p *authenticatorParts, regions []string,
) (*authenticator.NodeNames, error) {
	static, err := readNodeNames(c.nodeNames, p.log)
	if err != nil {
		return nil, err
	}
	config := authenticator.NodeNamesConfig{
		Static: static, QPS: float64(c.ec2QPS), Burst: c.ec2Burst, Metrics: p.metrics, Log: p.log, Now: sys.Now,
		Ask: c.askEC2(ctx, sys, regions), File: c.kept("nodes.json"),
	}
	names := authenticator.NewNodeNames(config)
	p.add(names.Run)
	return names, nil
}

// askEC2 makes the client of EC2 when it is first needed: most clusters off AWS have none
// to ask.
func (c *authenticatorConfig) askEC2(
	ctx context.Context, sys cli.System, regions []string,
) func(context.Context, []string) (map[string]string, error) {
	found := sync.OnceValues(func() (*awsapi.Instances, error) {
		region := ""
		if len(regions) > 0 {
			region = regions[0]
		} else if instance, err := awsapi.Instance(ctx, sys.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")); err == nil {
			region = instance.Region
		}
		return awsapi.NewInstances(ctx, awsapi.InstancesConfig{
			Region: region, Endpoint: c.ec2Endpoint, Role: c.file.EC2Role, Source: c.file.EC2Source, Now: sys.Now,
		})
	})
	return func(ctx context.Context, ids []string) (map[string]string, error) {
		instances, err := found()
		if err != nil {
			return nil, fault.New(fault.Unavailable, "EC2 cannot be asked for the names of nodes: %w", err).
				Hint("add --region, or give the names with --node-names")
		}
		return instances.Names(ctx, ids)
	}
}

func readNodeNames(path string, log *slog.Logger) (func() map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	file, err := follow.OpenFile("names of nodes", path, func(text []byte) (map[string]string, error) {
		names := map[string]string{}
		return names, yaml.UnmarshalStrict(text, &names)
	}, log)
	if err != nil {
		return nil, fault.New(fault.Usage, "read --node-names: %w", err).
			Hint("want one instance a line: i-0123456789abcdef0: NAME")
	}
	return file.Current, nil
}

// kept is a file of the state directory.
func (c *authenticatorConfig) kept(name string) string {
	if c.tlsCert != "" && c.stateDir == authenticatorState {
		return "" // nobody said that there is such a directory
	}
	return filepath.Join(c.stateDir, name)
}

// sources follows the mappings.
func (c *authenticatorConfig) sources(
	sys cli.System, p *authenticatorParts, names *authenticator.NodeNames,
) (*sources.Set, error) {
	objects := p.objects != nil && c.objects != objectsOff
	set := sources.New(sources.Config{
		Access: access.Config{
			Partition: c.partition, ReservedUsernames: c.file.ReservedUsernames, ReservedGroups: c.file.ReservedGroups,
		},
		Backends: c.backends, Objects: objects, PinUserIDs: c.pinUserIDs, Names: names.Name, Metrics: p.metrics, Log: p.log,
		Now: sys.Now,
	})
	p.add(set.Watch)
	p.add(func(ctx context.Context) error {
		staySmall(ctx)
		return nil
	})
	p.check(func(context.Context) error { return set.Unready() })
	if objects {
		optional := c.objects == objectsAuto
		for _, one := range []sources.Follower{
			set.AccessEntries(p.objects, optional), set.IdentityMappings(p.objects, optional),
			set.GroupMappings(p.objects, optional),
		} {
			p.add(one.Run)
			p.watching(one.Watched())
		}
	}
	followed := c.followed(p)
	if slices.Contains(followed, access.MountedFile) {
		run, err := set.MountedFile(c.configFile)
		if err != nil {
			return nil, fault.New(fault.Usage, "read the mappings of the configuration: %w", err)
		}
		p.add(run)
	}
	if slices.Contains(followed, access.EKSConfigMap) {
		one := set.ConfigMap(p.client, c.eventsOf(sys, p), c.kept("aws-auth.json"))
		p.add(one.Run)
		p.watching(one.Watched())
	}
	if slices.Contains(followed, access.CRD) {
		one := set.PeerMappings(p.objects)
		p.add(one.Run)
		p.watching(one.Watched())
	}
	if slices.Contains(followed, access.DynamicFile) {
		p.metrics.DynamicFile.Set(1)
		if len(c.backends) == 1 {
			p.metrics.DynamicFileOnly.Set(1)
		}
		p.add(set.DynamicFile(c.file.DynamicFile, c.file.DynamicStrict, c.kept("dynamic.json")))
	}
	if c.file.BackendModeFile != "" {
		p.add(set.BackendMode(c.file.BackendModeFile, c.backends, followed))
	}
	return set, nil
}

// followed are the sources of the peer that count, or may at run time.
func (c *authenticatorConfig) followed(p *authenticatorParts) []access.Source {
	followed := slices.Clone(c.backends)
	if c.file.BackendModeFile == "" {
		return followed
	}
	more := []access.Source{access.MountedFile}
	if c.file.DynamicFile != "" {
		more = append(more, access.DynamicFile)
	}
	if p.client != nil {
		more = append(more, access.EKSConfigMap, access.CRD)
	}
	for _, one := range more {
		if !slices.Contains(followed, one) {
			followed = append(followed, one)
		}
	}
	return followed
}

// eventsAgain is for how long the same warning about aws-auth is not repeated.
const eventsAgain = 10 * time.Minute

func (c *authenticatorConfig) eventsOf(sys cli.System, p *authenticatorParts) *events.Writer {
	if !c.events {
		return nil
	}
	writer := events.New(p.client, "rolecall-authenticator", eventsAgain, sys.Now)
	p.add(writer.Run)
	return writer
}

// serve opens the addresses.
func (c *authenticatorConfig) serve(ctx context.Context, p *authenticatorParts) error {
	routes, health := http.NewServeMux(), http.NewServeMux()
	p.server.Routes(routes, obs.MetricsHandler(p.registry))
	probes := http.NewServeMux()
	p.probes(probes)
	health.HandleFunc("/healthz", authenticator.Healthz)
	health.Handle("/readyz", probes)
	at := func(port int) string { return net.JoinHostPort(c.address, strconv.Itoa(port)) }
	return p.listenAll(ctx, []listening{
		{
			at(c.port),
			httpserve.Server{Name: "authenticator", Handler: routes, TLS: p.tls, Limits: httpserve.CalledByAPIServers()},
		},
		{at(c.healthPort), httpserve.Server{Name: "health", Handler: health}},
	})
}
