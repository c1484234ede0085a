package serve

import (
	"crypto/tls"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/inject"
	"github.com/rolecall/rolecall/internal/pki"
	"github.com/rolecall/rolecall/internal/planefile"
	"github.com/rolecall/rolecall/internal/webhook"
)

// webhookConfig is what `serve webhook` needs. Flags have the names of
// amazon-eks-pod-identity-webhook where it has them (spec webhook §11);
// docs/reference/webhook-flags.md lists all, and a test holds it to them.
type webhookConfig struct {
	// listen and metricsListen are HOST:PORT; port and metricsPort, if set, are
	// the reference's way to say them.
	listen, metricsListen string
	port, metricsPort     int
	kube                  flags.Kube
	// ownAuthority makes certificates and keeps them in a Secret; else those of the files
	// are served.
	ownAuthority bool
	certificates flags.Certificates
	caFile       string
	clientCA     string
	clientNames  []string
	minTLS       string
	cipherSuites []string
	// url is called instead of the service, from outside.
	url   string
	plane flags.Plane
	// registration is the name of the webhook configurations that are kept; empty
	// for none.
	registration string

	watchConfigMap    bool
	identitiesFile    string
	watchAssociations bool
	enforceGrants     bool
	mode              string // of associations that name none
	bounds            flags.Bounds
	allowed           association.Bounds // bounds, once they are validated
	validateWrites    bool               // of associations
	compose           bool
	grace             time.Duration
	fallback          webhook.Fallback
	fallbackAction    string
	events            bool
	shutdownDelay     time.Duration
	debugging         bool
	showVersion       bool
	settings          inject.Settings
	logs              flags.Logs
}

func newWebhookConfig() *webhookConfig {
	return &webhookConfig{settings: inject.Defaults(), certificates: flags.Certificates{
		CertFile: "/etc/webhook/certs/tls.crt", KeyFile: "/etc/webhook/certs/tls.key",
		Secret: "pod-identity-webhook", Service: "pod-identity-webhook", Namespace: "eks",
		Lifetimes: pki.Lifetimes{
			Authority: 5 * 365 * 24 * time.Hour,
			Serving:   90 * 24 * time.Hour,
			Settle:    10 * time.Minute,
		},
	}}
}

func (c *webhookConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&c.watchConfigMap, "watch-config-map", false,
		"take identities from the ConfigMap "+webhook.ConfigMapName+" of --namespace, too")
	f.BoolVar(&c.watchAssociations, "watch-associations", false,
		"give service accounts that have a PodIdentityAssociation a Pod Identity; needs its definition (CRD) in the "+
			"cluster")
	f.BoolVar(&c.enforceGrants, "enforce-role-grants", false,
		"inject only roles that the cluster's RoleGrants allow, if it has any, or with --require-grants in any case")
	f.BoolVar(&c.validateWrites, "validate-associations", false,
		"serve "+webhook.ValidatePath+", which refuses PodIdentityAssociations that say something wrong, "+
			"or want a role that the cluster's RoleGrants do not allow; "+
			"needs the definition (CRD) of RoleGrants in the cluster")
	f.StringVar(&c.fallbackAction, "node-role-fallback", string(webhook.Allow),
		"what to do with pods that would use the node's role though they are meant to have an identity: allow, warn "+
			"or deny")
	f.StringSliceVar(&c.fallback.Namespaces, "identity-required-namespaces", nil,
		"patterns of namespaces in which every pod is meant to have an identity")
	f.DurationVar(&c.grace, "service-account-lookup-grace-period", time.Second,
		"how long a review may wait for a service account that is not known yet to be read, and for the associations "+
			"of an account of which none is known; 0 reads none")
	f.BoolVar(&c.events, "events", true, "write refusals as Events of the service account")
	f.BoolVar(&c.showVersion, "version", false, "print the version and exit")
	cli.CompleteFlag(cmd, "node-role-fallback", "allow", "warn", "deny")
	f.BoolVar(&c.settings.SessionFromPod, "role-session-name-from-pod", false,
		"set AWS_ROLE_SESSION_NAME to the pod's name")
	c.planeFlags(cmd)
	flags.Inject(cmd, &c.settings)
	cli.Group(cmd, "Injected Pod Identity", func(f *pflag.FlagSet) {
		containerFlags(f, &c.settings.Container)
		f.StringVar(&c.identitiesFile, "watch-container-credentials-config", "",
			"file of service accounts that have a Pod Identity")
		f.BoolVar(&c.settings.ConfigGlobs, "config-map-globs", false,
			"let namespaces in the ConfigMap's keys be patterns with * and ?")
	})
	cli.Group(cmd, "Addresses", func(f *pflag.FlagSet) {
		f.StringVar(&c.listen, "listen", ":443", "where to listen for the API server, HTTPS")
		f.StringVar(&c.metricsListen, "metrics-listen", ":9999", "where to serve metrics, plain HTTP")
		f.IntVar(&c.port, "port", 443, "HTTPS port on all addresses; the same as --listen :PORT")
		f.IntVar(&c.metricsPort, "metrics-port", 9999,
			"port of metrics on all addresses; the same as --metrics-listen :PORT")
		f.DurationVar(&c.shutdownDelay, "shutdown-delay", 5*time.Second,
			"how long to go on serving after being told to stop, until nobody sends reviews here")
		f.BoolVar(&c.debugging, "enable-debugging-handlers", false, "serve /debug/alpha/...")
	})
	c.tlsFlags(cmd)
	c.kube.Add(cmd)
	c.logs.Add(cmd)
	ignoredFlags(f)
}

// planeFlags are what the plane's file says too.
func (c *webhookConfig) planeFlags(cmd *cobra.Command) {
	c.plane.Add(cmd)
	cli.Group(cmd, flags.PlaneHeading, func(f *pflag.FlagSet) {
		f.BoolVar(&c.compose, "compose-role-arn", false,
			"accept names in role annotations, and compose their ARNs, in the account of this EC2 instance or in "+
				"--compose-account")
		f.StringVar(&c.settings.ComposeAccount, "compose-account", "",
			"account of composed role ARNs, for clusters outside EC2")
		f.StringVar(&c.settings.ComposePartition, "compose-partition", "aws",
			"partition of composed role ARNs, with --compose-account")
	})
	cli.CompleteFlag(cmd, "compose-partition", arn.Partitions()...)
	cli.Group(cmd, flags.PlaneHeading, func(f *pflag.FlagSet) {
		f.StringVar(&c.mode, "association-mode", string(v1alpha1.Federated),
			"how roles are assumed for associations that do not say: federated, broker-role, pass-through, or eks where "+
				"AWS assumes them")
	})
	c.bounds.Add(cmd, &c.plane, "association-mode")
	c.plane.Bind("association-mode", planefile.Mode)
	cli.CompleteFlag(cmd, "association-mode", planefile.Modes()...)
	c.plane.Bind("aws-default-region", planefile.Region)
	// Without composed ARNs no account is needed.
	c.plane.BindValue("compose-account", planefile.Account, func(p *planefile.Plane) string {
		if !c.compose {
			return ""
		}
		return p.Get(planefile.Account)
	})
	c.plane.BindValue("compose-partition", planefile.Partition,
		func(p *planefile.Plane) string { return p.Cluster().Partition })
}

func (c *webhookConfig) tlsFlags(cmd *cobra.Command) {
	c.certificates.Add(cmd)
	cli.Group(cmd, flags.CertificateHeading, func(f *pflag.FlagSet) {
		f.BoolVar(&c.ownAuthority, "in-cluster", true,
			"make serving certificates and keep them in a Secret; false serves files, as does giving --tls-cert")
		f.StringVar(&c.caFile, "ca-file", "",
			"bundle to keep in the webhook configuration when files are served; empty leaves that to cert-manager or "+
				"to you")
		f.StringVar(&c.registration, "webhook-config", "pod-identity-webhook",
			"MutatingWebhookConfiguration to create, and to keep the CA bundle of; with --validate-associations a "+
				"ValidatingWebhookConfiguration of the same name, too; empty for none")
		f.StringVar(&c.url, "webhook-url", "", "URL that the API server calls instead of the Service")
		f.StringVar(&c.clientCA, "client-ca", "",
			"authorities of the API servers' client certificates, PEM, reloaded when they change: reviews are taken "+
				"from nobody else; empty takes them from everybody")
		f.StringSliceVar(&c.clientNames, "client-names", nil,
			"common names or DNS names that the API servers' client certificates have; empty for any that --client-ca "+
				"signed")
		f.StringVar(&c.minTLS, "tls-min-version", "",
			"least TLS version: 1.0 to 1.3, or VersionTLS10 to VersionTLS13; 1.2 if empty")
		f.StringSliceVar(&c.cipherSuites, "tls-cipher-suites", nil,
			"cipher suites for TLS 1.2 and before, by Go's names; Go's choice if empty")
	})
	cli.CompleteFlag(cmd, "tls-min-version", "1.0", "1.1", "1.2", "1.3")
	cli.CompleteFiles(cmd, "ca-file", "pem", "crt")
	cli.CompleteFiles(cmd, "client-ca", "pem", "crt")
}

func containerFlags(f *pflag.FlagSet, s *inject.ContainerSettings) {
	f.StringVar(&s.Audience, "container-credentials-audience", s.Audience, "audience of Pod Identity tokens")
	f.StringVar(&s.MountPath, "container-credentials-token-mount-path", s.MountPath,
		"where Pod Identity tokens are mounted")
	f.StringVar(&s.VolumeName, "container-credentials-token-volume-name", s.VolumeName, "name of their volume")
	f.StringVar(&s.TokenFile, "container-credentials-token-path", s.TokenFile, "name of their file")
	f.StringVar(&s.URI, "container-credentials-full-uri", s.URI, "where the Pod Identity agent answers")
}

// ignored are flags of the reference that nothing depends on: there is no
// resync, and klog is not used.
var ignored = []string{
	"resync-period", "v", "vmodule", "logtostderr", "alsologtostderr", "log_dir", "log_file", "log_file_max_size",
	"log_backtrace_at",
	"stderrthreshold", "legacy_stderr_threshold_behavior", "skip_headers", "skip_log_headers", "add_dir_header",
	"one_output",
}

func ignoredFlags(f *pflag.FlagSet) {
	for _, name := range ignored {
		shorthand := ""
		if name == "v" {
			shorthand = "v"
		}
		f.VarP(new(anyValue), name, shorthand,
			"accepted for compatibility with amazon-eks-pod-identity-webhook, without effect")
		f.Lookup(name).NoOptDefVal = "true" // some of them are switches
		if name == "resync-period" || name == "v" {
			f.Lookup(name).NoOptDefVal = ""
		}
		f.Lookup(name).Hidden = true
	}
}

// anyValue is a flag's value that is not looked at.
type anyValue string

// String is what was given.
func (a *anyValue) String() string { return string(*a) }

// Set takes anything.
func (a *anyValue) Set(text string) error {
	*a = anyValue(text)
	return nil
}

// Type is shown in usage.
func (a *anyValue) Type() string { return "any" }

// validate refuses what contradicts itself, and makes one form of what can be
// said in two.
func (c *webhookConfig) validate(given func(flag string) bool) error {
	for _, pair := range []struct {
		port, listen string
		number       int
		address      *string
	}{{"port", "listen", c.port, &c.listen}, {"metrics-port", "metrics-listen", c.metricsPort, &c.metricsListen}} {
		switch {
		case !given(pair.port):
		case given(pair.listen):
			return fault.New(fault.Usage, "--%s and --%s say the same thing", pair.port, pair.listen).
				Hint("give one of them")
		default:
			*pair.address = net.JoinHostPort("", strconv.Itoa(pair.number))
		}
	}
	mode, known := planefile.ParseMode(c.mode)
	if !known {
		return fault.New(fault.Usage, "--association-mode %q: want federated, broker-role, pass-through or eks", c.mode)
	}
	var err error
	if c.allowed, err = c.bounds.Check(mode); err != nil {
		return err
	}
	if given("require-grants") && c.bounds.RequireGrants && !c.enforceGrants && !c.validateWrites {
		return fault.New(fault.Usage, "--require-grants does nothing alone").
			Hint("add --enforce-role-grants, --validate-associations or both")
	}
	if !given("in-cluster") && (given("tls-cert") || given("tls-key")) {
		c.ownAuthority = false
	}
	if c.ownAuthority {
		if err := c.certificates.Lifetimes.Validate(); err != nil {
			return fault.New(fault.Usage, "%w", err).Hint("see --ca-lifetime, --cert-lifetime and --ca-settle")
		}
	}
	c.fallback.Action = webhook.Action(c.fallbackAction)
	if !slices.Contains([]webhook.Action{webhook.Allow, webhook.Warn, webhook.Deny}, c.fallback.Action) {
		return fault.New(fault.Usage, "--node-role-fallback %q: want allow, warn or deny", c.fallbackAction)
	}
	if len(c.fallback.Namespaces) > 0 && c.fallback.Action == webhook.Allow {
		return fault.New(fault.Usage, "--identity-required-namespaces does nothing with --node-role-fallback=allow").
			Hint("add --node-role-fallback=warn, or deny")
	}
	if c.settings.ComposeAccount != "" {
		if err := arn.CheckAccount(c.settings.ComposeAccount); err != nil {
			return fault.New(fault.Usage, "--compose-account %w", err)
		}
		if err := arn.CheckPartition(c.settings.ComposePartition); err != nil {
			return fault.New(fault.Usage, "--compose-partition %w", err)
		}
	}
	if c.settings.ComposeAccount != "" && !c.compose {
		return fault.New(fault.Usage, "--compose-account does nothing alone").Hint("add --compose-role-arn")
	}
	if len(c.clientNames) > 0 && c.clientCA == "" {
		return fault.New(fault.Usage, "--client-names does nothing alone").
			Hint("add --client-ca, the authorities that sign the API servers' client certificates")
	}
	if slices.Contains(c.clientNames, "") {
		return fault.New(fault.Usage, "--client-names: an empty name is nobody's")
	}
	// A review that waits longer is given up, and then failurePolicy decides.
	if c.grace < 0 || c.grace >= reviewTimeout {
		return fault.New(fault.Usage,
			"--service-account-lookup-grace-period %s: want less than %s, after which API servers give a review up",
			c.grace, reviewTimeout)
	}
	if called, err := url.Parse(c.url); c.url != "" && (err != nil || called.Scheme != "https" || called.Host == "") {
		return fault.New(fault.Usage, "--webhook-url %q: want an https URL", c.url).
			Hint("for example https://127.0.0.1:8443/mutate")
	}
	if c.registers() && c.validateWrites {
		if _, err := c.clientConfig(webhook.ValidatePath); err != nil {
			return err
		}
	}
	if err := c.restrict(&tls.Config{MinVersion: tls.VersionTLS12}); err != nil {
		return err
	}
	return flags.ValidateInject(&c.settings)
}

// registers reports whether webhook configurations are ours to keep.
func (c *webhookConfig) registers() bool {
	return c.registration != "" && (c.ownAuthority || c.caFile != "")
}

// reviewTimeout is for how long API servers wait for a review, by the
// registration that we make.
const reviewTimeout = 10 * time.Second

var tlsVersions = map[string]uint16{
	"":             tls.VersionTLS12,
	"1.0":          tls.VersionTLS10,
	"1.1":          tls.VersionTLS11,
	"1.2":          tls.VersionTLS12,
	"1.3":          tls.VersionTLS13,
	"VersionTLS10": tls.VersionTLS10,
	"VersionTLS11": tls.VersionTLS11,
	"VersionTLS12": tls.VersionTLS12,
	"VersionTLS13": tls.VersionTLS13,
}

// restrict puts the TLS flags into a server's configuration.
func (c *webhookConfig) restrict(config *tls.Config) error {
	version, known := tlsVersions[c.minTLS]
	if !known {
		return fault.New(fault.Usage, "--tls-min-version %q: want 1.0, 1.1, 1.2 or 1.3", c.minTLS)
	}
	config.MinVersion = version
	for _, name := range c.cipherSuites {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		suites := append(tls.CipherSuites(), tls.InsecureCipherSuites()...)
		found := slices.IndexFunc(suites, func(s *tls.CipherSuite) bool { return s.Name == name })
		if found < 0 {
			return fault.New(fault.Usage, "--tls-cipher-suites: no suite is called %q", name).
				Hint("for example TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
		}
		config.CipherSuites = append(config.CipherSuites, suites[found].ID)
	}
	return nil
}
