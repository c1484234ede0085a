package issuercmd

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/flags"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/finding/report"
	"github.com/rolecall/rolecall/internal/issuer/accounts"
	"github.com/rolecall/rolecall/internal/issuer/inspect"
	"github.com/rolecall/rolecall/internal/issuer/observe"
	"github.com/rolecall/rolecall/internal/issuer/plan"
	"github.com/rolecall/rolecall/internal/planefile"
	"github.com/rolecall/rolecall/internal/token"
)

// verifyConfig is what `issuer verify` needs.
type verifyConfig struct {
	dir     dirFlag
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
		Short: "Check an issuer as STS does, and say what to fix",
		Long: `Fetch the discovery document and the keys anonymously, and check what STS checks: the
certificate, the issuer byte for byte, each key, the headers; then, with credentials,
the provider in IAM with its audiences and thumbprints; with --kubeconfig, that every
API server signs with a published key; with --token, one token. Each finding names
what STS answers because of it, and its fix.

Exit codes: 0 nothing worse than warnings, 1 tokens are refused, 2 wrong usage.`,
		Example: `  rolecall issuer verify
  rolecall issuer verify --kubeconfig admin.conf --token token.jwt
  rolecall issuer verify --url https://oidc.example.com/prod --without-aws`,
		Args: cli.NoArguments,
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), sys, *output) }
	c.dir.flags(cmd)
	c.cluster.Add(cmd)
	c.read.Add(cmd)
	cmd.Flags().StringVar(&c.url, "url", "", "check this issuer instead of the folder's")
	cmd.Flags().StringArrayVar(&c.audiences, "audience", nil,
		"audience of the tokens; may be repeated (default: those of the folder's providers, or sts.amazonaws.com)")
	cmd.Flags().StringVar(&c.tokenFile, "token", "", "file of a token to check as well")
	cmd.Flags().StringVar(&c.role, "role", "",
		"ARN of a role that tokens are exchanged for: check that its account has a provider (default: the folder's "+
			"probe.roleARN)")
	cmd.Flags().BoolVar(&c.withoutAWS, "without-aws", false, "do not ask IAM")
	output = cli.Output(cmd, report.Formats()...)
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
	view := observe.Look(ctx, reader, spec.URL, servers, plan.ProbeOf(spec), sys.Now)
	seen := inspect.Observation{
		Issuer:    spec.URL,
		Now:       sys.Now(),
		Discovery: view.Discovery,
		JWKS:      view.JWKS,
		Audiences: plan.Audiences(spec),
		RoleARN:   spec.Probe.RoleARN,
	}
	if c.role != "" {
		if _, err := arn.ParseRole(c.role); err != nil {
			return fault.New(fault.Usage, "--role: %w", err)
		}
		seen.RoleARN = c.role
	}
	if len(c.audiences) > 0 {
		seen.Audiences = c.audiences
	}
	for _, asked := range view.Asked {
		seen.Servers = append(seen.Servers, asked.ServerKeys)
	}
	if c.tokenFile != "" {
		if seen.Token, seen.TokenBlanks, err = readToken(c.tokenFile); err != nil {
			return err
		}
	}
	if !c.withoutAWS {
		seen.Providers = accounts.Providers(ctx, spec)
		if target := spec.Publish.S3; target != nil {
			seen.BucketErr, seen.BucketDenied = accounts.CheckBucket(ctx, target, plan.JWKSPath(spec))
		}
	}
	if err := c.rotation(ctx, sys, spec, &seen); err != nil {
		return err
	}
	return printVerdict(sys, output, spec.URL, len(seen.Servers) > 0, inspect.Inspect(seen))
}

// rotation adds what is known of the issuer's keys from inside: by the folder, and by a
// controller in the cluster that was named.
func (c *verifyConfig) rotation(
	ctx context.Context, sys cli.System, spec *v1alpha1.IssuerSpec, seen *inspect.Observation,
) error {
	folder := c.dir.folder()
	if there, err := folder.Load(); err == nil && there.Spec.URL == spec.URL {
		seen.JWKSURI = plan.JWKSURI(&there.Spec)
		state, err := folder.State()
		if err != nil {
			return err
		}
		seen.Rotation, seen.Leaked = state.Named(), state.Leaked
		if seen.Known, err = folder.Known(); err != nil {
			return err
		}
	}
	if c.cluster.Kubeconfig == "" {
		return nil
	}
	objects, err := issuersOf(ctx, c.cluster.Kubeconfig, spec.URL)
	if err != nil {
		seen.RotationErr = err.Error()
		return nil //nolint:nilerr // it is told with what it leaves open
	}
	for i := range objects {
		state := plan.StateOf(&objects[i], sys.Now())
		seen.Rotation = append(seen.Rotation, state.Named()...)
		seen.Leaked = append(seen.Leaked, state.Leaked...)
	}
	return nil
}

func (c *verifyConfig) spec() (*v1alpha1.IssuerSpec, error) {
	if c.url != "" {
		return &v1alpha1.IssuerSpec{URL: c.url}, nil
	}
	object, err := c.dir.load()
	if said, failed := c.dir.plane.Load(); failed == nil && fault.KindOf(err) == fault.NotFound {
		if issuer := said.Get(planefile.TokenIssuer); issuer != "" {
			return &v1alpha1.IssuerSpec{URL: issuer}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &object.Spec, nil
}

// readToken refuses what STS would not call a JWT.
func readToken(file string) (decoded *token.JWT, blanks bool, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, false, fault.New(fault.NotFound, "read the token: %w", err)
	}
	const hint = "want the file that the pod has at AWS_WEB_IDENTITY_TOKEN_FILE"
	if what := inspect.NotToken(string(text)); what != "" {
		return nil, false, fault.New(fault.Invalid, "%s is no token for STS: %s", file, what).Hint(hint)
	}
	if decoded, err = token.Decode(string(bytes.TrimSpace(text))); err != nil {
		return nil, false, fault.New(fault.Invalid, "%s: %w", file, err).Hint(hint)
	}
	return decoded, inspect.Blanks(string(text)), nil
}

func printVerdict(sys cli.System, output, url string, asked bool, findings []finding.Finding) error {
	if findings == nil {
		findings = []finding.Finding{}
	}
	whole := map[string]any{"issuer": url, "findings": findings}
	if err := report.Print(sys.Stdout, output, findings, whole); err != nil {
		return err
	}
	if finding.Failed(findings) {
		return fault.New(fault.Denied, "%s: %s", url, report.Summary(findings))
	}
	if !asked {
		fmt.Fprintf(sys.Stderr, "%s: sound as far as readers see, %s; no API server was asked whose keys they are\n",
			url, report.Summary(findings))
		return nil
	}
	fmt.Fprintf(sys.Stderr, "%s: sound, %s\n", url, report.Summary(findings))
	return nil
}
