package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/finding/report"
)

var update = flag.Bool("update", false, "write the golden files")

// everything has each field of a finding at least once, and what is hard to print.
var everything = []finding.Finding{
	{
		Severity: finding.Error,
		Rule:     "unusual-character",
		Message:  `U+2013 (EN DASH): write "2012-10-17"`,
		AWS:      "The policy failed legacy parsing",
		Place:    finding.Place{File: "trust policy.json", Line: 1, Column: 17},
		Suggested: &finding.Fix{
			Description: "write it so",
			Line:        1,
			Column:      12,
			Old:         `"2012–10–17"`,
			New:         `"2012-10-17"`,
			Edit:        finding.Edit{Start: 11, End: 27, Text: `"2012-10-17"`},
		},
	},
	{
		Severity: finding.Security,
		Code:     "RC2005",
		Rule:     "web-identity-without-sub",
		Message:  "every workload of the issuer may assume the role",
		Place:    finding.Place{File: "roles/α.json", Line: 12, Column: 3},
		Sid:      "Pods",
		Suggested: &finding.Fix{
			Description: "name the service account",
			Line:        12,
			Column:      5,
			Old:         "{\n    \"a\": \"é\"}",
			New:         "{\n    \"a\": \"é\",\n    \"b\": \"c\"}",
			Edit:        finding.Edit{Start: 100, End: 114, Text: "{\n    \"a\": \"é\",\n    \"b\": \"c\"}"},
		},
	},
	{
		Severity:   finding.Warning,
		Suppressed: "old documents of ours",
		Code:       "RC5001",
		Rule:       "no-version",
		Message:    "without Version variables do not work",
		Place:      finding.Place{File: "roles/α.json", Line: 1, Column: 1},
		Suggested: &finding.Fix{
			Description: "add it",
			Line:        1,
			Column:      2,
			New:         `"Version": "2012-10-17", `,
			Edit:        finding.Edit{Start: 1, End: 1, Text: `"Version": "2012-10-17", `},
			Manual:      true,
		},
	},
	{
		Severity: finding.Error,
		Rule:     "provider-in-another-account",
		Message:  "the role's account has no such provider",
		Place:    finding.Place{File: "/etc/trust.json", Line: 7},
		Command:  "aws iam create-open-id-connect-provider --url https://oidc.example.com/prod",
	},
	{
		Severity: finding.Warning,
		Rule:     "jwks-cache",
		Message:  "two lines,\nand what a terminal\x1b[2J\twould do",
		Place:    finding.Place{File: "keys\x1b\n.json"},
		Advice:   "rolecall issuer publish,\nthen wait",
	},
	{
		Severity: finding.Info,
		Rule:     "servers-not-read",
		Message:  "no API server was asked",
		Advice:   "add --kubeconfig <FILE>",
	},
	{
		Severity: finding.Warning,
		Rule:     "web-identity-without-sub",
		Message:  "twice a rule",
		Place:    finding.Place{Line: 3, Column: 4},
	},
}

func printed(t *testing.T, format string, findings []finding.Finding) string {
	t.Helper()
	var out bytes.Buffer
	whole := map[string]any{"of": "<all>", "findings": findings}
	if err := report.Print(&out, format, findings, whole); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestPrint compares each format with what was read once by a person.
func TestPrint(t *testing.T) {
	t.Parallel()
	for _, format := range report.Formats() {
		for name, findings := range map[string][]finding.Finding{
			"everything": everything,
			"places":     everything[1:3],
			"no-places":  everything[5:6],
			"nothing":    {},
		} {
			got := printed(t, format, findings)
			file := filepath.Join("testdata", name+"."+format)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s as %s (-want +got):\n%s", name, format, diff)
			}
		}
	}
}

// TestSARIF: what is printed obeys the schema of SARIF 2.1.0, and has no member
// that the schema does not know.
func TestSARIF(t *testing.T) {
	t.Parallel()
	for name, findings := range map[string][]finding.Finding{"everything": everything, "nothing": nil} {
		text := printed(t, report.SARIF, findings)
		if err := valid(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSARIFNotices: a check that accepts anything would prove nothing.
func TestSARIFNotices(t *testing.T) {
	t.Parallel()
	text := printed(t, report.SARIF, everything)
	for _, row := range []struct{ old, new string }{
		{`"2.1.0"`, `"2.1.1"`},
		{`"level": "note"`, `"level": "info"`},
		{`"columnKind"`, `"columnkinds"`},
		{`"startLine": 12,`, `"startLine": 0,`},
		{`"ruleIndex": 0`, `"ruleIndex": -2`},
		{`"artifactLocation"`, `"artifact"`},
		{`"driver"`, `"drivers"`},
		{`"text"`, `"markup"`},
	} {
		spoilt := strings.ReplaceAll(text, row.old, row.new)
		if spoilt == text {
			t.Errorf("%s is not printed", row.old)
		}
		if valid(spoilt) == nil {
			t.Errorf("%s for %s is not noticed", row.new, row.old)
		}
	}
}

// valid reads a log, with no member that is not SARIF's, and holds it to the schema.
func valid(text string) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&sarif.Report{}); err != nil {
		return err
	}
	log, err := sarif.FromString(text)
	if err != nil {
		return err
	}
	for _, run := range log.Runs {
		// What a log leaves out is written by the reader as empty; these are the defaults.
		run.Language, run.Tool.Driver.Language = "en-US", "en-US"
		run.NewlineSequences = []string{"\r\n", "\n"}
	}
	return log.Validate()
}

// TestSARIFEdits: the region that an edit replaces is the text that it says.
func TestSARIFEdits(t *testing.T) {
	t.Parallel()
	const document = "{\"a\": 1,\n \"ü\": [1,\n  2], \"b\": 𝟏}\n"
	for _, old := range []string{`{"a"`, `"ü"`, "[1,\n  2]", "", "𝟏}", "1,\n \"ü\": [1,\n"} {
		start := strings.Index(document, old)
		before := document[:start]
		line := strings.Count(before, "\n") + 1
		column := len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
		text := printed(t, report.SARIF, []finding.Finding{{
			Severity:  finding.Error,
			Rule:      "r",
			Place:     finding.Place{File: "f"},
			Suggested: &finding.Fix{Line: line, Column: column, Old: old, New: "new"},
		}})
		var log sarif.Report
		if err := json.Unmarshal([]byte(text), &log); err != nil {
			t.Fatal(err)
		}
		region := log.Runs[0].Results[0].Fixes[0].ArtifactChanges[0].Replacements[0].DeletedRegion
		from := offset(document, *region.StartLine, *region.StartColumn)
		if to := offset(document, *region.EndLine, *region.EndColumn); from != start || document[from:to] != old {
			t.Errorf("%q: the region is %q", old, document[from:to])
		}
	}
}

// offset is where a line's column is in a text.
func offset(text string, line, column int) int {
	lines := strings.SplitAfter(text, "\n")
	at := len(strings.Join(lines[:line-1], ""))
	return at + len(string([]rune(lines[line-1])[:column-1]))
}

func TestSummary(t *testing.T) {
	t.Parallel()
	of := func(severities ...finding.Severity) []finding.Finding {
		var findings []finding.Finding
		for _, severity := range severities {
			findings = append(findings, finding.Finding{Severity: severity})
		}
		return findings
	}
	for _, row := range []struct {
		findings []finding.Finding
		want     string
	}{
		{nil, "nothing found"},
		{of(finding.Info), "nothing found"},
		{of(finding.Error), "1 error"},
		{of(finding.Warning, finding.Error, finding.Warning), "1 error, 2 warnings"},
		{of(finding.Security), "1 security finding"},
		{
			of(finding.Warning, finding.Security, finding.Error, finding.Security, finding.Error),
			"2 errors, 2 security findings, 1 warning",
		},
	} {
		if got := report.Summary(row.findings); got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
	for count, want := range map[int]string{0: "0 documents", 1: "1 document", 2: "2 documents", 21: "21 documents"} {
		if got := report.Count(count, "document"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestOf: a part of one thing, and of several, has its verb.
func TestOf(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		part, whole int
		want        string
	}{{1, 1, "1 of 1 file is"}, {1, 3, "1 of 3 files is"}, {2, 3, "2 of 3 files are"}, {0, 2, "0 of 2 files are"}} {
		if got := report.Of(row.part, row.whole, "file"); got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
}

// full is a disk without room.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

func TestPrintFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("no space left")
	for _, format := range report.Formats() {
		if err := report.Print(full{broken}, format, everything, everything); !errors.Is(err, broken) {
			t.Errorf("%s: %v", format, err)
		}
	}
}
