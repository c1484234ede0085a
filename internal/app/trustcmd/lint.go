package trustcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/app/policyfile"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/finding/report"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/token"
	"github.com/rolecall/rolecall/internal/trust"
)

// trustLintConfig is what `trust lint` needs.
type trustLintConfig struct {
	role       roleFlags
	registered []string
	sources    []string
	fix, write bool
	choices    policyfile.Choices
}

func newTrustLint(sys cli.System) *cobra.Command {
	var c trustLintConfig
	cmd := &cobra.Command{
		Use:   "lint FILE|FOLDER...",
		Short: "Find why a trust policy keeps tokens out, or lets in too many, and fix it",
		Long: `Check trust policies as policy lint does, and beyond.
The document is compared with what you know of the role, so that a typing error in an
issuer, an audience or a service account is found and has an edit. FILE may be - for
standard input. FOLDER stands for all files *.json in it and below, except hidden ones.

--fix prints the document with all edits made; each edit and a diff go to standard
error. --write puts it back into the file. Edits that need a decision, or that would let
in too many, are left to you and reported. Where the provider and its condition keys
differ, the well-formed name is taken; where none is, --issuer must say it.

Each finding has a code; --ignore CODE=REASON suppresses those of a rule, which are
still counted.

Exit codes: 0 nothing but warnings, 1 an error or a security finding (see --fail-on),
2 wrong usage.`,
		Example: `  rolecall trust lint trust.json
  rolecall trust lint --account 111122223333 --discovery https://oidc.example.com/prod \
    --audience sts.amazonaws.com --service-account default/s3-reader trust.json
  aws iam get-role --role-name app --query Role.AssumeRolePolicyDocument | rolecall trust lint --fix -`,
		Args: policyfile.Needed,
	}
	var output *string
	cmd.RunE = func(cmd *cobra.Command, files []string) error { return c.run(cmd.Context(), sys, *output, files) }
	c.role.flags(cmd)
	cmd.Flags().StringArrayVar(&c.sources, "source-role-arn", nil,
		"role of pods with Pod Identity whose sessions, with their transitive tags, are to assume this one; may be repeated")
	cmd.Flags().StringArrayVar(&c.registered, "registered-audience", nil,
		"an audience that the provider registers; may be repeated")
	cmd.Flags().BoolVar(&c.fix, "fix", false, "make the suggested edits and print the result")
	cmd.Flags().BoolVarP(&c.write, "write", "w", false, "with --fix, write the result to the files")
	c.choices.Flags(cmd)
	output = cli.Output(cmd, report.Formats()...)
	return cmd
}

func (c *trustLintConfig) run(ctx context.Context, sys cli.System, output string, files []string) error {
	if c.write && !c.fix {
		return fault.New(fault.Usage, "--write needs --fix")
	}
	options, err := c.options(ctx)
	if err != nil {
		return err
	}
	checked, err := policyfile.Lint(sys.Stdin, files, policy.Trust.Source(), *options, &c.choices)
	if err != nil {
		return err
	}
	if c.fix {
		return c.makeEdits(sys, output, checked, *options)
	}
	return policyfile.Report(sys, output, checked, &c.choices)
}

func (c *trustLintConfig) options(ctx context.Context) (*policy.LintOptions, error) {
	issuers, err := c.role.resolve(ctx)
	if err != nil {
		return nil, err
	}
	accounts, err := c.role.accounts()
	if err != nil {
		return nil, err
	}
	if c.role.account != "" {
		if err := arn.CheckAccount(c.role.account); err != nil {
			return nil, fault.New(fault.Usage, "--account %w", err)
		}
	}
	for _, source := range c.sources {
		if _, err := arn.ParseRole(source); err != nil {
			return nil, fault.New(fault.Usage, "--source-role-arn %q: %w", source, err)
		}
	}
	facts := &policy.RoleFacts{
		Partition:  c.role.partition,
		Audience:   c.role.audience,
		Registered: c.registered,
		Clusters:   c.role.clusters,
		Sources:    c.sources,
		Tagged:     c.role.tagged,
		Quota:      c.role.quota,
	}
	for _, issuer := range issuers {
		id := arn.IssuerID(issuer)
		// Other mistakes are found in the document beside it; of this issuer no token comes.
		if token.CheckIssuer("https://"+id) == nil {
			if err := token.CheckTokenIssuer("https://" + id); err != nil {
				return nil, fault.New(fault.Usage, "%w", err).
					Hint("want the tokens' issuer, byte for byte, such as https://oidc.example.com/cluster")
			}
		}
		facts.Issuers = append(facts.Issuers, id)
	}
	for _, one := range accounts {
		if one.IsPattern() {
			return nil, fault.New(fault.Usage, "--service-account %s: name one that must be let in, not a pattern", one)
		}
		facts.Subjects = append(facts.Subjects, one.Subject())
	}
	return &policy.LintOptions{Account: c.role.account, Role: facts}, nil
}

// makeEdits prints or writes the documents as they are after all edits, then what is
// left.
func (c *trustLintConfig) makeEdits(
	sys cli.System, output string, checked []policyfile.Linted, options policy.LintOptions,
) error {
	if output != report.Table {
		return fault.New(fault.Usage, "--fix prints documents: it goes with no other --output")
	}
	for i := range checked {
		one := &checked[i]
		fixed := trust.Fix(one.File, one.Text, options)
		for j := range fixed.Applied {
			f := &fixed.Applied[j]
			fmt.Fprintf(sys.Stderr, "%s: %s: %s: %s\n", one.File, f.Rule, f.Message, f.Suggested.Description)
		}
		if len(fixed.Applied) == 0 {
			fmt.Fprintf(sys.Stderr, "%s: unchanged, %s\n", one.File, whyUnchanged(fixed.Left))
		}
		if text := []byte(fixed.Text); !bytes.Equal(text, one.Text) {
			policyfile.PrintDiff(sys.Stderr, one.Text, text)
			if c.write {
				if one.File == policyfile.StandardInput {
					return fault.New(fault.Usage, "--write needs files, not standard input")
				}
				if err := policyfile.Replace(one.File, text); err != nil {
					return err
				}
			}
			one.Text = text
		}
		if !c.write {
			if _, err := fmt.Fprintln(sys.Stdout, string(bytes.TrimRight(one.Text, "\n"))); err != nil {
				return fmt.Errorf("print policy: %w", err)
			}
		}
		one.Findings = fixed.Left
	}
	aside := sys
	aside.Stdout = sys.Stderr
	left := policyfile.Report(aside, output, checked, &c.choices)
	if refused, ok := errors.AsType[*fault.Error](left); ok && needsIssuer(checked) {
		return refused.Hint("nothing in the document says which issuer is meant: " +
			"add --issuer URL, and --account ID of the role")
	}
	return left
}

// whyUnchanged says why no edit was made.
func whyUnchanged(left []finding.Finding) string {
	none, manual, worse := 0, 0, 0
	for i := range left {
		switch fix := left[i].Suggested; {
		case fix == nil:
			none++
		case fix.Manual:
			manual++
		default:
			worse++
		}
	}
	var reasons []string
	for _, one := range []struct {
		count int
		why   string
	}{
		{none, "no edit is known for %s"},
		{manual, "the edits for %s are yours to decide or to fill in"},
		{worse, "the edits for %s would not help, or would let in too many"},
	} {
		if one.count > 0 {
			reasons = append(reasons, fmt.Sprintf(one.why, report.Count(one.count, "finding")))
		}
	}
	if len(reasons) == 0 {
		return "nothing was found"
	}
	return strings.Join(reasons, "; ")
}

func needsIssuer(checked []policyfile.Linted) bool {
	return slices.ContainsFunc(checked, func(one policyfile.Linted) bool {
		return slices.ContainsFunc(one.Findings, func(f finding.Finding) bool {
			return f.Command == policy.NeedsIssuer
		})
	})
}
