package serve

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/authenticator/peerconfig"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

// authenticatorConfig is what `serve authenticator` needs. Flags have the names of
// aws-iam-authenticator where it has them (spec authenticator §6.2);
// docs/reference/authenticator-flags.md lists all, and a test holds it to them.
type authenticatorConfig struct {
	configFile    string
	cluster       string
	clusterFrom   string // where the name was said
	partition     string
	regions       []string
	address       string
	port          int
	healthPort    int
	hostname      string
	stateDir      string
	kubeconfigOut string
	pregenerated  bool
	rotate        bool
	tlsCert       string
	tlsKey        string
	clientCA      string
	kube          flags.Kube
	backendModes  []string
	backends      []access.Source
	objects       string
	pinUserIDs    bool
	gates         []string
	stsEndpoint   string
	hostPolicy    string
	strictScope   bool
	maxTokenBytes int
	clockSkew     time.Duration
	knownFor      time.Duration
	denyStatus    int
	tellWhy       bool
	ec2QPS        int
	ec2Burst      int
	ec2Endpoint   string
	nodeNames     string
	events        bool
	shutdownDelay time.Duration
	logFormat     string
	logVerbosity  string
	file          *peerconfig.Config
}

// Values of flags.
const (
	objectsAuto = "auto"
	objectsOn   = "on"
	objectsOff  = "off"

	hostsStrict = "strict"
	hostsCompat = "compat"
)

// What the peer listens on, and keeps its state in.
const (
	authenticatorPort       = 21362
	authenticatorHealthPort = 21363
	authenticatorState      = "/var/aws-iam-authenticator"
	authenticatorKubeconfig = "/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml"
)

func newAuthenticatorConfig() *authenticatorConfig {
	return &authenticatorConfig{file: &peerconfig.Config{}}
}

func (c *authenticatorConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&c.configFile, "config", "c", "",
		"configuration file, as aws-iam-authenticator has it; flags and the environment count before it")
	f.StringVarP(&c.cluster, "cluster-id", "i", "",
		"id that tokens must be made for: on EKS the cluster's name; else $"+clusterVariable+"; required")
	f.StringVar(&c.partition, "partition", "aws", "partition of AWS whose identities may enter")
	f.StringSliceVar(&c.regions, "region", nil,
		"regions whose STS is asked although no region of the partition is named so; the first is EC2's "+
			"(default: AWS_REGION, and what EC2 says)")
	f.StringSliceVar(&c.gates, "feature-gates", nil,
		"accepted for compatibility: what aws-iam-authenticator has behind gates is always on")
	f.BoolVar(&c.tellWhy, "tell-why", false,
		"put the reason of a refusal into the answer, for all who can reach this server; without it a caller is told "+
			"Unauthorized")
	f.IntVar(&c.denyStatus, "deny-status", 403,
		"HTTP status of the answer to tokens that can never become good: 403, or 200, so that API servers remember them")
	f.DurationVar(&c.shutdownDelay, "shutdown-delay", 5*time.Second,
		"how long to go on serving after being told to stop, until nobody asks here")
	f.BoolVar(&c.events, "events", true, "write what is wrong with aws-auth as Events of it")
	cli.CompleteFiles(cmd, "config", "yaml", "yml")
	cli.CompleteFlag(cmd, "partition", arn.Partitions()...)
	cli.CompleteFlag(cmd, "deny-status", "403", "200")
	cli.Group(cmd, "Mappings", func(f *pflag.FlagSet) {
		f.StringSliceVar(&c.backendModes, "backend-mode", []string{string(access.MountedFile)},
			"aws-iam-authenticator's sources of mappings, in order: MountedFile, EKSConfigMap, CRD, DynamicFile")
		f.StringVar(&c.objects, "access-objects", objectsAuto,
			"whether AccessEntries and IdentityMappings count before those, and GroupMappings after: on, off, or auto, "+
				"where there is a cluster and it has them")
		f.BoolVar(&c.pinUserIDs, "pin-user-ids", false,
			"let the userid of an entry in aws-auth or the configuration file count: a principal that was made again does "+
				"not enter")
		f.StringVar(&c.nodeNames, "node-names", "",
			"file of the names of nodes by instance id, YAML, before EC2 is asked; read again when it changes")
		f.IntVar(&c.ec2QPS, "ec2-describeInstances-qps", 15, "calls of EC2 a second for names of nodes")
		f.IntVar(&c.ec2Burst, "ec2-describeInstances-burst", 5, "calls of EC2 at once")
		f.StringVar(&c.ec2Endpoint, "ec2-endpoint", "", "URL of EC2; else AWS_ENDPOINT_URL_EC2, else the region's")
	})
	cli.CompleteFlag(cmd, "access-objects", objectsAuto, objectsOn, objectsOff)
	cli.CompleteFlag(cmd, "backend-mode", "MountedFile", "EKSConfigMap", "CRD", "DynamicFile")
	cli.CompleteFiles(cmd, "node-names", "yaml", "yml", "json")
	cli.Group(cmd, "Tokens", func(f *pflag.FlagSet) {
		f.StringVar(&c.stsEndpoint, "sts-endpoint", "",
			"URL where connections go instead of to the host that a token names; else AWS_ENDPOINT_URL_STS, else that host")
		f.StringVar(&c.hostPolicy, "sts-host-policy", hostsStrict,
			"which hosts are STS: strict, those of the partition's regions, or compat, those of regions that nobody knows "+
				"too, as in aws-iam-authenticator")
		f.BoolVar(&c.strictScope, "strict-credential-scope", false,
			"refuse tokens of which the scope is not that of STS, its region and the day, without asking STS")
		f.IntVar(&c.maxTokenBytes, "max-token-bytes", 16384, "longest token")
		f.DurationVar(&c.clockSkew, "clock-skew", 15*time.Minute, "how far the clock that signed a token may be ahead")
		f.DurationVar(&c.knownFor, "known-for", time.Minute,
			"how long STS's yes to a token counts without asking again; credentials that are revoked count that long")
	})
	cli.CompleteFlag(cmd, "sts-host-policy", hostsStrict, hostsCompat)
	cli.Group(cmd, "Addresses", func(f *pflag.FlagSet) {
		f.StringVar(&c.address, "address", "127.0.0.1", "IP address to listen on, HTTPS and health")
		f.IntVar(&c.port, "port", authenticatorPort, "port of /authenticate, /healthz and /metrics, HTTPS")
		f.IntVar(&c.healthPort, "health-port", authenticatorHealthPort, "port of /healthz and /readyz, plain HTTP")
	})
	c.certificateFlags(cmd)
	c.kube.Add(cmd)
	cli.Group(cmd, "API server", func(f *pflag.FlagSet) {
		f.StringVar(&c.kube.API, "master", "", "the same as --kube-api")
	})
	cli.Group(cmd, "Logs", func(f *pflag.FlagSet) {
		f.StringVarP(&c.logFormat, "log-format", "l", "text", "text or json")
		f.StringVarP(&c.logVerbosity, "log-verbosity", "v", "info",
			"debug, info, warn or error; else $"+verbosityVariable)
		f.StringVar(&c.logVerbosity, "log-level", "info", "the same as --log-verbosity")
	})
	cli.CompleteFlag(cmd, "log-format", "text", "json")
	cli.CompleteFlag(cmd, "log-verbosity", "debug", "info", "warn", "error")
	cli.CompleteFlag(cmd, "log-level", "debug", "info", "warn", "error")
}

func (c *authenticatorConfig) certificateFlags(cmd *cobra.Command) {
	cli.Group(cmd, flags.CertificateHeading, func(f *pflag.FlagSet) {
		f.StringVar(&c.hostname, "hostname", "localhost", "name or IP address by which API servers reach this server")
		f.StringVar(&c.stateDir, "state-dir", authenticatorState,
			"directory of cert.pem and key.pem, which are made if they are missing, and of what is kept over restarts")
		f.StringVar(&c.kubeconfigOut, "generate-kubeconfig", authenticatorKubeconfig,
			"where to write the kubeconfig for --authentication-token-webhook-config-file of API servers")
		f.BoolVar(&c.pregenerated, "kubeconfig-pregenerated", false, "leave that file as it is")
		f.BoolVar(&c.rotate, "rotate", false,
			"make a new pair if there is none, although the API servers' kubeconfig trusts another; they must be restarted")
		f.StringVar(&c.tlsCert, "tls-cert", "",
			"serving certificate chain that somebody else renews, PEM, instead of the pair in --state-dir; reloaded when "+
				"it changes")
		f.StringVar(&c.tlsKey, "tls-key", "", "its key, PEM")
		f.StringVar(&c.clientCA, "client-ca", "",
			"authorities of the API servers' client certificates, PEM, reloaded when they change: nobody else is answered; "+
				"empty answers everybody")
	})
	_ = cmd.MarkFlagDirname("state-dir")
	cli.CompleteFiles(cmd, "generate-kubeconfig", "yaml")
	cli.CompleteFiles(cmd, "tls-cert", "pem", "crt")
	cli.CompleteFiles(cmd, "tls-key", "pem", "key")
	cli.CompleteFiles(cmd, "client-ca", "pem", "crt")
}

// Variables of aws-iam-authenticator.
const (
	clusterVariable   = "KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID"
	verbosityVariable = "AWS_IAM_AUTHENTICATOR_LOG_VERBOSITY"
)

// read takes the environment and then the configuration file for what no flag says.
func (c *authenticatorConfig) read(cmd *cobra.Command, getenv func(string) string) error {
	given := cmd.Flags()
	if given.Changed("cluster-id") {
		c.clusterFrom = "--cluster-id"
	}
	if name := getenv(clusterVariable); name != "" && c.clusterFrom == "" {
		c.cluster, c.clusterFrom = name, "$"+clusterVariable
	}
	verbosity := given.Changed("log-verbosity") || given.Changed("log-level")
	if level := getenv(verbosityVariable); level != "" && !verbosity {
		c.logVerbosity, verbosity = level, true
	}
	if c.configFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.configFile)
	if err != nil {
		return fault.New(fault.Usage, "read the configuration: %w", err).Hint("see --config")
	}
	if c.file, err = peerconfig.Parse(text); err != nil {
		return fault.New(fault.Usage, "%s: %w", c.configFile, err)
	}
	for _, setting := range c.file.Settings {
		switch {
		case given.Changed(setting.Flag):
			continue
		case setting.Flag == "cluster-id" && c.clusterFrom != "":
			continue
		case setting.Flag == "cluster-id":
			c.clusterFrom = fmt.Sprintf("%s of %s", setting.Key, c.configFile)
		case setting.Flag == "log-verbosity" && verbosity, setting.Flag == "master" && given.Changed("kube-api"):
			continue
		}
		if err := given.Set(setting.Flag, setting.Value); err != nil {
			return fault.New(fault.Usage, "%s line %d: %s %q: %w", c.configFile, setting.Line, setting.Key, setting.Value, err)
		}
	}
	return nil
}

// validate refuses what contradicts itself.
func (c *authenticatorConfig) validate() (err error) {
	switch {
	case c.cluster == "":
		return fault.New(fault.Usage, "cluster ID cannot be empty").
			Hint("add --cluster-id NAME, set $%s, or write clusterID into the file of --config", clusterVariable)
	case !arn.IsPartition(c.partition):
		return fault.New(fault.Usage, "--partition %w", arn.CheckPartition(c.partition))
	case net.ParseIP(c.address) == nil:
		return fault.New(fault.Usage, "--address %q: want an IP address", c.address)
	case c.hostPolicy != hostsStrict && c.hostPolicy != hostsCompat:
		return fault.New(fault.Usage, "--sts-host-policy %q: want strict or compat", c.hostPolicy)
	case c.denyStatus != 403 && c.denyStatus != 200:
		return fault.New(fault.Usage, "--deny-status %d: want 403 or 200", c.denyStatus)
	case !slices.Contains([]string{objectsAuto, objectsOn, objectsOff}, c.objects):
		return fault.New(fault.Usage, "--access-objects %q: want auto, on or off", c.objects)
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return fault.New(fault.Usage, "--tls-cert and --tls-key go together")
	case c.maxTokenBytes < 4096 || c.maxTokenBytes > 65536:
		return fault.New(fault.Usage, "--max-token-bytes %d: want 4096 to 65536", c.maxTokenBytes)
	case c.clockSkew <= 0 || c.clockSkew > callerid.Lifetime:
		return fault.New(fault.Usage, "--clock-skew %s: want more than 0, and at most 15m", c.clockSkew)
	case c.knownFor < 0 || c.knownFor > callerid.Lifetime:
		return fault.New(fault.Usage, "--known-for %s: want at most 15m, which is how long a token lives", c.knownFor)
	case c.ec2QPS < 1 || c.ec2Burst < 1:
		return fault.New(fault.Usage, "--ec2-describeInstances-qps and -burst: want at least 1")
	case c.hostname == "":
		return fault.New(fault.Usage, "--hostname is empty").Hint("want the name that API servers reach this server by")
	}
	if err := c.checkGates(); err != nil {
		return err
	}
	if c.backends, err = peerconfig.ParseBackends(c.backendModes); err != nil {
		return err
	}
	isDynamic := slices.Contains(c.backends, access.DynamicFile)
	switch {
	case isDynamic && c.file.DynamicFile == "":
		return fault.New(fault.Usage, "backend mode DynamicFile without a file").
			Hint("write server.dynamicfilepath into the file of --config")
	case !isDynamic && c.file.DynamicFile != "" && c.file.BackendModeFile == "":
		return fault.New(fault.Usage, "server.dynamicfilepath without backend mode DynamicFile").
			Hint("add DynamicFile to --backend-mode, where in the order it is to count")
	case c.file.EC2Role != "":
		if _, err := arn.ParseRole(c.file.EC2Role); err != nil {
			return fault.New(fault.Usage, "server.ec2DescribeInstancesRoleARN: %w", err)
		}
	}
	c.logVerbosity = verbosityOf(c.logVerbosity)
	return nil
}

// verbosityOf takes the peer's levels, too.
func verbosityOf(level string) string {
	switch strings.ToLower(level) {
	case "trace":
		return "debug"
	case "warning":
		return "warn"
	case "fatal", "panic":
		return "error"
	}
	return level
}

// gates are those of the peer.
var authenticatorGates = []string{"ConfiguredInitDirectories", "IAMIdentityMappingCRD", "SSORoleMatch", "AllAlpha", "AllBeta"}

func (c *authenticatorConfig) checkGates() error {
	for _, gate := range c.gates {
		name, value, _ := strings.Cut(strings.TrimSpace(gate), "=")
		if _, err := strconv.ParseBool(value); err != nil || !slices.Contains(authenticatorGates, name) {
			return fault.New(fault.Usage, "--feature-gates %q: want NAME=true or NAME=false", gate).
				Hint("the gates are %s", strings.Join(authenticatorGates, ", "))
		}
	}
	return nil
}
