// Package trustcmd has the commands of `rolecall trust`, which write and check trust
// policies.
//
// It has no rules of its own: what a trust policy must say is in internal/trust, what is
// wrong with one in internal/policy.
package trustcmd

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer/document"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/trust"
)

// New returns `rolecall trust`.
func New(sys cli.System) *cobra.Command {
	return cli.Parent(&cobra.Command{
		Use:     "trust",
		Aliases: []string{"trusts", "trust-policy", "trust-policies"},
		Short:   "Write and check trust policies of IAM roles",
		Example: `  rolecall trust generate --account 111122223333 --issuer https://oidc.example.com/prod \
    --service-account default/s3-reader
  rolecall trust lint trust.json`,
	}, newTrustGenerate(sys), newTrustLint(sys))
}

// roleFlags say which role it is and whose tokens are exchanged for it; generate and lint share
// them.
type roleFlags struct {
	account, partition           string
	issuers, providers, discover []string
	audience                     string
	serviceAccounts              []string
	clusters                     []string
	tagged                       bool
	quota                        int
	read                         flags.IssuerReader
	// elsewhere are providers that were named in another account than the role's.
	elsewhere []string
}

func (c *roleFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.account, "account", "", "the role's account, 12 digits (default: that of --oidc-provider-arn)")
	f.StringVar(&c.partition, "partition", "",
		"the role's partition: "+strings.Join(arn.Partitions(), ", ")+
			" (default: that of the given ARNs and of issuers on AWS's hosts, or aws)")
	f.StringArrayVar(&c.issuers, "issuer", nil, "URL of a cluster's issuer, byte for byte; may be repeated")
	f.StringArrayVar(&c.providers, "oidc-provider-arn", nil,
		"ARN of a cluster's OIDC provider, in the role's account or another; may be repeated")
	f.StringArrayVar(&c.discover, "discovery", nil,
		"file with a discovery document, or URL of an issuer whose document is read now; may be repeated")
	f.StringVar(&c.audience, "audience", "", "the tokens' audience, which the provider registers")
	f.StringArrayVar(&c.serviceAccounts, "service-account", nil, "NAMESPACE/NAME of a service account; may be repeated")
	f.StringArrayVar(&c.clusters, "cluster-arn", nil,
		"ARN of an EKS cluster, or of what stands for one; may be repeated")
	f.BoolVar(&c.tagged, "tagged", false, "the tokens carry session tags")
	f.IntVar(&c.quota, "quota", trust.DefaultQuota,
		"characters that the account stores: 2048, or up to 8192 if it was raised")
	c.read.Add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("partition",
		cobra.FixedCompletions(arn.Partitions(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("quota",
		cobra.FixedCompletions([]string{"2048", "4096", "8192"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("discovery", "json")
}

// resolve turns what names issuers into issuers, and takes the account from a
// provider's ARN, the partition from ARNs and issuers, where they are not given.
func (c *roleFlags) resolve(ctx context.Context) ([]string, error) {
	issuers := slices.Clone(c.issuers)
	for _, text := range c.providers {
		provider, err := arn.ParseProvider(text)
		if err != nil {
			return nil, fault.New(fault.Usage, "--oidc-provider-arn %w", err)
		}
		c.account = cmp.Or(c.account, provider.Account)
		if provider.Account != c.account {
			c.elsewhere = append(c.elsewhere, text)
		}
		issuers = append(issuers, "https://"+provider.Issuer)
	}
	for _, place := range c.discover {
		issuer, err := c.discovered(ctx, place)
		if err != nil {
			return nil, err
		}
		issuers = append(issuers, issuer)
	}
	if c.partition == "" {
		var err error
		if c.partition, err = trust.PartitionOf(issuers, slices.Concat(c.providers, c.clusters)); err != nil {
			return nil, err
		}
	}
	return issuers, nil
}

// discovered returns the issuer that a discovery document names, in a file or at an
// issuer's URL.
func (c *roleFlags) discovered(ctx context.Context, place string) (string, error) {
	if !strings.Contains(place, "://") {
		text, err := os.ReadFile(place)
		if err != nil {
			return "", fault.New(fault.Usage, "read the discovery document: %w", err).
				Hint("--discovery takes a file, or an issuer's URL")
		}
		return inspect.IssuerOf(place, text)
	}
	reader, err := c.read.Reader()
	if err != nil {
		return "", err
	}
	issuer := strings.TrimSuffix(place, "/"+document.DiscoveryPath)
	fetched, _ := reader.Read(ctx, issuer)
	return issuer, inspect.CheckNamed(issuer, fetched)
}

// accounts reads --service-account.
func (c *roleFlags) accounts() ([]trust.ServiceAccount, error) {
	all := make([]trust.ServiceAccount, 0, len(c.serviceAccounts))
	for _, text := range c.serviceAccounts {
		one, err := trust.ParseServiceAccount(text)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
