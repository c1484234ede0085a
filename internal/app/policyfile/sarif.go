package policyfile

import (
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/owenrumney/go-sarif/v3/pkg/report"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/rolecall/rolecall/internal/policy"
)

// printSARIF writes findings in the form that code hosts show beside a change
// (SARIF 2.1.0).
func printSARIF(w io.Writer, checked []Linted) error {
	run := sarif.NewRunWithInformationURI("rolecall", "https://github.com/rolecall/rolecall")
	for i := range checked {
		for j := range checked[i].Findings {
			addResult(run, &checked[i], &checked[i].Findings[j])
		}
	}
	out := report.NewV210Report()
	out.AddRun(run)
	if err := out.PrettyWrite(w); err != nil {
		return fmt.Errorf("print SARIF: %w", err)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func addResult(run *sarif.Run, document *Linted, f *policy.Finding) {
	rule := run.AddRule(f.Rule)
	level := sarif.LevelWarning
	switch f.Severity {
	case policy.Error:
		level = sarif.LevelError
	case policy.Security:
		rule.WithProperties(sarif.NewPropertyBag().Add("security-severity", "7.0").Add("tags", []string{"security"}))
	case policy.Warning:
	}
	place := sarif.NewArtifactLocation().WithURI(document.File)
	at := sarif.NewRegion().WithStartLine(f.Line).WithStartColumn(f.Column)
	result := run.CreateResultForRule(f.Rule).WithLevel(level).WithMessage(sarif.NewTextMessage(f.Message)).
		AddLocation(sarif.NewLocation().WithPhysicalLocation(sarif.NewPhysicalLocation().WithArtifactLocation(place).WithRegion(at)))
	if fix := f.Suggested; fix != nil && !fix.Manual {
		before := document.Text[:fix.Edit.Start]
		old := document.Text[fix.Edit.Start:fix.Edit.End]
		deleted := sarif.NewRegion().WithCharOffset(utf8.RuneCount(before)).WithCharLength(utf8.RuneCount(old))
		replacement := sarif.NewReplacement().WithDeletedRegion(deleted).WithInsertedContent(sarif.NewArtifactContent().WithText(fix.New))
		change := sarif.NewArtifactChange().WithArtifactLocation(place).AddReplacement(replacement)
		result.AddFixe(sarif.NewFix().WithDescription(sarif.NewTextMessage(fix.Description)).AddArtifactChange(change))
	}
}
