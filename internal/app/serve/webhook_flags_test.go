package serve

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/permissions"
	"github.com/rolecall/rolecall/test/flagpage"
)

// reference are the flags of amazon-eks-pod-identity-webhook with their defaults
// (spec webhook §11), and where ours differ, ours.
var reference = map[string][2]string{
	"port": {"443"}, "metrics-port": {"9999"}, "kubeconfig": {""}, "kube-api": {""}, "in-cluster": {"true"},
	"tls-cert":          {"/etc/webhook/certs/tls.crt"},
	"tls-key":           {"/etc/webhook/certs/tls.key"},
	"tls-min-version":   {""},
	"tls-cipher-suites": {"", "[]"},
	"service-name":      {"pod-identity-webhook"},
	"namespace":         {"eks"},
	"tls-secret":        {"pod-identity-webhook"},
	"annotation-prefix": {"eks.amazonaws.com"},
	"token-audience":    {"sts.amazonaws.com"}, "token-mount-path": {
		"/var/run/secrets/eks.amazonaws.com/serviceaccount",
	}, "token-expiration": {"86400"},
	"aws-default-region":                 {""},
	"sts-regional-endpoint":              {"false"},
	"watch-config-map":                   {"false"},
	"compose-role-arn":                   {"false"},
	"watch-container-credentials-config": {""}, "container-credentials-audience": {"pods.eks.amazonaws.com"},
	"container-credentials-token-mount-path":  {"/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"},
	"container-credentials-token-volume-name": {"eks-pod-identity-token"},
	"container-credentials-token-path":        {"eks-pod-identity-token"},
	"container-credentials-full-uri": {
		"http://169.254.170.23/v1/credentials",
	}, "service-account-lookup-grace-period": {"0s", "1s"},
	"resync-period": {"1m0s", ""}, "enable-debugging-handlers": {"false"}, "version": {"false"},
}

// TestReferenceFlags: each is there, and means the same if it is not given.
func TestReferenceFlags(t *testing.T) {
	t.Parallel()
	flags := newWebhook(cli.System{}).Flags()
	for name, defaults := range reference {
		want := defaults[0]
		if defaults[1] != "" || name == "resync-period" {
			want = defaults[1]
		}
		if f := flags.Lookup(name); f == nil || f.DefValue != want {
			t.Errorf("--%s: %+v, want default %q", name, f, want)
		}
	}
}

// TestReferenceCommandLine is one as its manifests and charts have it.
func TestReferenceCommandLine(t *testing.T) {
	t.Parallel()
	c := newWebhook(cli.System{})
	err := c.ParseFlags(strings.Fields("--in-cluster=false --namespace=default --service-name=pod-identity-webhook " +
		"--annotation-prefix=eks.amazonaws.com --token-audience=sts.amazonaws.com " +
		"--port=8443 --metrics-port 9998 --resync-period=30s --logtostderr -v=4 --v=2 --vmodule=a=1 " +
		"--stderrthreshold=2 --alsologtostderr=false --skip_headers --tls-min-version=VersionTLS12 " +
		"--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 " +
		"--service-account-lookup-grace-period=100ms --sts-regional-endpoint"))
	if err != nil {
		t.Error(err)
	}
}

func TestValidateWebhook(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ args, want string }{
		{"--port=1 --listen=:2", "say the same thing"},
		{"--metrics-port=1 --metrics-listen=:2", "say the same thing"},
		{"--ca-lifetime=1h", "certificate lifetimes"},
		{"--node-role-fallback=maybe", "want allow, warn or deny"},
		{"--identity-required-namespaces=a", "does nothing"},
		{"--compose-account=1 --compose-role-arn", "want 12 digits"},
		{"--compose-account=111122223333", "does nothing alone"},
		{"--service-account-lookup-grace-period=-1s", "want less than 10s"},
		{"--service-account-lookup-grace-period=10s", "want less than 10s"},
		{"--webhook-url=http://127.0.0.1/mutate", "want an https URL"},
		{"--webhook-url=https://127.0.0.1/hook --validate-associations", "want one that ends in /mutate"},
		{"--tls-min-version=1.4", "want 1.0"},
		{"--annotation-prefix=", "want a domain name"},
		{"--annotation-prefix=a/b", "want a domain name"},
		{"--token-audience=", "for the API server"},
		{"--container-credentials-audience=", "for the API server"},
		{"--aws-default-region=eu_west", "want a region"},
		{"--token-mount-path=", "want an absolute path"},
		{"--token-mount-path=/a:b", "want an absolute path"},
		{"--container-credentials-token-mount-path=a", "want an absolute path"},
		{"--container-credentials-token-volume-name=A_b", "volume's name"},
		{"--container-credentials-token-path=/a", "without .."},
		{"--container-credentials-token-path=a/../b", "without .."},
		{"--container-credentials-full-uri=169.254.170.23", "want an http or https URL"},
		{"--tls-cert=missing --tls-key=missing", "load serving certificate"},
		{"--kubeconfig=missing", "find the API server"},
	} {
		var stdout, stderr bytes.Buffer
		code := runCommand(t, newWebhook, row.args, &stdout, &stderr)
		if code == 0 || !strings.Contains(stderr.String(), row.want) {
			t.Errorf("%s: %d %s", row.args, code, &stderr)
		}
	}
	for want, c := range map[string]webhookConfig{
		"want 1.0":                  {minTLS: "1.4"},
		`no suite is called "NONE"`: {cipherSuites: []string{" ", "NONE"}},
	} {
		err := c.restrict(&tls.Config{MinVersion: tls.VersionTLS12})
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

const flagsPage = "../../../docs/reference/webhook-flags.md"

// TestFlagsPage: the page lists exactly the flags there are, with their defaults,
// exactly the permissions, and the configuration that is made.
func TestFlagsPage(t *testing.T) {
	t.Parallel()
	flagpage.Check(t, flagsPage,
		map[string]string{"flags": flagTable(), "permissions": permissionTable(), "writes": writesRegistration(t)})
}

// writesRegistration is what is made if there is none, for those who make it
// themselves.
func writesRegistration(t *testing.T) string {
	t.Helper()
	c := newWebhookConfig()
	c.ownAuthority, c.registration, c.validateWrites = true, "pod-identity-webhook", true
	registrar, err := c.registrar(fake.NewClientset())
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(registrar.Validating)
	if err != nil {
		t.Fatal(err)
	}
	return "```yaml\n" + string(text) + "```\n"
}

func permissionTable() string {
	var table strings.Builder
	table.WriteString("| API group | resource | named | verbs | where | with |\n|---|---|---|---|---|---|\n")
	code := func(text string) string {
		if text != "" {
			text = "`" + text + "`"
		}
		return text
	}
	// Each object is called as the flag that names it.
	c := webhookConfig{
		certificates: flags.Certificates{Namespace: "--namespace", Secret: "--tls-secret"},
		registration: "--webhook-config",
	}
	for _, p := range c.duties().Permissions() {
		where, with := "everywhere", flagOf(p.For)
		if p.Namespace != "" {
			where = "in " + code(p.Namespace)
		}
		if p.For != permissions.Always {
			with = strings.ReplaceAll(code(with), " or ", "` or `")
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", cmp.Or(code(p.Group), "core"), code(p.Resource),
			code(p.Name), strings.Join(p.Verbs, ", "), where, with)
	}
	return table.String()
}

func flagTable() string {
	var table strings.Builder
	table.WriteString("| flag | default | the reference's | meaning |\n|---|---|---|---|\n")
	var names []string
	flags := newWebhook(cli.System{}).Flags()
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	slices.Sort(names)
	for _, name := range names {
		if slices.Contains(ignored, name) {
			continue
		}
		f, theirs := flags.Lookup(name), ""
		if defaults, known := reference[name]; known {
			theirs = "same"
			if defaults[1] != "" && defaults[1] != "[]" {
				theirs = "`" + defaults[0] + "`"
			}
		}
		shown := f.DefValue
		if shown != "" {
			shown = "`" + shown + "`"
		}
		fmt.Fprintf(&table, "| `--%s` | %s | %s | %s |\n", name, shown, theirs, f.Usage)
	}
	fmt.Fprintf(&table, "\nAccepted, and without effect: `--%s`.\n", strings.Join(ignored, "`, `--"))
	return table.String()
}
