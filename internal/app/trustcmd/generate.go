package trustcmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/policyfile"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/trust"
)

// generateConfig is what `trust generate` needs.
type generateConfig struct {
	role roleFlags
	// podIdentity is one of podForms, empty for none.
	podIdentity            string
	brokerRole, sourceRole string
	allowWildcard          bool
	merge                  string // a file, - for standard input
}

// podForms are the values of --pod-identity.
var podForms = []string{"eks", "federated", "broker", "target"}

func newTrustGenerate(sys cli.System) *cobra.Command {
	var c generateConfig
	cmd := &cobra.Command{
		Use: "generate --service-account NAMESPACE/NAME... " +
			"(--issuer URL --account ID | --oidc-provider-arn ARN | --discovery URL)...",
		Short: "Write a trust policy that lets in these workloads and nobody else",
		Long: `Write the trust policy of a role for service accounts of one or many clusters. It
always compares audience and subject; names and patterns stand in statements of their
own; patterns that reach further than they seem need --allow-wildcard. The policy
engine has tried the result before it is printed: who was asked for gets in, their
neighbours do not.

The document goes to standard output, minified, fit for
--assume-role-policy-document file:///dev/stdin; its size, the provider that the role's
account needs and everything else to know go to standard error.

Over the quota there are several documents, one a line, for several roles with the
same permissions: nothing is ever widened to fit. -o json says who is in which.

--pod-identity adds another way in, beside --issuer for a migration:
  eks        EKS itself, for the clusters of --cluster-arn
  federated  tokens with session tags, as our broker mints them
  broker     the role of a broker (--broker-role-arn), by tags and external id
  target     sessions of an association's own role (--source-role-arn), by external id`,
		Example: `  # one service account of one cluster; make the role at once
  rolecall trust generate --oidc-provider-arn arn:aws:iam::111122223333:oidc-provider/oidc.example.com/prod \
    --service-account default/s3-reader |
    aws iam create-role --role-name s3-reader --assume-role-policy-document file:///dev/stdin

  # many service accounts, two clusters, issuers as their discovery documents say
  rolecall trust generate --account 111122223333 --discovery https://oidc.example.com/prod \
    --discovery https://oidc.example.com/test --service-account app/api --service-account 'jobs/*'

  # the cluster's provider is in another account than the role
  rolecall trust generate --account 444455556666 --service-account default/s3-access \
    --oidc-provider-arn arn:aws:iam::111122223333:oidc-provider/s3.eu-west-1.amazonaws.com/prod-oidc

  # from IRSA to EKS Pod Identity: trust both, keep what others wrote
  aws iam get-role --role-name app --query Role.AssumeRolePolicyDocument |
    rolecall trust generate --merge - --pod-identity eks --cluster-arn arn:aws:eks:eu-west-1:111122223333:cluster/prod`,
		Args: cli.NoArguments,
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys, *output) }
	c.role.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&c.podIdentity, "pod-identity", "", "a way in by Pod Identity: "+strings.Join(podForms, ", "))
	f.StringVar(&c.brokerRole, "broker-role-arn", "", "ARN of the broker's role, for --pod-identity broker")
	f.StringVar(&c.sourceRole, "source-role-arn", "", "ARN of the association's own role, for --pod-identity target")
	f.BoolVar(&c.allowWildcard, "allow-wildcard", false, "take patterns that cover several namespaces, or a shared one")
	f.StringVar(&c.merge, "merge", "",
		"file with the present policy, or -: statements of others stay byte for byte, a diff is shown")
	_ = cmd.RegisterFlagCompletionFunc("pod-identity",
		cobra.FixedCompletions(podForms, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("merge", "json")
	output = cli.Output(cmd, "document", "json")
	return cmd
}

func (c *generateConfig) run(ctx context.Context, sys cli.System, output string) error {
	request, err := c.request(ctx)
	if err != nil {
		return err
	}
	if c.merge != "" {
		if _, request.Present, err = policyfile.Read(sys.Stdin, c.merge); err != nil {
			return err
		}
	}
	result, err := trust.Generate(*request)
	if err != nil {
		return err
	}
	for _, provider := range c.role.elsewhere {
		result.Notes = append(result.Notes, fmt.Sprintf(
			"%s is in another account than the role: a second provider with the same URL must be in %s",
			provider, request.Account))
	}
	for _, issuer := range c.role.issuers {
		result.Notes = append(result.Notes, fmt.Sprintf(
			"the issuer was typed: --discovery %s compares it with what the cluster publishes", issuer))
	}
	if output == "json" {
		return cli.PrintJSON(sys.Stdout, result)
	}
	for i := range result.Documents {
		if _, err := fmt.Fprintln(sys.Stdout, strings.TrimRight(result.Documents[i].Text, "\n")); err != nil {
			return fmt.Errorf("print policy: %w", err)
		}
	}
	if request.Present != nil {
		policyfile.PrintFormattedDiff(sys.Stderr, request.Present, []byte(result.Documents[0].Text))
	}
	printGenerated(sys.Stderr, result)
	return nil
}

func (c *generateConfig) request(ctx context.Context) (*trust.Request, error) {
	issuers, err := c.role.resolve(ctx)
	if err != nil {
		return nil, err
	}
	accounts, err := c.role.accounts()
	if err != nil {
		return nil, err
	}
	r := &trust.Request{
		Account:         c.role.account,
		Partition:       c.role.partition,
		ServiceAccounts: accounts,
		Issuers:         issuers,
		Audience:        c.role.audience,
		Tagged:          c.role.tagged, AllowWildcard: c.allowWildcard, Quota: c.role.quota,
	}
	return r, c.addPodIdentity(r)
}

func (c *generateConfig) addPodIdentity(r *trust.Request) error {
	needs := func(flag, value string) error {
		if value != "" {
			return nil
		}
		return fault.New(fault.Usage, "--pod-identity %s needs %s", c.podIdentity, flag)
	}
	cluster := strings.Join(c.role.clusters, " ")
	switch c.podIdentity {
	case "":
		return nil
	case "eks":
		r.EKSClusters = c.role.clusters
		return needs("--cluster-arn", cluster)
	case "federated":
		r.Tagged = true
		return needs("--issuer, --oidc-provider-arn or --discovery", strings.Join(r.Issuers, " "))
	case "broker":
		r.Broker = &trust.Broker{RoleARN: c.brokerRole, ClusterARN: cluster}
		return firstError(needs("--broker-role-arn", c.brokerRole), needs("--cluster-arn", cluster))
	case "target":
		r.Target = &trust.Target{SourceRoleARN: c.sourceRole, ClusterARN: cluster}
		return firstError(needs("--source-role-arn", c.sourceRole), needs("--cluster-arn", cluster))
	}
	return fault.New(fault.Usage, "--pod-identity %q: want %s", c.podIdentity, strings.Join(podForms, ", "))
}

func firstError(errs ...error) error {
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

// printGenerated tells what a person must know beside the documents.
func printGenerated(w io.Writer, result *trust.Result) {
	for i, one := range result.Documents {
		name := "size"
		if len(result.Documents) > 1 {
			name = fmt.Sprintf("document %d of %d", i+1, len(result.Documents))
		}
		fmt.Fprintf(w, "%s: %d of %d characters, %d %%\n", name, one.Size, result.Quota, one.Size*100/result.Quota)
		if len(result.Documents) > 1 {
			for _, who := range one.Admits {
				fmt.Fprintf(w, "  lets in %s\n", who)
			}
		}
	}
	for _, need := range result.Needs {
		fmt.Fprintf(w, "needs: %s with audience %s\n  make it:      %s\n  or extend it: %s\n",
			need.ProviderARN, need.Audience, need.Create, need.Register)
	}
	for _, note := range result.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
}
