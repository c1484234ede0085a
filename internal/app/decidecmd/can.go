package decidecmd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/finding/report"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/policycase"
)

// NewCan returns the command that decides.
func NewCan(sys cli.System) *cobra.Command {
	var (
		q              question
		cases          []string
		because, quiet bool
		verbose        bool
		output         *string
	)
	cmd := &cobra.Command{
		Use:   "can --principal ARN --action SERVICE:NAME [--resource ARN] [--policy FILE]... | can --cases FILE...",
		Short: "Decide whether policies in files allow a request",
		Long: `Decide whether policies in files allow a request, as AWS would, and say why in a
sentence; "rolecall explain" shows every statement. What was not given is assumed to be
absent, and said to be; with --strict the answer is then Unknown, unless it is the same
either way. "none" in place of a file declares that there is no such policy.

With --cases, decide every case of the files (docs/reference/policy-cases.md) and
print one verdict for each.

Exit codes: 0 allowed, or every expectation holds; 1 denied or unknown, or an
expectation does not hold; 2 wrong usage or a malformed file.`,
		Example: `  rolecall can --principal arn:aws:iam::111122223333:role/app --action s3:PutObject \
    --resource arn:aws:s3:::bucket/key --policy AmazonS3ReadOnlyAccess
  rolecall can --principal arn:aws:iam::111122223333:oidc-provider/oidc.example/id/A1 \
    --action sts:AssumeRoleWithWebIdentity --resource arn:aws:iam::111122223333:role/app \
    --trust trust.json --context oidc.example/id/A1:sub=system:serviceaccount:default:app
  rolecall can --cases cases.json --because`,
		Args: cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			if len(cases) > 0 {
				return canCases(sys, *output, cases, because)
			}
			return q.can(sys, *output, quiet, verbose)
		},
	}
	q.flags(cmd)
	output = cli.Output(cmd, "table", "json")
	cmd.Flags().StringArrayVar(&cases, "cases", nil, "JSON file of cases; may be repeated")
	cli.CompleteFiles(cmd, "cases", "json")
	cmd.Flags().BoolVar(&because, "because", false,
		"with --cases, give every verdict its reason in a sentence, not only those that are not as expected")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing: the exit code is the answer")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list what was assumed, a line each")
	cmd.MarkFlagsMutuallyExclusive("quiet", "output")
	cmd.MarkFlagsMutuallyExclusive("quiet", "verbose")
	cmd.MarkFlagsMutuallyExclusive("quiet", "cases")
	cmd.MarkFlagsMutuallyExclusive("cases", "principal")
	cmd.MarkFlagsMutuallyExclusive("cases", "action")
	return cmd
}

// verdictOf is the short answer to one question.
type verdictOf struct {
	Verdict string `json:"verdict"` // Allowed, ImplicitDeny, ExplicitDeny, Unknown
	Reason  string `json:"reason"`
	Because string `json:"because"`
	Action  string `json:"action"`
	// PartlyDenied is for a resource with wildcards, not all of which is allowed.
	PartlyDenied []policy.PartlyDenied `json:"partlyDenied,omitempty"`
	Assumptions  []policy.Assumption   `json:"assumptions"`
}

// unknown is the verdict under --strict when a fact that was not given matters.
const unknown = "Unknown"

func (q *question) can(sys cli.System, output string, quiet, verbose bool) error {
	explanation, err := q.explain(sys)
	if err != nil {
		return err
	}
	verdict := verdictOf{
		Verdict:      explanation.Decision,
		Reason:       explanation.Reason,
		Because:      explanation.Summary(),
		Action:       explanation.Action,
		PartlyDenied: explanation.PartlyDenied,
		Assumptions:  explanation.Assumptions,
	}
	if q.strict && explanation.Unknown() {
		verdict.Verdict = unknown
	}
	switch {
	case quiet:
	case output == "json":
		if err := cli.PrintJSON(sys.Stdout, verdict); err != nil {
			return err
		}
	default:
		fmt.Fprintf(sys.Stdout, "%s: %s\n", verdict.Verdict, verdict.Because)
		printPartlyDenied(sys.Stdout, verdict.PartlyDenied)
		if verbose || len(verdict.Assumptions) == 1 {
			printAssumptions(sys, verdict.Assumptions)
		} else if len(verdict.Assumptions) > 0 {
			fmt.Fprintf(sys.Stdout, "  assumed: %s\n", inOneLine(verdict.Assumptions))
		}
	}
	return verdictExit(verdict.Verdict)
}

// verdictExit is 0 for allowed and 1 for anything else; the answer is printed
// already.
func verdictExit(verdict string) error {
	if verdict == policy.Allowed.String() {
		return nil
	}
	return &cli.ExitError{Code: 1}
}

// explain decides all actions and explains the worst decision.
func (q *question) explain(sys cli.System) (*policy.Explanation, error) {
	request, policies, err := q.read(sys.Stdin)
	if err != nil {
		return nil, err
	}
	return policy.ExplainAll(request, q.actions, policies), nil
}

func printPartlyDenied(w io.Writer, parts []policy.PartlyDenied) {
	for _, p := range parts {
		fmt.Fprintf(w, "  denied for part of it: line %d of %s %s names %s\n", p.Line, p.Source, p.Document, p.Pattern)
	}
}

// inOneLine names the policies that were not read, and counts what else was not given.
func inOneLine(assumptions []policy.Assumption) string {
	var absent []string
	others, matters := 0, false
	for _, a := range assumptions {
		matters = matters || a.Matters
		name, isPolicy := strings.CutSuffix(a.Fact, " was not read")
		if !isPolicy {
			others++
			continue
		}
		absent = append(absent, strings.TrimPrefix(name, "the "))
	}
	text := ""
	if len(absent) > 0 {
		text = "no " + strings.Join(absent, ", no ")
	}
	switch {
	case others > 0 && text != "":
		text += fmt.Sprintf(", and %d more", others)
	case others > 0:
		text = fmt.Sprintf("%d facts that were not given", others)
	}
	if matters {
		text += "; the answer may differ otherwise"
	}
	return text + " (-v lists them)"
}

func printAssumptions(sys cli.System, assumptions []policy.Assumption) {
	for _, a := range assumptions {
		matters := ""
		if a.Matters {
			matters = "; the answer may differ otherwise"
		}
		fmt.Fprintf(sys.Stdout, "  assumed: %s, taken: %s%s\n", a.Fact, a.Taken, matters)
	}
}

func canCases(sys cli.System, output string, files []string, because bool) error {
	verdicts, err := decideCases(files, because)
	if err != nil {
		return err
	}
	return printVerdicts(sys, output, verdicts)
}

// decideCases answers nothing unless all files can be read.
func decideCases(files []string, because bool) ([]policycase.Verdict, error) {
	var all []*policycase.Case
	starts := make([]int, 0, len(files)) // of each file's cases in all
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.Usage, "read cases: %w", err)
		}
		cases, err := policycase.Parse(text)
		if err != nil {
			return nil, fault.New(fault.Usage, "%s: %w", file, err).
				Hint("docs/reference/policy-cases.md describes the form")
		}
		starts = append(starts, len(all))
		all = append(all, cases...)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Usage, "there are no cases in %s", strings.Join(files, ", ")).
			Hint("docs/reference/policy-cases.md describes the form")
	}
	decider := policycase.Decider{Explain: because}
	verdicts := make([]policycase.Verdict, len(all))
	for i := range all {
		if verdicts[i] = decider.Decide(all[i]); verdicts[i].Effect == policycase.Invalid {
			file, _ := slices.BinarySearch(starts, i+1)
			verdicts[i].Error = fmt.Sprintf("%s: case %d %q: %s",
				files[file-1], i-starts[file-1]+1, verdicts[i].Name, verdicts[i].Error)
		}
	}
	return verdicts, nil
}

func printVerdicts(sys cli.System, output string, verdicts []policycase.Verdict) error {
	failed, invalid, first := 0, 0, ""
	for i := range verdicts {
		switch v := &verdicts[i]; {
		case v.Effect == policycase.Invalid:
			if invalid++; first == "" {
				first = v.Error
			}
		case !v.Holds:
			failed++
		}
	}
	if output == "json" {
		report := map[string]any{"verdicts": verdicts, "failed": failed, "invalid": invalid}
		if err := cli.PrintJSON(sys.Stdout, report); err != nil {
			return err
		}
	} else if err := printVerdictTable(sys, verdicts); err != nil {
		return err
	}
	switch {
	case invalid > 0:
		return fault.New(fault.Usage, "%d of %s cannot be decided, first %s", invalid, report.Count(len(verdicts), "case"), first).
			Hint("docs/reference/policy-cases.md describes the form")
	case failed > 0:
		return fault.New(fault.Denied, "%s not as expected", report.Of(failed, len(verdicts), "case"))
	}
	return nil
}

func printVerdictTable(sys cli.System, verdicts []policycase.Verdict) error {
	out := bufio.NewWriter(sys.Stdout) // a tabwriter writes cell by cell
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range verdicts {
		v := &verdicts[i]
		mark, because := "ok", v.Because
		switch {
		case v.Effect == policycase.Invalid:
			mark, because = "INVALID", v.Error
		case !v.Holds:
			mark = "WRONG, want " + v.Expect
		case because == "":
			because = v.Reason
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Effect, mark, v.Name, because)
	}
	if err := errors.Join(table.Flush(), out.Flush()); err != nil {
		return fmt.Errorf("print verdicts: %w", err)
	}
	return nil
}
