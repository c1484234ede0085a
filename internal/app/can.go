package app

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/policycase"
)

func newCan(sys System) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "can --cases FILE...",
		Short: "Decide requests against policies, from files of cases",
		Long: `Decide every case of the files (docs/reference/policy-cases.md) and print one
verdict each. Exits 0 when every expectation holds, 1 when one does not, 2 when a
file is malformed.`,
		Args: noArguments,
	}
	var output *string
	cmd.RunE = func(*cobra.Command, []string) error {
		if len(files) == 0 {
			return fault.New(fault.Usage, "no cases given").Hint("add --cases FILE")
		}
		verdicts, err := decideCases(files)
		if err != nil {
			return err
		}
		return printVerdicts(sys, *output, verdicts)
	}
	cmd.Flags().StringArrayVar(&files, "cases", nil, "a JSON file of cases; may be repeated")
	output = outputFlag(cmd, "table", "json")
	return cmd
}

// decideCases answers nothing unless all files can be read.
func decideCases(files []string) ([]policycase.Verdict, error) {
	var verdicts []policycase.Verdict
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.Usage, "read cases: %w", err)
		}
		cases, err := policycase.Parse(text)
		if err != nil {
			return nil, malformedCases(file, err)
		}
		for i := range cases {
			verdict, err := cases[i].Decide()
			if err != nil {
				return nil, malformedCases(file, fmt.Errorf("case %d %q: %w", i+1, cases[i].Name, err))
			}
			verdicts = append(verdicts, verdict)
		}
	}
	return verdicts, nil
}

func malformedCases(file string, err error) error {
	return fault.New(fault.Usage, "%s: %w", file, err).Hint("docs/reference/policy-cases.md describes the form")
}

func printVerdicts(sys System, output string, verdicts []policycase.Verdict) error {
	failed := 0
	for i := range verdicts {
		if !verdicts[i].Holds {
			failed++
		}
	}
	if output == "json" {
		encoder := json.NewEncoder(sys.Stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(map[string]any{"verdicts": verdicts, "failed": failed}); err != nil {
			return fmt.Errorf("print verdicts: %w", err)
		}
	} else {
		table := tabwriter.NewWriter(sys.Stdout, 0, 0, 2, ' ', 0)
		for _, v := range verdicts {
			mark := "ok"
			if !v.Holds {
				mark = "WRONG, want " + v.Expect
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Effect, mark, v.Name, v.Because)
		}
		if err := table.Flush(); err != nil {
			return fmt.Errorf("print verdicts: %w", err)
		}
	}
	if failed > 0 {
		return fault.New(fault.Denied, "%d of %d cases are not as expected", failed, len(verdicts))
	}
	return nil
}
