package auditchain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/auditchain"
	"github.com/rolecall/rolecall/internal/finding"
)

// sealed are n records of the chain whose start consists of the given byte.
func sealed(name byte, count int) []string {
	chain := auditchain.NewChain([auditchain.StartBytes]byte{name})
	var lines []string
	for i := range count {
		lines = append(lines, string(chain.Seal([]byte(fmt.Sprintf(`{"decision":"issued","pod":"%c-%d"}`, name, i+1)))))
	}
	return lines
}

func verify(t *testing.T, lines ...string) *auditchain.Report {
	t.Helper()
	report, err := auditchain.Verify(strings.NewReader(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestSeal: the form never changes, since other programs read it too.
func TestSeal(t *testing.T) {
	t.Parallel()
	want := []string{
		`{"decision":"issued","pod":"a-1","chain":"61000000000000000000000000000000","seq":1,` +
			`"previous":"61000000000000000000000000000000","hash":"` + firstHash + `"}`,
		`{"decision":"issued","pod":"a-2","chain":"61000000000000000000000000000000","seq":2,` +
			`"previous":"` + firstHash + `","hash":"` + secondHash + `"}`,
	}
	if diff := cmp.Diff(want, sealed('a', 2)); diff != "" {
		t.Errorf("sealed records (-want +got):\n%s", diff)
	}
	record := []byte(`{"a":1}          `)[:7]
	auditchain.NewChain([auditchain.StartBytes]byte{}).Seal(record)
	if after := string(record[:10]); after != `{"a":1}   ` {
		t.Errorf("Seal writes into its argument: %q", after)
	}
}

// Computed by sha256sum of the previous hash and the record.
const (
	firstHash  = "4f6e5314373511fd9fca89b11bf27996f0bb8e91e3c2d5d325570f9809ccf3e0"
	secondHash = "ef6b4e0fade4ce9708675e54e9467002e445491b50a325d00f3506f4e83e84fb"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	a, b := sealed('a', 5), sealed('b', 3)
	edited := func(i int, old, with string) []string {
		lines := slices.Clone(a)
		if lines[i] = strings.Replace(lines[i], old, with, 1); lines[i] == a[i] {
			t.Fatalf("%s is not in %s", old, a[i])
		}
		return lines
	}
	// another has the text of the third changed and its own hash computed again, as by
	// somebody who knows how.
	forged := slices.Clone(a)
	forger := auditchain.NewChain([auditchain.StartBytes]byte{'a'})
	for i, text := range []string{
		`{"decision":"issued","pod":"a-1"}`, `{"decision":"issued","pod":"a-2"}`,
		`{"decision":"refused","pod":"a-3"}`,
	} {
		forged[i] = string(forger.Seal([]byte(text)))
	}
	for _, row := range []struct {
		name  string
		lines []string
		want  string // line, rule and words of each finding
	}{
		{"one chain", a, ""},
		{"one record", a[:1], ""},
		{"two, one after the other", append(slices.Clone(a), b...), ""},
		{"two, mixed", []string{a[0], b[0], b[1], a[1], a[2], b[2], a[3], a[4]}, ""},
		{"nothing", nil, "1 unchained"}, // an empty line
		{"text changed", edited(1, "issued", "denied"), "2 changed: record 2"},
		{"first changed", edited(0, "issued", "denied"), "1 changed: record 1"},
		{"last changed", edited(4, "issued", "denied"), "5 changed: record 5"},
		{"blank added", edited(1, `"issued",`, `"issued", `), "2 changed"},
		{"a member twice", edited(1, `{"decision"`, `{"decision":"refused","decision"`), "2 changed"},
		{"hash changed", edited(1, `"hash":"`+a[1][len(a[1])-66:len(a[1])-64], `"hash":"zz`), "2 unchained, 3 missing"},
		{"number changed", edited(1, `"seq":2`, `"seq":9`), "2 changed, 3 missing: record 2"},
		{"number with a zero", edited(1, `"seq":2`, `"seq":02`), "2 unchained, 3 missing"},
		{"another chain's name", edited(1, `"chain":"61`, `"chain":"62`), "2 changed, 3 missing"},
		{
			name:  "changed with a new hash",
			lines: forged,
			want:  "4 changed: record 4 of chain 61000000000000000000000000000000 does not follow line 3",
		},
		{"one missing", slices.Delete(slices.Clone(a), 1, 2), "2 missing: record 2"},
		{"two missing", slices.Delete(slices.Clone(a), 1, 3), "2 missing: records 2 to 3"},
		{"the beginning missing", a[2:], "1 missing: records 1 to 2"},
		{"one missing of two chains", []string{a[0], b[0], b[2], a[1]}, "3 missing: record 2 of chain 62"},
		{"two swapped", []string{a[0], a[2], a[1], a[3], a[4]}, "3 reordered: record 2"},
		{"the first last", []string{a[1], a[2], a[0]}, "3 reordered: record 1"},
		{
			name:  "out of a gap's middle",
			lines: []string{a[0], a[4], a[2]},
			want:  "2 missing: record 2, 2 missing: record 4, 3 reordered: record 3",
		},
		{"repeated", []string{a[0], a[1], a[1], a[2]}, "3 repeated: record 2"},
		{"reordered and repeated", []string{a[0], a[2], a[1], a[1]}, "3 reordered, 4 repeated"},
		{"not chained", []string{a[0], `{"decision":"issued"}`, a[1]}, "2 unchained"},
		{"an empty line", []string{a[0], "", a[1]}, "2 unchained"},
		{"cut off", []string{a[0], a[1][:40], a[2]}, "2 unchained, 3 missing"},
		{"carriage return", []string{a[0] + "\r", a[1]}, "1 unchained, 2 missing"},
		{"two on a line", []string{a[0] + a[1]}, "1 unchained"},
		{"JSON no more", []string{strings.Replace(a[0], `"pod"`, `"pod`, 1)}, "1 unchained"},
		{
			name:  "a chain in a text",
			lines: []string{a[0], `{"reason":"` + strings.ReplaceAll(a[1], `"`, `\"`) + `"}`, a[1]},
			want:  "2 unchained",
		},
		{
			name: "begins as if it were first",
			lines: []string{
				string(auditchain.NewChain([auditchain.StartBytes]byte{'a'}).Seal([]byte(`{"x":1}`))),
				a[0],
			},
			want: "2 repeated",
		},
	} {
		var got []string
		for _, f := range verify(t, row.lines...).Findings {
			got = append(got, fmt.Sprintf("%d %s: %s", f.Line, f.Rule, f.Message))
			if f.Severity != finding.Error {
				t.Errorf("%s: %s is %q, want an error", row.name, f.Rule, f.Severity)
			}
		}
		want := strings.Split(row.want, ", ")
		if row.want == "" {
			want = nil
		}
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", row.name, got, want)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: %q, want %q", row.name, got[i], want[i])
			}
		}
	}
}

// TestChains: the last hash is what tells that the end is missing.
func TestChains(t *testing.T) {
	t.Parallel()
	a, b := sealed('a', 3), sealed('b', 2)
	report := verify(t, a[0], b[0], a[1], b[1], a[2])
	want := []*auditchain.Found{
		{Start: "61000000000000000000000000000000", First: 1, Last: 3, Hash: a[2][len(a[2])-66 : len(a[2])-2]},
		{Start: "62000000000000000000000000000000", First: 1, Last: 2, Hash: b[1][len(b[1])-66 : len(b[1])-2]},
	}
	if diff := cmp.Diff(want, report.Chains); diff != "" || report.Lines != 5 {
		t.Errorf("%d lines; chains (-want +got):\n%s", report.Lines, diff)
	}
	if report, err := auditchain.Verify(strings.NewReader("")); err != nil || report.Lines != 0 ||
		len(report.Findings) != 0 {
		t.Errorf("an empty file: %+v %v", report, err)
	}
	if report, err := auditchain.Verify(strings.NewReader(a[0])); err != nil || len(report.Findings) != 0 {
		t.Errorf("without the last line's end: %+v %v", report, err)
	}
}

// TestVerifyEnds: what is kept and reported about a hostile file is bounded.
func TestVerifyEnds(t *testing.T) {
	t.Parallel()
	far := sealed('a', 500)
	var gaps []string
	for i := 0; i < len(far); i += 2 {
		gaps = append(gaps, far[i])
	}
	for name, lines := range map[string][]string{
		"findings": slices.Repeat([]string{
			"x",
		}, 500), "gaps": gaps, "a long line": {strings.Repeat("x", 2<<20), far[0]},
	} {
		report := verify(t, lines...)
		if !report.Cut || len(report.Findings) == 0 || len(report.Findings) > 200 {
			t.Errorf("%s: cut %t after %d findings", name, report.Cut, len(report.Findings))
		}
	}
	broken := errors.New("broken")
	if _, err := auditchain.Verify(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

// FuzzVerify: any change of one line of a good audit is noticed, and nothing
// panics.
func FuzzVerify(f *testing.F) {
	good := sealed('a', 3)
	f.Add([]byte(good[1]))
	f.Add([]byte(good[1] + "\n" + good[2]))
	f.Add([]byte(`{"chain":"61000000000000000000000000000000"`))
	f.Add([]byte(strings.Replace(good[1], `"seq":2`, `"seq":9999999999999999999`, 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole := bytes.Join([][]byte{[]byte(good[0]), text, []byte(good[2])}, []byte("\n"))
		report, err := auditchain.Verify(bytes.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		// The third follows only the second, so only that one may be between.
		if len(report.Findings) == 0 && string(text) != good[1] {
			if !othersOnly(report) || !bytes.Contains(whole, []byte("\n"+good[1]+"\n")) {
				t.Fatalf("accepted: %q", text)
			}
		}
		if _, err := json.Marshal(report); err != nil {
			t.Fatal(err)
		}
	})
}

// othersOnly: the chain of the test is whole.
func othersOnly(report *auditchain.Report) bool {
	first := report.Chains[0]
	return first.First == 1 && first.Last == 3
}
