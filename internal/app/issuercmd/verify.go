package issuercmd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/issuer"
	"github.com/rolecall/rolecall/internal/publication"
	"github.com/rolecall/rolecall/internal/token"
)

// verifyConfig is what `issuer verify` needs.
type verifyConfig struct {
	folder  issuerFolder
	cluster flags.APIServers
	read    flags.IssuerReader
	// url takes the place of the folder.
	url        string
	audiences  []string
	tokenFile  string
	role       string
	withoutAWS bool
}

func newIssuerVerify(sys cli.System) *cobra.Command {
	var c verifyConfig
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check an issuer as STS does, and say what to mend",
		Long: `Fetch the discovery document and the keys anonymously, and check what STS checks: the
certificate, the issuer byte for byte, each key, the headers; then, with credentials,
the provider in IAM with its audiences and thumbprints; with --kubeconfig, that every
API server signs with a published key; with --token, one token. Each finding names
what STS answers because of it, and its fix.

Exit codes: 0 nothing but warnings, 1 tokens are refused, 2 wrong usage.`,
		Args: cli.NoArguments,
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys, *output) }
	c.folder.flags(cmd)
	c.cluster.Add(cmd)
	c.read.Add(cmd)
	cmd.Flags().StringVar(&c.url, "url", "", "check this issuer instead of the folder's")
	cmd.Flags().StringArrayVar(&c.audiences, "audience", nil, "audience of the tokens; may be repeated (default: those of the folder's providers, or sts.amazonaws.com)")
	cmd.Flags().StringVar(&c.tokenFile, "token", "", "file of a token to check as well")
	cmd.Flags().StringVar(&c.role, "role", "", "ARN of a role that tokens are exchanged for: check that its account has a provider (default: the folder's probe.roleARN)")
	cmd.Flags().BoolVar(&c.withoutAWS, "without-aws", false, "do not ask IAM")
	output = cli.Output(cmd, "table", "json")
	return cmd
}

func (c *verifyConfig) run(ctx context.Context, sys cli.System, output string) error {
	spec, err := c.spec()
	if err != nil {
		return err
	}
	reader, err := c.read.Reader()
	if err != nil {
		return err
	}
	servers, err := c.cluster.Servers(ctx, spec.APIServers)
	if err != nil {
		return err
	}
	view := issuer.Look(ctx, reader, spec.URL, servers, probeOf(spec), sys.Now)
	seen := publication.Observation{Issuer: spec.URL, Now: sys.Now(), Discovery: view.Discovery, JWKS: view.JWKS, Audiences: audiencesOf(spec), RoleARN: spec.Probe.RoleARN}
	if c.role != "" {
		seen.RoleARN = c.role
	}
	if len(c.audiences) > 0 {
		seen.Audiences = c.audiences
	}
	for _, asked := range view.Asked {
		seen.Servers = append(seen.Servers, asked.ServerKeys)
	}
	if c.tokenFile != "" {
		if seen.Token, err = readToken(c.tokenFile); err != nil {
			return err
		}
	}
	if !c.withoutAWS {
		seen.Providers = askProviders(ctx, spec)
	}
	return printVerdict(sys, output, spec.URL, publication.Inspect(seen))
}

func (c *verifyConfig) spec() (*v1alpha1.IssuerSpec, error) {
	if c.url != "" {
		return &v1alpha1.IssuerSpec{URL: c.url}, nil
	}
	object, err := c.folder.load()
	if err != nil {
		return nil, err
	}
	return &object.Spec, nil
}

// readToken refuses what STS would call no JWT.
func readToken(file string) (*token.JWT, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read the token: %w", err)
	}
	decoded, err := token.Decode(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s: %w", file, err).Hint("want the file that the pod has at AWS_WEB_IDENTITY_TOKEN_FILE")
	}
	return decoded, nil
}

// askProviders asks IAM in each account; what cannot be asked is a finding, not
// an end.
func askProviders(ctx context.Context, spec *v1alpha1.IssuerSpec) []publication.Provider {
	wanted := spec.Providers
	if len(wanted) == 0 {
		wanted = []v1alpha1.IAMProvider{{}}
	}
	found := make([]publication.Provider, 0, len(wanted))
	for _, one := range wanted {
		provider, err := askProvider(ctx, spec.URL, one)
		if err != nil {
			provider.Err = err.Error()
		}
		if provider.Account == "" {
			provider.Account = "of these credentials"
		}
		found = append(found, provider)
	}
	return found
}

func askProvider(ctx context.Context, url string, one v1alpha1.IAMProvider) (publication.Provider, error) {
	var provider publication.Provider
	account, err := awsapi.OpenAccount(ctx, "", one.RoleARN)
	if err != nil {
		return provider, err
	}
	if provider.Account, provider.ARN, err = account.ProviderARN(ctx, url); err != nil {
		return provider, err
	}
	got, there, err := account.IAM().Provider(ctx, provider.ARN)
	if err != nil {
		return provider, err
	}
	if there {
		provider.URL, provider.ClientIDs, provider.Thumbprints = got.URL, got.ClientIDs, got.Thumbprints
		return provider, nil
	}
	arns, err := account.IAM().ProviderARNs(ctx)
	for _, other := range arns {
		_, near, _ := strings.Cut(other, ":oidc-provider/")
		provider.Near = append(provider.Near, near)
	}
	return provider, err
}

func printVerdict(sys cli.System, output, url string, findings []publication.Finding) error {
	if findings == nil {
		findings = []publication.Finding{}
	}
	counts := map[publication.Severity]int{}
	for _, finding := range findings {
		counts[finding.Severity]++
	}
	if output == "json" {
		if err := cli.PrintJSON(sys.Stdout, map[string]any{"issuer": url, "findings": findings}); err != nil {
			return err
		}
	} else {
		table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
		for _, finding := range findings {
			fmt.Fprintf(table, "%s\t%s\t%s\n", finding.Severity, finding.Rule, finding.Message)
			if finding.AWS != "" {
				fmt.Fprintf(table, "\t\tSTS says: %s\n", finding.AWS)
			}
			if finding.Fix != "" {
				fmt.Fprintf(table, "\t\tfix: %s\n", finding.Fix)
			}
		}
		if err := table.Flush(); err != nil {
			return fmt.Errorf("print findings: %w", err)
		}
	}
	if counts[publication.Error] > 0 {
		return fault.New(fault.Denied, "%s: %d errors, %d warnings", url, counts[publication.Error], counts[publication.Warning])
	}
	fmt.Fprintf(sys.Stderr, "%s: sound, %d warnings\n", url, counts[publication.Warning])
	return nil
}
