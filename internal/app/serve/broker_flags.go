package serve

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/broker"
	"github.com/rolecall/rolecall/internal/broker/workload"
	"github.com/rolecall/rolecall/internal/follow"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/planefile"
	"github.com/rolecall/rolecall/internal/sessionplan"
	"github.com/rolecall/rolecall/internal/token"
)

// brokerConfig is what `serve broker` needs. docs/reference/broker-flags.md is its
// manual, and a test holds it to these flags.
type brokerConfig struct {
	plane   flags.Plane
	cluster association.Cluster
	// mode, issuer, stsEndpoint, nodeRoles and podLabels are the plane's, too.
	mode, issuer, stsEndpoint string
	nodeRoles, podLabels      []string
	roles                     []arn.Role // nodeRoles, once they are validated
	bounds                    flags.Bounds
	allowed                   association.Bounds // bounds, once they are validated

	// listen is for agents and the EKS API, HTTPS; the others plain HTTP.
	listen, probeListen, metricsListen string
	shutdownDelay                      time.Duration
	// certificates are of listen.
	certificates flags.Certificates
	kube         flags.Kube
	logs         flags.Logs

	agentAuth, agentAccount, audience string
	clientCA, accessKeys              string
	verify, keys, keysIssuer          string
	keysAlso                          []string
	signingKey                        string
	stsQPS                            float64
	stsBurst                          int
	cache, eksAPI, events             bool
	associationLimit                  int
	auditLog                          string
	auditChain                        bool
}

func newBrokerConfig() *brokerConfig {
	return &brokerConfig{certificates: flags.Certificates{
		Secret: "rolecall-broker-tls", ConfigMap: "rolecall-broker-ca", Service: "rolecall-broker", Namespace: "rolecall-system",
		Lifetimes: pki.Lifetimes{Authority: 5 * 365 * 24 * time.Hour, Serving: 90 * 24 * time.Hour, Settle: time.Hour},
	}}
}

func (c *brokerConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.signingKey, "signing-key", "",
		"private key of the issuer of --issuer, PEM, read again when it changes; mode federated needs it")
	f.StringVar(&c.agentAuth, "agent-auth", string(broker.ServiceAccountToken),
		"how agents show which node they are on: sa-token, mtls, aws-token, sigv4, none")
	f.StringVar(&c.verify, "verify", string(workload.Auto),
		"how pods' tokens are verified: auto, tokenreview, jwks, both")
	f.BoolVar(&c.eksAPI, "eks-api", true, "serve the EKS API's operations on associations")
	f.IntVar(&c.associationLimit, "association-limit", 5000, "associations that the EKS API lets there be")
	f.StringVar(&c.auditLog, "audit-log", "-",
		"file to append the audit to, a line of JSON for each decision; - is standard output")
	f.BoolVar(&c.auditChain, "audit-chain", false,
		"tie each line of the audit to the one before by a hash, for rolecall audit verify")
	f.BoolVar(&c.events, "events", true, "write refusals as Events of the pod")
	c.planeFlags(cmd)
	cli.Group(cmd, "Agents", func(f *pflag.FlagSet) {
		f.StringVar(&c.agentAccount, "agent-service-account", "rolecall-system/rolecall-agent",
			"NAMESPACE/NAME of the agents' service account, with sa-token")
		f.StringVar(&c.audience, "agent-audience", "rolecall-broker", "audience of the agents' tokens, with sa-token")
		f.StringVar(&c.clientCA, "client-ca", "", "authorities of the kubelets' client certificates, PEM, with mtls")
		f.StringVar(&c.accessKeys, "access-keys", "",
			"file of access keys that may sign requests: of nodes, with sigv4, and of users of the EKS API")
	})
	cli.Group(cmd, "Pods' tokens", func(f *pflag.FlagSet) {
		f.StringVar(&c.keys, "keys", follow.KeysAPIServer,
			"where the keys of the cluster's tokens come from: apiserver, a file or https URL of a JWKS")
		f.StringVar(&c.keysIssuer, "keys-issuer", "", "issuer of the cluster's tokens; needed with a file or URL")
		f.StringArrayVar(&c.keysAlso, "keys-also", nil,
			"ISSUER=KEYS: a further issuer of the cluster's tokens, as while its URL is changed, and where its keys "+
				"come from, as in --keys; may be repeated")
	})
	cli.Group(cmd, "STS", func(f *pflag.FlagSet) {
		f.Float64Var(&c.stsQPS, "sts-qps", 100, "calls of STS a second; halved when STS throttles")
		f.IntVar(&c.stsBurst, "sts-burst", 200, "calls of STS at once")
		f.BoolVar(&c.cache, "broker-cache", false,
			"keep sessions in memory for half of their life, for agents that start again")
	})
	cli.Group(cmd, "Addresses", func(f *pflag.FlagSet) {
		f.StringVar(&c.listen, "listen", ":8443", "where agents and callers of the EKS API connect, HTTPS")
		f.StringVar(&c.probeListen, "probe-listen", ":8081", "where to serve /healthz and /readyz, plain HTTP")
		f.StringVar(&c.metricsListen, "metrics-listen", ":9090", "where to serve metrics, plain HTTP")
		f.DurationVar(&c.shutdownDelay, "shutdown-delay", 5*time.Second,
			"how long to go on serving after being told to stop, until nobody sends requests here")
	})
	c.certificates.Add(cmd)
	c.kube.Add(cmd)
	c.logs.Add(cmd)
	cli.CompleteFlag(cmd, "agent-auth", agentAuths()...)
	cli.CompleteFlag(cmd, "verify", verifications()...)
	cli.CompleteFlag(cmd, "mode", "federated", "broker-role", "pass-through")
	cli.CompleteFiles(cmd, "signing-key", "pem", "key")
	cli.CompleteFiles(cmd, "client-ca", "pem", "crt")
	cli.CompleteFiles(cmd, "access-keys", "yaml", "yml", "json")
}

// agentAuths are the values of --agent-auth.
func agentAuths() []string {
	return []string{
		string(broker.ServiceAccountToken),
		string(broker.ClientCertificate),
		string(broker.AWSToken),
		string(broker.Signature),
		string(broker.NoAuthentication),
	}
}

// verifications are the values of --verify.
func verifications() []string {
	return []string{string(workload.Auto), string(workload.TokenReview), string(workload.JWKS), string(workload.Both)}
}

// planeFlags are what the plane's file says too.
func (c *brokerConfig) planeFlags(cmd *cobra.Command) {
	c.plane.Add(cmd)
	cli.Group(cmd, flags.PlaneHeading, func(f *pflag.FlagSet) {
		f.StringVarP(&c.cluster.Name, "cluster-name", "c", "", "name of the cluster in ARNs, tags and paths; required")
		f.StringVar(&c.cluster.Region, "region", "", "region in the cluster's ARN, whose STS is asked; required")
		f.StringVar(&c.cluster.Account, "account", "", "account in the cluster's ARN, 12 digits; required")
		f.StringVar(&c.mode, "mode", "federated",
			"how roles are assumed for associations that do not say: federated, broker-role, pass-through")
		f.StringVar(&c.issuer, "issuer", "", "issuer of the tokens that the broker mints; needed with --signing-key")
		f.StringVar(&c.stsEndpoint, "sts-endpoint", "", "URL of STS; else AWS_ENDPOINT_URL_STS, else the region's")
		f.StringSliceVar(&c.podLabels, "pod-labels", nil,
			"keys of pods' labels that associations may use as ${podLabel:KEY}; who creates pods chooses their values")
		f.StringSliceVar(&c.nodeRoles, "node-roles", nil,
			"ARNs of the roles that the nodes' instance profiles have, with aws-token; only EC2 may assume them")
	})
	c.plane.Bind("cluster-name", planefile.ClusterName)
	c.plane.Bind("region", planefile.Region)
	c.plane.Bind("account", planefile.Account)
	c.plane.Bind("mode", planefile.Mode)
	c.bounds.Add(cmd, &c.plane, "mode")
	c.plane.Bind("issuer", planefile.SessionIssuer)
	c.plane.Bind("sts-endpoint", planefile.STSEndpoint)
	c.plane.Bind("pod-labels", planefile.PodLabels)
	c.plane.Bind("node-roles", planefile.NodeRoles)
	c.plane.Bind("keys-issuer", planefile.TokenIssuer)
}

// fromPlane leaves out what the plane's file says and this broker has no use for; the
// same in a flag is a mistake.
func (c *brokerConfig) fromPlane(given func(flag string) bool) {
	if c.agentAuth != string(broker.AWSToken) && !given("node-roles") {
		c.nodeRoles = nil
	}
	mode, _ := planefile.ParseMode(c.mode)
	allowed, err := c.bounds.Check(mode)
	if err == nil && !slices.Contains(allowed.AllowedModes(), v1alpha1.Federated) && c.signingKey == "" &&
		!given("issuer") {
		c.issuer = ""
	}
}

// validate refuses what is missing or contradicts itself.
func (c *brokerConfig) validate() error {
	mode, known := planefile.ParseMode(c.mode)
	for _, choice := range []struct {
		flag, got string
		want      []string
	}{
		{"agent-auth", c.agentAuth, agentAuths()},
		{"verify", c.verify, verifications()},
	} {
		if !slices.Contains(choice.want, choice.got) {
			return cli.Usage("--%s %q: want %s", choice.flag, choice.got, strings.Join(choice.want, ", "))
		}
	}
	if !known || mode == sessionplan.EKS {
		return cli.Usage("--mode %q: want federated, broker-role, pass-through", c.mode)
	}
	var err error
	if c.allowed, err = c.bounds.Check(mode); err != nil {
		return err
	}
	if err := c.checkCluster(); err != nil {
		return err
	}
	namespace, name, _ := strings.Cut(c.agentAccount, "/")
	switch {
	case (c.certificates.CertFile == "") != (c.certificates.KeyFile == ""):
		return cli.Usage("--tls-cert and --tls-key go together")
	case c.agentAuth == string(broker.ServiceAccountToken) &&
		(namespace == "" || name == "" || strings.Contains(name, "/")):
		return cli.Usage("--agent-service-account %q: want NAMESPACE/NAME", c.agentAccount)
	case c.agentAuth == string(broker.ServiceAccountToken) && !broker.IsAgentAudience(c.audience):
		return cli.Usage("--agent-audience %q: want one that only agents' tokens have", c.audience)
	case c.agentAuth == string(broker.ClientCertificate) && c.clientCA == "":
		return cli.Usage("--agent-auth mtls needs --client-ca")
	case c.agentAuth == string(broker.AWSToken) && len(c.nodeRoles) == 0:
		return cli.Usage("--agent-auth aws-token needs --node-roles").
			Hint("add --node-roles arn:%s:iam::%s:role/NAME, the role of the nodes' instance profile",
				arn.PartitionOf(c.cluster.Region), c.cluster.Account)
	case c.agentAuth != string(broker.AWSToken) && len(c.nodeRoles) > 0:
		return cli.Usage("--node-roles is for --agent-auth aws-token")
	case c.agentAuth == string(broker.Signature) && c.accessKeys == "":
		return cli.Usage("--agent-auth sigv4 needs --access-keys")
	case c.keys != follow.KeysAPIServer && c.keysIssuer == "":
		return cli.Usage("--keys %s needs --keys-issuer, the issuer of the cluster's tokens", c.keys)
	case slices.Contains(c.allowed.AllowedModes(), v1alpha1.Federated) && c.signingKey == "":
		return cli.Usage("mode federated, which associations may have here, needs --issuer and --signing-key").
			Hint(
				"make a key with `rolecall issuer init`, publish it, and register the provider; or choose --mode " +
					"broker-role or pass-through")
	case (c.issuer == "") != (c.signingKey == ""):
		return cli.Usage("--issuer and --signing-key go together")
	case c.stsQPS <= 0 || c.stsBurst < 1 || c.associationLimit < 1 || c.shutdownDelay < 0:
		return cli.Usage("rates and limits must be more than 0")
	}
	if err := flags.ValidateFurther("keys-also", c.keysIssuer, c.keysAlso); err != nil {
		return err
	}
	roles, err := broker.ParseNodeRoles(c.cluster, c.nodeRoles)
	if err != nil {
		return cli.Usage("--node-roles: %w", err).
			Hint("want the role's ARN, not the instance profile's: aws iam get-instance-profile " +
				"--instance-profile-name NAME --query InstanceProfile.Roles[].Arn")
	}
	c.roles = roles
	if c.issuer != "" {
		if err := token.CheckTokenIssuer(c.issuer); err != nil {
			return cli.Usage("--issuer: %w", err)
		}
	}
	if c.certificates.CertFile == "" {
		if err := c.certificates.Lifetimes.Validate(); err != nil {
			return cli.Usage("%w", err).Hint("see --ca-lifetime, --cert-lifetime and --ca-settle")
		}
	}
	return nil
}

// checkCluster checks what is in the cluster's ARN, and finds its partition.
func (c *brokerConfig) checkCluster() error {
	if err := arn.CheckClusterName(c.cluster.Name); err != nil {
		return cli.Usage("cluster name %w", err).Hint("add --cluster-name NAME")
	}
	if err := arn.CheckRegion(c.cluster.Region); err != nil {
		return cli.Usage("region %w", err).Hint("add --region REGION")
	}
	if err := arn.CheckAccount(c.cluster.Account); err != nil {
		return cli.Usage("account %w", err).Hint("add --account ACCOUNT, the one that the roles are in")
	}
	c.cluster.Partition = arn.PartitionOf(c.cluster.Region)
	return nil
}
