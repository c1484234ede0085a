package report

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/finding"
)

// What is used of SARIF 2.1.0 is small enough to be written out here; the names
// of the types are the specification's, and a test holds the result to its schema.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool sarifTool `json:"tool"`
		// ColumnKind is what columns count: characters, where SARIF would assume the
		// units of UTF-16.
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string         `json:"id"`
		Name       string         `json:"name,omitempty"`
		HelpURI    string         `json:"helpUri,omitempty"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
		Fixes     []sarifFix      `json:"fixes,omitempty"`
		// Suppressions say why it is not reported.
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		// Properties are the parts of a finding for which SARIF has no place.
		Properties map[string]string `json:"properties,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		PhysicalLocation sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		ArtifactLocation sarifArtifact `json:"artifactLocation"`
		Region           *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndLine     int `json:"endLine,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
	sarifFix struct {
		Description     sarifText     `json:"description"`
		ArtifactChanges []sarifChange `json:"artifactChanges"`
	}
	sarifChange struct {
		ArtifactLocation sarifArtifact      `json:"artifactLocation"`
		Replacements     []sarifReplacement `json:"replacements"`
	}
	sarifReplacement struct {
		DeletedRegion   sarifRegion `json:"deletedRegion"`
		InsertedContent sarifText   `json:"insertedContent"`
	}
)

// rulesPage says what a rule means; each has a heading there.
const rulesPage = "https://github.com/rolecall/rolecall/blob/main/docs/reference/rules.md#"

// sarifOf is one run with all findings.
func sarifOf(findings []finding.Finding) sarifLog {
	run := sarifRun{
		Tool: sarifTool{Driver: sarifDriver{
			Name:           "rolecall",
			InformationURI: "https://github.com/rolecall/rolecall",
			Rules:          []sarifRule{},
		}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	for i := range findings {
		run.add(&findings[i])
	}
	return sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	}
}

func (run *sarifRun) add(f *finding.Finding) {
	rules := &run.Tool.Driver.Rules
	rule := sarifRule{ID: f.Rule}
	if f.Code != "" {
		rule = sarifRule{ID: f.Code, Name: f.Rule, HelpURI: rulesPage + strings.ToLower(f.Code) + "-" + f.Rule}
	}
	index := slices.IndexFunc(*rules, func(r sarifRule) bool { return r.ID == rule.ID })
	if index < 0 {
		index = len(*rules)
		*rules = append(*rules, rule)
	}
	if f.Severity == finding.Security {
		// Code hosts show results of such rules among the security alerts.
		(*rules)[index].Properties = map[string]any{"security-severity": "7.0", "tags": []string{"security"}}
	}
	result := sarifResult{
		RuleID:     rule.ID,
		RuleIndex:  index,
		Level:      levelOf(f.Severity),
		Message:    sarifText{f.Message},
		Properties: propertiesOf(f),
	}
	if f.Suppressed != "" {
		result.Suppressions = []sarifSuppression{{Kind: "external", Justification: f.Suppressed}}
	}
	if f.File != "" {
		artifact := sarifArtifact{uriOf(f.File)}
		physical := sarifPhysical{ArtifactLocation: artifact}
		if f.Line > 0 {
			physical.Region = &sarifRegion{StartLine: f.Line, StartColumn: f.Column}
		}
		result.Locations = []sarifLocation{{physical}}
		if fix := f.Suggested; fix != nil && !fix.Manual {
			replacement := sarifReplacement{DeletedRegion: regionOf(fix), InsertedContent: sarifText{fix.New}}
			result.Fixes = []sarifFix{{
				Description: sarifText{fix.Description},
				ArtifactChanges: []sarifChange{{
					ArtifactLocation: artifact,
					Replacements:     []sarifReplacement{replacement},
				}},
			}}
		}
	}
	run.Results = append(run.Results, result)
}

// levelOf knows three levels; that a finding is about security is told by its rule.
func levelOf(severity finding.Severity) string {
	switch severity {
	case finding.Error:
		return "error"
	case finding.Info:
		return "note"
	case finding.Security, finding.Warning:
	}
	return "warning"
}

func propertiesOf(f *finding.Finding) map[string]string {
	properties := map[string]string{}
	for name, value := range map[string]string{"aws": f.AWS, "fix": f.Advice, "command": f.Command, "sid": f.Sid} {
		if value != "" {
			properties[name] = value
		}
	}
	return properties
}

// uriOf is a relative reference, or a file's URL if the name is absolute.
func uriOf(file string) string {
	reference := url.URL{Path: file}
	if strings.HasPrefix(file, "/") {
		reference.Scheme = "file"
	}
	return reference.String()
}

// regionOf is the text that an edit replaces. Its end is behind the last character.
func regionOf(fix *finding.Fix) sarifRegion {
	region := sarifRegion{StartLine: fix.Line, StartColumn: fix.Column}
	lines := strings.Split(fix.Old, "\n")
	last := utf8.RuneCountInString(lines[len(lines)-1])
	region.EndLine, region.EndColumn = fix.Line+len(lines)-1, last+1
	if len(lines) == 1 {
		region.EndColumn = fix.Column + last
	}
	return region
}
