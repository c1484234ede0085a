package serve

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/test/flagpage"
)

func TestValidateBroker(t *testing.T) {
	t.Parallel()
	const good = "--cluster-name=prod --region=eu-west-1 --account=111122223333 --mode=pass-through "
	for _, row := range []struct{ args, want string }{
		{"", "cluster name"},
		{"--cluster-name=a/b", "cluster name"},
		{"--cluster-name=prod", "region"},
		{"--cluster-name=prod --region=eu-west-1", "want 12 digits"},
		{"--cluster-name=prod --region=eu-west-1 --account=111122223333", "needs --issuer and --signing-key"},
		{good + "--mode=brokerRole", "want federated, broker-role, pass-through"},
		{good + "--verify=never", "want auto, tokenreview, jwks, both"},
		{good + "--agent-auth=aws", "want sa-token, mtls, aws-token, sigv4, none"},
		{good + "--agent-auth=aws-token", "add --node-roles arn:aws:iam::111122223333:role/NAME"},
		{good + "--node-roles=arn:aws:iam::111122223333:role/node", "is for --agent-auth aws-token"},
		{
			good + "--agent-auth=aws-token --node-roles=arn:aws:iam::111122223333:instance-profile/node",
			"not the instance profile's",
		},
		{good + "--agent-auth=aws-token --node-roles=arn:aws:iam::1111:role/node", "is not a role ARN"},
		{good + "--agent-auth=aws-token --node-roles=arn:aws:iam::111122223333:role/node,node", "is not a role ARN"},
		{
			good + "--agent-auth=aws-token --node-roles=arn:aws-cn:iam::111122223333:role/node",
			"is not of partition aws",
		},
		{good + "--agent-auth=aws-token --node-roles=arn:aws:iam::111122223333:role/*", "it is a pattern: want one role"},
		{good + "--agent-auth=mtls", "needs --client-ca"},
		{good + "--agent-auth=sigv4", "needs --access-keys"},
		{good + "--agent-service-account=agent", "want NAMESPACE/NAME"},
		{good + "--agent-audience=pods.eks.amazonaws.com", "only agents' tokens"},
		{good + "--keys=/jwks.json", "needs --keys-issuer"},
		{good + "--keys-also=https://old.example", "want ISSUER=KEYS"},
		{good + "--keys-also==apiserver", "want ISSUER=KEYS"},
		{good + "--keys-also=https://old.example=", "want ISSUER=KEYS"},
		{
			good + "--keys-also=https://old.example=apiserver --keys-also=https://old.example=/jwks.json",
			"has keys already",
		},
		{
			good + "--keys=/jwks.json --keys-issuer=https://a.example --keys-also=https://a.example=/other.json",
			"has keys already",
		},
		{good + "--issuer=https://h.example", "go together"},
		{good + "--issuer=http://h.example --signing-key=x", "must begin with https://"},
		{good + "--tls-cert=x", "go together"},
		{good + "--ca-lifetime=1h", "certificate lifetimes"},
		{good + "--sts-qps=0", "more than 0"},
		{good + "--kubeconfig=missing", "find the API server"},
	} {
		var stdout, stderr bytes.Buffer
		code := runCommand(t, newBroker, row.args, &stdout, &stderr)
		if code != 2 || !strings.Contains(stderr.String(), row.want) {
			t.Errorf("%s: %d %s", row.args, code, &stderr)
		}
	}
}

const brokerPage = "../../../docs/reference/broker-flags.md"

// TestBrokerFlagsPage: the page lists exactly the flags there are, with their
// defaults.
func TestBrokerFlagsPage(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	table.WriteString("| flag | default | meaning |\n|---|---|---|\n")
	var flags []*pflag.Flag
	newBroker(cli.System{}).Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f) })
	slices.SortFunc(flags, func(a, b *pflag.Flag) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range flags {
		shown := f.DefValue
		if shown != "" {
			shown = "`" + shown + "`"
		}
		fmt.Fprintf(&table, "| `--%s` | %s | %s |\n", f.Name, shown, f.Usage)
	}
	flagpage.Check(t, brokerPage, map[string]string{"flags": table.String()})
}
