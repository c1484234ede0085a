package serve

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/authenticator/peerconfig"
	"github.com/rolecall/rolecall/internal/authenticator/setup"
	"github.com/rolecall/rolecall/test/flagpage"
)

// peersFlags are those of aws-iam-authenticator's server with their defaults (spec
// authenticator §6.2).
var peersFlags = map[string]string{
	"config": "", "cluster-id": "", "log-format": "text", "log-verbosity": "info", "feature-gates": "[]", "partition": "aws",
	"address": "127.0.0.1", "port": "21362", "hostname": "localhost", "state-dir": "/var/aws-iam-authenticator",
	"generate-kubeconfig":     "/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml",
	"kubeconfig-pregenerated": "false", "kubeconfig": "", "master": "", "backend-mode": "[MountedFile]",
	"ec2-describeInstances-qps": "15", "ec2-describeInstances-burst": "5",
}

// TestPeersFlags: each is there, and means the same if it is not given; so do the short
// forms.
func TestPeersFlags(t *testing.T) {
	t.Parallel()
	flags := newAuthenticator(cli.System{}).Flags()
	for name, want := range peersFlags {
		if f := flags.Lookup(name); f == nil || f.DefValue != want {
			t.Errorf("--%s: %v, want %q", name, f, want)
		}
	}
	for short, name := range map[string]string{"c": "config", "i": "cluster-id", "l": "log-format", "v": "log-verbosity"} {
		if f := flags.ShorthandLookup(short); f == nil || f.Name != name {
			t.Errorf("-%s is not --%s", short, name)
		}
	}
	for _, key := range peerconfig.Keys {
		if key.Flag != "" && flags.Lookup(key.Flag) == nil {
			t.Errorf("%s is said to be --%s", key.Name, key.Flag)
		}
	}
}

func TestValidateAuthenticator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const good = "-i prod --access-objects off --port 0 --health-port 0 "
	for _, row := range []struct{ args, want string }{
		{"", "cluster ID cannot be empty"},
		{"-i prod --partition aws-mars", "--partition"},
		{good + "--address localhost", "want an IP address"},
		{good + "--backend-mode Nonsense", "is not known"},
		{good + "--backend-mode CRD,CRD", "is there twice"},
		{good + "--backend-mode DynamicFile", "without a file"},
		{good + "--sts-host-policy lax", "want strict or compat"},
		{good + "--deny-status 401", "want 403 or 200"},
		{good + "--access-objects maybe", "want auto, on or off"},
		{good + "--tls-cert x", "go together"},
		{good + "--max-token-bytes 100", "want 4096 to 65536"},
		{good + "--clock-skew 1h", "at most 15m"},
		{good + "--known-for 1h", "at most 15m"},
		{good + "--feature-gates Nonsense=true", "want NAME=true"},
		{good + "--feature-gates SSORoleMatch=maybe", "want NAME=true"},
		{good + "--ec2-describeInstances-qps 0", "at least 1"},
		{good + "--config " + filepath.Join(dir, "none"), "read the configuration"},
		{good + "--config " + file("a", "- a"), "line 1"},
		{"-i prod --config " + file("b", "server: {port: x}"), "line 1: server.port \"x\""},
		{good + "--config " + file("c", "server: {dynamicfilepath: /x}"), "without backend mode DynamicFile"},
		{good + "--config " + file("d", "server: {ec2DescribeInstancesRoleARN: x}"), "ec2DescribeInstancesRoleARN"},
		{good + "--log-verbosity loud", "log level"},
	} {
		var stdout, stderr bytes.Buffer
		code := runCommand(t, newAuthenticator, row.args, &stdout, &stderr)
		if code != 2 || !strings.Contains(stderr.String(), row.want) {
			t.Errorf("%s: %d %s", row.args, code, &stderr)
		}
	}
}

// TestWhichCounts: a flag counts before the environment, that before the file.
func TestWhichCounts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("clusterID: file\nlog-verbosity: warn\nserver: {port: 1, backendMode: [CRD], stateDir: /f}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args, variable            string
		cluster, from, port, mode string
	}{
		{"", "", "file", "clusterID of " + path, "1", "[CRD]"},
		{"", "env", "env", "$" + clusterVariable, "1", "[CRD]"},
		{"-i flag --port 2 --backend-mode MountedFile", "env", "flag", "--cluster-id", "2", "[MountedFile]"},
	} {
		c := newAuthenticatorConfig()
		cmd := &cobra.Command{}
		c.flags(cmd)
		if err := cmd.ParseFlags(append(strings.Fields(row.args), "--config", path)); err != nil {
			t.Fatal(err)
		}
		getenv := func(name string) string { return map[string]string{clusterVariable: row.variable}[name] }
		if err := c.read(cmd, getenv); err != nil {
			t.Fatal(err)
		}
		if c.cluster != row.cluster || c.clusterFrom != row.from || fmt.Sprint(c.port) != row.port ||
			fmt.Sprint(c.backendModes) != row.mode || c.stateDir != "/f" || c.logVerbosity != "warn" {
			t.Errorf("%s: %+v", row.args, c)
		}
	}
}

// TestWorkloads: the arguments of the manifests that init writes are this command's.
func TestWorkloads(t *testing.T) {
	t.Parallel()
	for _, workload := range setup.Workloads() {
		files, _, err := setup.For(setup.Kubeadm, setup.Options{
			Cluster: "prod", Hostname: "10.96.0.77", ClusterIP: "10.96.0.77", Port: 21362, Image: "i", Dir: "/d", StateDir: "/s",
			Workload: workload,
		})
		if err != nil {
			t.Fatal(err)
		}
		documents := strings.Split(files[1].Text, "\n---\n")
		last := []byte(documents[len(documents)-1])
		var pod corev1.Pod
		var set appsv1.DaemonSet
		if err := yaml.Unmarshal(last, &pod); err != nil && workload == setup.StaticPod {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(last, &set); err != nil && workload != setup.StaticPod {
			t.Fatal(err)
		}
		containers := append(pod.Spec.Containers, set.Spec.Template.Spec.Containers...)
		if len(containers) == 0 || len(containers[0].Args) < 3 || containers[0].Args[0] != "serve" || containers[0].Args[1] != "authenticator" {
			t.Fatalf("%s: %+v", workload, containers)
		}
		c := newAuthenticatorConfig()
		cmd := &cobra.Command{}
		c.flags(cmd)
		if err := cmd.ParseFlags(containers[0].Args[2:]); err != nil {
			t.Errorf("%s: %v", workload, err)
		}
		c.cluster = "prod"
		if err := c.validate(); err != nil {
			t.Errorf("%s: %v", workload, err)
		}
	}
}

// TestAuthenticatorFlagsPage: the page lists exactly the flags there are, with their
// defaults, and the keys of the configuration file.
func TestAuthenticatorFlagsPage(t *testing.T) {
	t.Parallel()
	var table, keys strings.Builder
	table.WriteString("| flag | default | meaning |\n|---|---|---|\n")
	var flags []*pflag.Flag
	newAuthenticator(cli.System{}).Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f) })
	slices.SortFunc(flags, func(a, b *pflag.Flag) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range flags {
		shown, name := f.DefValue, "`--"+f.Name+"`"
		if shown != "" {
			shown = "`" + shown + "`"
		}
		if f.Shorthand != "" {
			name += ", `-" + f.Shorthand + "`"
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", name, shown, f.Usage)
	}
	keys.WriteString("| key | here |\n|---|---|\n")
	for _, key := range peerconfig.Keys {
		here := "read"
		switch {
		case key.Ignored != "":
			here = "no effect, which is said: " + key.Ignored
		case key.Flag != "":
			here = "`--" + key.Flag + "`"
		}
		fmt.Fprintf(&keys, "| `%s` | %s |\n", key.Name, here)
	}
	flagpage.Check(t, "../../../docs/reference/authenticator-flags.md",
		map[string]string{"flags": table.String(), "keys": keys.String()})
}
