// Package authenticatorcmd is `rolecall authenticator`: what is done about an authenticator
// before it serves.
//
// It knows flags and files, and no rule.
package authenticatorcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/atomicfile"
	"github.com/rolecall/rolecall/internal/authenticator/setup"
	"github.com/rolecall/rolecall/internal/authenticator/statedir"
	"github.com/rolecall/rolecall/internal/fault"
)

// New returns the command with its own.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:   "authenticator",
		Short: "Prepare a cluster to let people in by their AWS identities",
		Long: `Prepare what "rolecall serve authenticator" and the API servers must agree about, before
either starts.`,
		Example: `  rolecall authenticator init -i prod --for kubeadm`,
	}, newInit(sys))
}

// initConfig is what `authenticator init` needs.
type initConfig struct {
	dir, distribution string
	rotate            bool
	options           setup.Options
	workload          string
}

func newInit(sys cli.System) *cobra.Command {
	var c initConfig
	cmd := &cobra.Command{
		Use:   "init -i CLUSTER [--for DISTRIBUTION] [--workload KIND]",
		Short: "Make the key pair, the API servers' kubeconfig, settings and manifests",
		Long: `Write cert.pem, key.pem and kubeconfig.yaml, by which API servers trust the authenticator.
With --for also its configuration, the API server settings in the form of the
distribution, and the server as a workload; then what to do with them is printed. What
exists already is kept, so that the command can be run again; the API servers read the
kubeconfig only as they start.`,
		Example: `  rolecall authenticator init -i prod --for kubeadm --dir authenticator
  rolecall authenticator init -i prod --for rke2 --workload daemonset
  rolecall authenticator init -i prod --rotate`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd, sys) },
	}
	f := cmd.Flags()
	f.StringVarP(&c.options.Cluster, "cluster-id", "i", "",
		"id that tokens must be made for; else $KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID; required")
	f.StringVar(&c.dir, "dir", ".", "folder to write to")
	f.StringVar(&c.distribution, "for", "", "write settings for: "+cli.Choice(words(setup.Distributions())))
	f.StringVar(&c.workload, "workload", string(setup.StaticPod), "how the server runs: "+cli.Choice(words(setup.Workloads())))
	f.StringVar(&c.options.Hostname, "hostname", "localhost", "name or IP address by which API servers reach the server")
	f.IntVar(&c.options.Port, "port", 21362, "its port")
	f.StringVar(&c.options.Image, "image", "registry.example.com/rolecall:1.0.0", "image of the server")
	f.StringVar(&c.options.Dir, "node-dir", "",
		"folder of control-plane nodes for the API servers' kubeconfig (default: one that the distribution lets them read)")
	f.StringVar(&c.options.StateDir, "state-dir", "/var/aws-iam-authenticator",
		"folder of control-plane nodes for the server's key pair")
	f.BoolVar(&c.rotate, "rotate", false,
		"replace the key pair by another that is trusted by who trusts the one that there is")
	cli.CompleteFlag(cmd, "for", words(setup.Distributions())...)
	cli.CompleteFlag(cmd, "workload", words(setup.Workloads())...)
	_ = cmd.MarkFlagDirname("dir")
	return cmd
}

func words[T ~string](all []T) []string {
	texts := make([]string, 0, len(all))
	for _, one := range all {
		texts = append(texts, string(one))
	}
	return texts
}

func (c *initConfig) validate(sys cli.System) error {
	if c.options.Cluster == "" {
		c.options.Cluster = sys.Getenv("KUBERNETES_AWS_AUTHENTICATOR_CLUSTER_ID")
	}
	c.options.Workload = setup.Workload(c.workload)
	switch {
	case c.options.Cluster == "":
		return fault.New(fault.Usage, "cluster ID cannot be empty").Hint("add --cluster-id NAME")
	case c.distribution != "" && !slices.Contains(setup.Distributions(), setup.Distribution(c.distribution)):
		return fault.New(fault.Usage, "--for %q: want %s", c.distribution, cli.Choice(words(setup.Distributions())))
	case !slices.Contains(setup.Workloads(), c.options.Workload):
		return fault.New(fault.Usage, "--workload %q: want %s", c.workload, cli.Choice(words(setup.Workloads())))
	case c.options.Port < 1 || c.options.Port > 65535:
		return fault.New(fault.Usage, "--port %d: want 1 to 65535", c.options.Port)
	case c.options.Workload == setup.Deployment && c.options.Hostname == "localhost":
		return fault.New(fault.Usage, "API servers do not reach a Deployment as localhost").
			Hint("add --hostname with an address of the cluster's range for Services, which its Service will have")
	}
	if ip := net.ParseIP(c.options.Hostname); ip != nil && c.options.Workload == setup.Deployment {
		c.options.ClusterIP = c.options.Hostname
	}
	if c.options.Dir == "" {
		c.options.Dir = setup.DefaultDir(setup.Distribution(c.distribution))
	}
	return nil
}

func (c *initConfig) run(_ *cobra.Command, sys cli.System) error {
	if err := c.validate(sys); err != nil {
		return err
	}
	pair, made, err := c.pair(sys)
	if err != nil {
		return err
	}
	webhook := statedir.Webhook{Hostname: c.options.Hostname, Port: c.options.Port, Authorities: pair.PEM()}
	changed, err := webhook.WriteKubeconfig(filepath.Join(c.dir, setup.KubeconfigFile))
	if err != nil {
		return err
	}
	c.say(sys, "cert.pem, key.pem", made)
	c.say(sys, setup.KubeconfigFile, changed)
	if c.distribution == "" {
		fmt.Fprintf(sys.Stdout, "\nNext: copy cert.pem and key.pem to the server's --state-dir, and start API servers with\n"+
			"  --authentication-token-webhook-config-file=%s\n", filepath.Join(c.dir, setup.KubeconfigFile))
		return nil
	}
	return c.settings(sys, webhook)
}

// pair reads, makes or replaces the key pair.
func (c *initConfig) pair(sys cli.System) (pair *statedir.Authority, made bool, err error) {
	if pair, err = statedir.Read(c.dir); err != nil {
		return nil, false, err
	}
	names := []string{c.options.Hostname}
	if c.options.Hostname == "localhost" {
		names = append(names, "127.0.0.1")
	}
	switch {
	case pair == nil:
		pair, err = statedir.Make(sys.Now(), names)
	case c.rotate:
		pair, err = pair.Next(sys.Now(), names)
	default:
		return pair, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return pair, true, pair.Write(c.dir)
}

func (c *initConfig) settings(sys cli.System, webhook statedir.Webhook) (err error) {
	c.options.Kubeconfig = webhook.Kubeconfig()
	if c.options.Certificate, err = os.ReadFile(filepath.Join(c.dir, statedir.CertFile)); err != nil {
		return err
	}
	if c.options.Key, err = os.ReadFile(filepath.Join(c.dir, statedir.KeyFile)); err != nil {
		return err
	}
	files, steps, err := setup.For(setup.Distribution(c.distribution), c.options)
	if err != nil {
		return err
	}
	for _, file := range files {
		path := filepath.Join(c.dir, file.Name)
		if _, err := os.Stat(path); file.Name == setup.ConfigFile && !errors.Is(err, fs.ErrNotExist) {
			c.say(sys, file.Name, false) // it is yours
			continue
		}
		mode := fs.FileMode(0o644)
		if file.Secret {
			mode = 0o600
		}
		if err := atomicfile.Write(path, []byte(file.Text), mode); err != nil {
			return fault.New(fault.Unavailable, "write %s: %w", path, err)
		}
		c.say(sys, file.Name, true)
	}
	fmt.Fprintf(sys.Stdout, "\nNext, from %s:\n", c.dir)
	for i, step := range steps {
		fmt.Fprintf(sys.Stdout, "%d. %s\n", i+1, step)
	}
	if c.distribution == string(setup.KOps) || c.distribution == string(setup.Talos) || c.distribution == string(setup.ClusterAPI) {
		fmt.Fprintln(sys.Stdout, "\nThe patch has the server's private key in it: keep it as you keep that.")
	}
	return nil
}

func (c *initConfig) say(sys cli.System, name string, changed bool) {
	word := "kept"
	if changed {
		word = "wrote"
	}
	fmt.Fprintf(sys.Stdout, "%-6s %s\n", word, strings.TrimPrefix(filepath.Join(c.dir, name), "./"))
}
