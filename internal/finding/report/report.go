// Package report prints findings: a table for people, JSON for programs, SARIF 2.1.0 for code hosts.
//
// It is the only printer of findings, whatever was checked. It decides nothing: what is found, and which exit code
// follows, is for others.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
)

// The formats.
const (
	Table = "table"
	JSON  = "json"
	SARIF = "sarif"
)

// Formats returns the values of --output, the default first.
func Formats() []string { return []string{Table, JSON, SARIF} }

// Print writes findings in a format. whole is the object in which a program reads
// them: JSON prints it, and it holds the findings.
func Print(w io.Writer, format string, findings []finding.Finding, whole any) error {
	var err error
	switch format {
	case JSON:
		err = encode(w, whole)
	case SARIF:
		err = encode(w, sarifOf(findings))
	default:
		_, err = io.WriteString(w, tableOf(findings))
	}
	if err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	return nil
}

// encode writes JSON: indented, without escaping what HTML would need.
func encode(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// Summary counts findings by severity, worst first, such as "1 error, 2 warnings".
// What is only worth knowing is not counted; what is suppressed is counted by itself.
func Summary(findings []finding.Finding) string {
	counts, suppressed := map[finding.Severity]int{}, 0
	for i := range findings {
		if findings[i].Suppressed != "" {
			suppressed++
			continue
		}
		counts[findings[i].Severity]++
	}
	var parts []string
	for _, kind := range []struct {
		severity finding.Severity
		noun     string
	}{{finding.Error, "error"}, {finding.Security, "security finding"}, {finding.Warning, "warning"}} {
		if count := counts[kind.severity]; count > 0 {
			parts = append(parts, Count(count, kind.noun))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing found")
	}
	if suppressed > 0 {
		parts = append(parts, fmt.Sprintf("%d suppressed", suppressed))
	}
	return strings.Join(parts, ", ")
}

// Count is a number with its noun, such as "1 error" or "2 errors".
func Count(count int, noun string) string {
	if count == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", count, noun)
}

// Of is a part of things that are counted, with the verb that goes with it, such as
// "1 of 3 files is" or "2 of 3 files are".
func Of(part, whole int, noun string) string {
	verb := "are"
	if part == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d of %s %s", part, Count(whole, noun), verb)
}
