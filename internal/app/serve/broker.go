package serve

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/auditchain"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/door"
	"github.com/rolecall/rolecall/internal/broker/eksapi"
	"github.com/rolecall/rolecall/internal/broker/session"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/httpserve"
	"github.com/rolecall/rolecall/internal/servingcert"
	"github.com/rolecall/rolecall/internal/sessionplan"
	"github.com/rolecall/rolecall/internal/store/kubestore"
)

func newBroker(sys cli.System) *cobra.Command {
	c := newBrokerConfig()
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Give pods their AWS sessions where there is no EKS (Pod Identity)",
		Long: `Serve the API of EKS Auth to the agents of the nodes: verify a pod's token, find its
PodIdentityAssociation, and assume the role at STS. The EKS API's operations on
associations are served too, so that the AWS CLI and Terraform work with
--endpoint-url. Several replicas may run; they share nothing but the cluster.`,
		Example: `  rolecall serve broker --cluster-name prod --region eu-west-1 --account 111122223333 \
    --issuer https://oidc.example.com/prod --signing-key /etc/rolecall/issuer/sa.key
  rolecall serve broker --plane /etc/rolecall/plane.yaml --mode broker-role`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.plane.Read(cmd); err != nil {
				return err
			}
			c.fromPlane(cmd.Flags().Changed)
			if err := c.validate(); err != nil {
				return err
			}
			return c.run(cmd, sys)
		},
	}
	c.flags(cmd)
	return cmd
}

// brokerParts are what the broker is made of, beside what every server has.
type brokerParts struct {
	*runner
	client kubernetes.Interface
	config *rest.Config
	tls    *tls.Config
	broker *broker.Broker
	routes *http.ServeMux
}

func (c *brokerConfig) run(cmd *cobra.Command, sys cli.System) error {
	log, err := c.logs.Logger(sys)
	if err != nil {
		return err
	}
	p := &brokerParts{runner: newRunner(log), routes: http.NewServeMux()}
	p.delay = c.shutdownDelay
	return p.run(cmd.Context(), func(ctx context.Context) error {
		if err := c.makeParts(ctx, sys, p); err != nil {
			return err
		}
		p.agree(roleBroker, c.plane.Effective(cmd), p.client)
		p.add(checkPermissions("broker", c.permissions(), neededBy, p.client, p.log))
		return c.serve(ctx, p)
	})
}

// makeParts makes everything and starts nothing.
func (c *brokerConfig) makeParts(ctx context.Context, sys cli.System, p *brokerParts) error {
	var err error
	if p.config, err = c.kube.Config(); err != nil {
		return err
	}
	p.config.QPS, p.config.Burst = 200, 400
	if p.client, err = flags.Lister(p.config); err != nil {
		return err
	}
	if err := c.serving(sys, p); err != nil {
		return err
	}
	var table *door.KeyTable
	if c.accessKeys != "" {
		if table, err = door.OpenKeyTable(c.accessKeys, p.log); err != nil {
			return err
		}
	}
	tokens, err := c.verifier(sys, p)
	if err != nil {
		return err
	}
	sessions, err := c.sessions(ctx, sys, p)
	if err != nil {
		return err
	}
	nodes, err := c.nodeTokens(ctx, sys, p)
	if err != nil {
		return err
	}
	agents := &broker.Agents{
		Mode:     broker.AgentMode(c.agentAuth),
		Account:  c.agentAccount,
		Audience: c.audience,
		Tokens:   tokens,
		Keys:     table,
		Nodes:    nodes,
		Now:      sys.Now,
	}
	return c.compose(sys, p, agents, tokens, sessions)
}

// nodeTokens follows the nodes, and asks STS whose tokens are; nil in other modes.
func (c *brokerConfig) nodeTokens(ctx context.Context, sys cli.System, p *brokerParts) (*broker.NodeTokens, error) {
	if c.agentAuth != string(broker.AWSToken) {
		return nil, nil
	}
	callers, err := awsapi.NewCallers(ctx, awsapi.CallersConfig{Cluster: c.cluster.Name, Endpoint: c.stsEndpoint})
	if err != nil {
		return nil, fault.New(fault.Usage, "ask STS about agents: %w", err).
			Hint("see --sts-endpoint; without it AWS_ENDPOINT_URL_STS counts")
	}
	nodes := workload.NewNodes(p.client, workload.Mode(c.verify), sys.Now)
	p.add(nodes.Run)
	p.needs("nodes", nodes.Synced())
	p.watching(nodes.Watched())
	return broker.NewNodeTokens(broker.NodeTokensConfig{
		Cluster: c.cluster.Name, Policy: callerid.Policy{
			Partition: c.cluster.Partition,
			Regions:   []string{c.cluster.Region},
		}, Roles: c.roles,
		Callers: callers, Nodes: nodes, Metrics: p.registry, Now: sys.Now,
	}), nil
}

// compose puts the broker and the EKS API together.
func (c *brokerConfig) compose(
	sys cli.System, p *brokerParts, agents *broker.Agents, tokens *workload.Verifier, sessions *session.Taker,
) error {
	followed, err := dynamic.NewForConfig(p.config)
	if err != nil {
		return err
	}
	associations := follow.Associations(followed, sys.Now, p.log)
	grants := follow.Grants(followed, c.bounds.GrantSet, sys.Now, p.log)
	changes := broker.NewChanges()
	associations.Notify(changes.Changed)
	var told kubernetes.Interface
	if c.events {
		told = p.client
	}
	if err := p.tellGrants(sys, grants, told, "rolecall-broker"); err != nil {
		return err
	}
	p.add(associations.Run)
	p.add(grants.Run)
	p.watching(associations.Watched(), grants.Watched())
	p.needs("associations", associations.Synced())
	p.needs("grants", grants.Synced())
	written, err := c.audit(sys, p)
	if err != nil {
		return err
	}
	config := broker.Config{
		Cluster:      &c.cluster,
		Tokens:       tokens,
		Objects:      tokens.Objects,
		Associations: associations,
		Grants:       grants,
		Sessions:     sessions,
		Changes:      changes,
		Agents:       agents,
		Limits:       broker.DefaultLimits(),
		Audit:        written,
		Cache:        c.cache,
		Metrics:      p.registry,
		Log:          p.log,
		Now:          sys.Now,
	}
	if c.agentAuth == string(broker.NoAuthentication) {
		p.log.Warn("agents are not authenticated: a token that was stolen is good from everywhere", "flag",
			"--agent-auth none")
	}
	if c.events {
		events := broker.NewEvents(p.client, sys.Now)
		config.Refused = events.Refused
		p.add(events.Run)
	}
	writing := rest.CopyConfig(p.config)
	writing.WarningHandlerWithContext = flags.WarningLog{Log: p.log}
	store, err := kubestore.New(writing)
	if err != nil {
		return err
	}
	used := broker.NewLastUsed(store, p.log, sys.Now)
	config.Used = used.Used
	p.add(used.Run)
	p.broker = broker.New(config)
	p.broker.Routes(p.routes, p.draining)
	if !c.eksAPI {
		return nil
	}
	newest, err := newestGrants(p.config, grants)
	if err != nil {
		return err
	}
	service := &association.Service{
		Store:  store,
		Limit:  c.associationLimit,
		Now:    sys.Now,
		Known:  associations.Current,
		Permit: eksapi.Permit(c.allowed, grants, newest),
	}
	eksapi.New(p.broker.Door(), service,
		&eksapi.Users{Client: p.client, Keys: agents.Keys, Now: sys.Now}).Routes(p.routes)
	return nil
}

// verifier follows what its mode goes by.
func (c *brokerConfig) verifier(sys cli.System, p *brokerParts) (*workload.Verifier, error) {
	disagreed := prometheus.NewCounter(
		prometheus.CounterOpts{
			Name: "rolecall_broker_verification_disagreements_total",
			Help: "Tokens about which the issuer's keys and the API server disagreed.",
		})
	if err := p.registry.Register(disagreed); err != nil {
		return nil, err
	}
	v := &workload.Verifier{
		Mode: workload.Mode(c.verify), Objects: workload.NewObjects(p.client, sys.Now,
			c.podLabels...), Review: &workload.Reviewer{Client: p.client}, Disagreed: disagreed.Inc, Now: sys.Now,
	}
	if v.Mode == workload.TokenReview {
		return v, nil // one pod is read at a time
	}
	v.Keys = workload.NewKeys(follow.KeySourceAt(p.client, c.keys, c.keysIssuer), sys.Now,
		follow.FurtherIssuers(p.client, c.keysAlso)...)
	p.add(v.Objects.Run)
	p.add(func(ctx context.Context) error { return v.Keys.Run(ctx, p.log) })
	p.needs("keys of the issuer", v.Keys.Synced())
	for _, synced := range v.Objects.Synced() {
		p.needs("pods and service accounts", synced)
	}
	p.watching(v.Objects.Watches()...)
	return v, nil
}

// sessions reads the AWS configuration and the signing key.
func (c *brokerConfig) sessions(ctx context.Context, sys cli.System, p *brokerParts) (*session.Taker, error) {
	// Nobody but the operator says that the broker's own identity is one for pods.
	own := slices.Contains(c.allowed.AllowedModes(), v1alpha1.BrokerRole)
	roles, err := awsapi.NewRoles(ctx, awsapi.RolesConfig{
		Region: c.cluster.Region, Endpoint: c.stsEndpoint, Own: own,
	})
	if err != nil {
		return nil, fault.New(fault.Usage, "reach STS: %w", err).Hint("see --region and --sts-endpoint")
	}
	taker := &session.Taker{
		Roles: roles, Plane: sessionplan.Plane{
			Cluster:   c.cluster,
			Mode:      c.allowed.Default,
			Modes:     c.allowed.Modes,
			Choices:   c.allowed.Choices,
			PodLabels: c.podLabels,
		}, Pace: session.NewPace(c.stsQPS, c.stsBurst, sys.Now),
		Metrics: session.NewMetrics(p.registry), Now: sys.Now,
	}
	if c.signingKey != "" {
		key, err := session.OpenKey(c.signingKey, p.log)
		if err != nil {
			return nil, err
		}
		taker.Minter = &session.Minter{Issuer: c.issuer, Key: key, Now: sys.Now}
	}
	if own {
		p.check(func(ctx context.Context) error {
			_, err := roles.Own(ctx)
			return err
		})
	}
	return taker, p.registry.Register(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{
			Name: "rolecall_broker_sts_calls_per_second_allowed",
			Help: "Calls of STS a second that are allowed now.",
		}, taker.Pace.Rate))
}

func (c *brokerConfig) audit(sys cli.System, p *brokerParts) (*door.Audit, error) {
	lost := prometheus.NewCounter(
		prometheus.CounterOpts{
			Name: "rolecall_broker_audit_lost_total",
			Help: "Audit records that could not be written.",
		})
	if err := p.registry.Register(lost); err != nil {
		return nil, err
	}
	out := sys.Stdout
	if c.auditLog != "-" {
		file, err := os.OpenFile(c.auditLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fault.New(fault.Usage, "open the audit log: %w", err)
		}
		out = file
		p.close(file)
	}
	written := door.NewAudit(out, func(err error) {
		lost.Inc()
		p.log.Error("audit record not written", "error", err)
	})
	if c.auditChain {
		var start [auditchain.StartBytes]byte
		_, _ = rand.Read(start[:]) // never fails
		written.Chain = auditchain.NewChain(start)
	}
	return written, nil
}

// serving is by files, or made here and shared through a Secret.
func (c *brokerConfig) serving(sys cli.System, p *brokerParts) error {
	if c.certificates.CertFile != "" {
		files, err := httpserve.LoadCertificate(c.certificates.CertFile, c.certificates.KeyFile, p.log)
		if err != nil {
			return err
		}
		p.tls = files.TLSConfig()
	} else {
		keeper := &servingcert.Keeper{
			Client:    p.client,
			Namespace: c.certificates.Namespace,
			Secret:    c.certificates.Secret,
			Lifetimes: c.certificates.Lifetimes,
			Log:       p.log,
			Now:       sys.Now,
			Looks:     follow.NewWatch(servingSecret, sys.Now),
			Authority: "rolecall broker",
			Names:     c.certificates.Names(),
			Registrar: &servingcert.Registrar{Client: p.client, ConfigMap: &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: c.certificates.Namespace, Name: c.certificates.ConfigMap},
			}},
		}
		p.watching(keeper.Looks)
		p.tls = keeper.TLSConfig()
		p.add(keeper.Run)
		p.check(func(context.Context) error {
			if !keeper.Ready() {
				return errors.New("there is no serving certificate yet")
			}
			return nil
		})
	}
	if c.agentAuth != string(broker.ClientCertificate) {
		return nil
	}
	// Callers of the EKS API have none.
	return verifyClients(p.tls, c.clientCA, "kubelets' ones", p.log)
}

// verifyClients has a server verify the client certificates that it is given, by the
// authorities of a file, which is read again when it changes. Whose they are is for the
// error.
func verifyClients(config *tls.Config, file, whose string, log *slog.Logger) error {
	authorities, err := follow.OpenFile("authorities of client certificates", file, parseAuthorities, log)
	if err != nil {
		return fault.New(fault.Invalid, "read the authorities of client certificates: %w", err).
			Hint("--client-ca wants the PEM certificates that %s are signed with", whose)
	}
	base := config.Clone()
	base.ClientAuth = tls.VerifyClientCertIfGiven
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		config := base.Clone()
		config.ClientCAs = authorities.Current()
		return config, nil
	}
	return nil
}

func parseAuthorities(text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("it holds no certificate")
	}
	return pool, nil
}

// server is that of the broker's own API (limits of spec podidentity §19.2).
func (p *brokerParts) server() httpserve.Server {
	return httpserve.Server{
		Name:    "broker",
		Handler: p.routes,
		TLS:     p.tls,
		Limits:  httpserve.Limits{HeaderBytes: 16 << 10},
	}
}

// serve opens the addresses.
func (c *brokerConfig) serve(ctx context.Context, p *brokerParts) error {
	probes, metrics := http.NewServeMux(), http.NewServeMux()
	p.probes(probes)
	p.metrics(metrics)
	return p.listenAll(ctx, []listening{
		{c.listen, p.server()},
		{c.probeListen, httpserve.Server{Name: "probes", Handler: probes}},
		{c.metricsListen, httpserve.Server{Name: "metrics", Handler: metrics}},
	})
}
