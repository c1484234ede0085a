package decidecmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/app/cli"
	"github.com/rolecall/rolecall/internal/policy"
)

// NewExplain returns the command that shows how a decision is made.
func NewExplain(sys cli.System) *cobra.Command {
	var (
		q      question
		output *string
	)
	cmd := &cobra.Command{
		Use:   "explain --principal ARN --action SERVICE:NAME [--resource ARN] [--policy FILE]...",
		Short: "Show how policies in files decide a request, statement by statement",
		Long: `Decide a request as "rolecall can" does, and show what had to allow it, every statement
with wanted and got side by side, an edit for each statement that fails in one element
only, and what was assumed. -o json is for programs.

Exit codes are those of "rolecall can".`,
		Example: `  rolecall explain --principal arn:aws:iam::111122223333:role/app --action s3:PutObject \
    --resource arn:aws:s3:::bucket/key --policy AmazonS3ReadOnlyAccess
  rolecall explain -o json --principal pods.eks.amazonaws.com --action sts:AssumeRole \
    --resource arn:aws:iam::111122223333:role/app --trust trust.json --tag team=red`,
		Args: cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			explanation, err := q.explain(sys)
			if err != nil {
				return err
			}
			verdict := explanation.Decision
			if q.strict && explanation.Unknown() {
				verdict = unknown
			}
			if *output == "json" {
				if err := cli.PrintJSON(sys.Stdout, explanation); err != nil {
					return err
				}
			} else {
				printExplanation(sys.Stdout, explanation, verdict)
				printAssumptions(sys, explanation.Assumptions)
			}
			return verdictExit(verdict)
		},
	}
	q.flags(cmd)
	output = cli.Output(cmd, "text", "json")
	return cmd
}

func printExplanation(w io.Writer, e *policy.Explanation, verdict string) {
	fmt.Fprintf(w, "%s (%s): %s\n", verdict, e.Reason, e.Summary())
	principal := strings.Join(nonEmpty(e.Principal.Kind, e.Principal.ARN, e.Principal.RoleARN), " ")
	fmt.Fprintf(w, "\n  action     %s\n  resource   %s\n  principal  %s\n", e.Action, e.Resource, principal)
	relation := "another account's"
	if e.SameAccount {
		relation = "the caller's account's"
	}
	fmt.Fprintf(w, "  owner      %s\n", relation)
	printPartlyDenied(w, e.PartlyDenied)
	if len(e.Needed) > 0 {
		fmt.Fprintln(w, "\nhad to allow:")
		for _, need := range e.Needed {
			fmt.Fprintf(w, "  %-9s %s%s\n", need.Source, need.Got, strength(need))
		}
	}
	for i := range e.Documents {
		document := &e.Documents[i]
		fmt.Fprintf(w, "\n%s %s:\n", document.Source, document.Name)
		for j := range document.Statements {
			printStatement(w, &document.Statements[j])
		}
	}
	printContext(w, e.Context)
	printNearMisses(w, e.NearMisses)
	if len(e.Assumptions) > 0 {
		fmt.Fprintln(w)
	}
}

func nonEmpty(texts ...string) []string {
	var kept []string
	for _, text := range texts {
		if text != "" {
			kept = append(kept, text)
		}
	}
	return kept
}

func strength(need policy.Need) string {
	if need.Strength == "" || need.Strength == "none" {
		return ""
	}
	return ", names the caller: " + need.Strength
}

func printStatement(w io.Writer, s *policy.ExplainedStatement) {
	fmt.Fprintf(w, "  %s %s: %s\n", s.Label(), s.Effect, s.Role)
	if s.Role == "not relevant" && !s.Action.Matched {
		return // another action's statement: its elements say nothing here
	}
	for _, entry := range s.Principal.Entries {
		if entry.Matched != s.Principal.Not != (s.Principal.Match != "none") {
			continue // another entry decides
		}
		printElement(w, entry.Matched != s.Principal.Not, element("Principal", s.Principal.Not), entry.Value,
			s.Principal.Got, entry.Note)
	}
	for _, entry := range s.Action.Entries {
		if entry.Matched != s.Action.Not == s.Action.Matched && (entry.Matched || len(s.Action.Entries) < 8) {
			printElement(w, entry.Matched != s.Action.Not, element("Action", s.Action.Not), entry.Pattern, "", "")
		}
	}
	for _, entry := range s.Resource.Entries {
		if entry.Matched != s.Resource.Not != s.Resource.Matched {
			continue
		}
		note := ""
		if entry.FirstDifferentPart != "" {
			note = fmt.Sprintf("%s: wanted %q, got %q", entry.FirstDifferentPart, entry.Wanted, entry.Got)
		}
		pattern := entry.Pattern
		if entry.Resolved != "" {
			pattern += " = " + entry.Resolved
		}
		printElement(w, entry.Matched != s.Resource.Not, element("Resource", s.Resource.Not), pattern, "", note)
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		got := "absent"
		if c.Present {
			got = quotedList(c.Got)
		}
		wanted := c.Wanted
		if c.Resolved != nil {
			wanted = c.Resolved
		}
		printElement(w, c.Matched, c.Operator, c.Key+" "+quotedList(wanted), got,
			strings.Join(nonEmpty(c.Why, c.Note), ": "))
	}
}

func element(name string, not bool) string {
	if not {
		return "Not" + name
	}
	return name
}

func quotedList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return strings.Join(quoted, ", ")
}

// printElement shows what was wanted, and what was there if it is not the same.
func printElement(w io.Writer, matched bool, name, wanted, got, note string) {
	mark := "✗"
	if matched {
		mark, got = "✓", ""
	}
	fmt.Fprintf(w, "    %s %-9s %s", mark, name, wanted)
	if got != "" {
		fmt.Fprintf(w, "; got %s", got)
	}
	if note != "" && (!matched || note != "equal") {
		fmt.Fprintf(w, " (%s)", note)
	}
	fmt.Fprintln(w)
}

func printContext(w io.Writer, entries []policy.ContextEntry) {
	if len(entries) == 0 {
		return
	}
	fmt.Fprintln(w, "\ncondition keys that the policies name and the request has:")
	for _, entry := range entries {
		fmt.Fprintf(w, "  %s = %s (%s)\n", entry.Key, quotedList(entry.Values), entry.Origin)
	}
}

func printNearMisses(w io.Writer, misses []policy.NearMiss) {
	if len(misses) == 0 {
		return
	}
	fmt.Fprintln(w, "\nnear misses, nearest first:")
	for _, miss := range misses {
		fmt.Fprintf(w, "  %s of %s, its %s: %s\n", miss.Effect, miss.Document, miss.Element, miss.Because)
		if fix := miss.Suggested; fix != nil {
			fmt.Fprintf(w, "    %s: at %d:%d write %s\n", fix.Description, fix.Line, fix.Column, fix.New)
		}
	}
}
