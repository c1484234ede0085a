package tokencmd

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/fault"
)

// verifyCommand is what `token verify` needs.
type verifyCommand struct {
	who
	partition, endpoint string
}

// verified is the JSON of `token verify`.
type verified struct {
	ARN         string    `json:"arn"`
	Canonical   string    `json:"canonicalArn"`
	Account     string    `json:"account"`
	UserID      string    `json:"userId"`
	SessionName string    `json:"sessionName,omitempty"`
	AccessKeyID string    `json:"accessKeyId"`
	Endpoint    string    `json:"endpoint"`
	Signed      time.Time `json:"signedAt"`
	Until       time.Time `json:"validUntil"`
}

func newVerify(sys cli.System) *cobra.Command {
	var c verifyCommand
	cmd := &cobra.Command{
		Use:   "verify --cluster-name CLUSTER [TOKEN | -]",
		Short: "Ask STS whose a token is, as a cluster's authenticator does",
		Long: `Check a token, and ask STS whose it is, as the authenticator of a cluster does. The token
comes from standard input, alone or in an ExecCredential; as an argument others on the
machine can see it.

Exit codes: 0 STS knows whose it is, 1 it is refused, 2 wrong usage.`,
		Example: `  rolecall token --cluster-name prod | rolecall token verify --cluster-name prod
  aws eks get-token --cluster-name prod | rolecall token verify --cluster-name prod -o json`,
		Args: cobra.MaximumNArgs(1),
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), sys, args, *output) }
	c.clusterFlags(cmd)
	cmd.Flags().StringVar(&c.partition, "partition", "aws", "partition of AWS that the cluster is in")
	cmd.Flags().
		StringVar(&c.endpoint, "endpoint", "",
			"URL to ask in place of the token's STS; AWS_ENDPOINT_URL_STS's if empty")
	cli.CompleteFlag(cmd, "partition", arn.Partitions()...)
	output = cli.Output(cmd, "text", "json")
	return cmd
}

func (c *verifyCommand) run(ctx context.Context, sys cli.System, args []string, output string) error {
	cluster, err := c.signedFor(sys)
	if err != nil {
		return err
	}
	if !arn.IsPartition(c.partition) {
		return cli.Usage("--partition %q: want %s", c.partition, cli.Choice(arn.Partitions()))
	}
	token, err := given(sys, args)
	if err != nil {
		return err
	}
	parsed, err := callerid.Parse(token, callerid.Policy{Partition: c.partition}, sys.Now())
	if err != nil {
		return err
	}
	asks, err := awsapi.NewCallers(ctx, awsapi.CallersConfig{Cluster: cluster, Endpoint: c.endpoint})
	if err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	who, err := asks.Identify(ctx, parsed)
	if err != nil {
		return aboutSignature(cluster, err)
	}
	answer := verified{
		ARN: who.ARN, Canonical: who.CanonicalARN, Account: who.AccountID, UserID: who.UserID,
		SessionName: who.SessionName,
		AccessKeyID: who.AccessKeyID, Endpoint: who.STSEndpoint, Signed: parsed.Date, Until: parsed.Expires(),
	}
	if output == "json" {
		return cli.PrintJSON(sys.Stdout, answer)
	}
	table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "caller\t%s\n", answer.ARN)
	fmt.Fprintf(table, "known as\t%s\n", answer.Canonical)
	fmt.Fprintf(table, "user id\t%s\n", answer.UserID)
	if answer.SessionName != "" {
		fmt.Fprintf(table, "session\t%s\n", answer.SessionName)
	}
	fmt.Fprintf(table, "key\t%s\n", answer.AccessKeyID)
	fmt.Fprintf(table, "asked\t%s, for cluster %s\n", answer.Endpoint, cluster)
	fmt.Fprintf(table, "valid until\t%s\n", until(answer.Until, sys.Now()))
	return table.Flush()
}

// aboutSignature adds the usual causes to what STS says of a signature.
func aboutSignature(cluster string, err error) error {
	if !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		return err
	}
	return fault.New(fault.KindOf(err), "%w", err).
		Hint("the token is for another cluster than %q (names must be the same letter for letter)", cluster).
		Hint("or it was signed for another host or region than it names, or the clock there is wrong")
}

// until is a time and how far it is away.
func until(at, now time.Time) string {
	left := at.Sub(now).Round(time.Second)
	if left < 0 {
		return fmt.Sprintf("%s (%s ago)", at.UTC().Format(time.RFC3339), -left)
	}
	return fmt.Sprintf("%s (%s left)", at.UTC().Format(time.RFC3339), left)
}
