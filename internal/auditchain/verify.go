package auditchain

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

const (
	// maxLine is the longest line that is read, in bytes. Records have a few
	// thousand.
	maxLine = 1 << 20
	// maxFindings ends the reading: a file with that much wrong is not an audit log.
	maxFindings = 100
)

// The rules, by which findings are called.
const (
	Unchained = "unchained" // not a record with a chain, or not as it was written
	Changed   = "changed"   // its hash is not its own, or it does not follow the one before
	Missing   = "missing"   // records before this line
	Reordered = "reordered" // it stands behind a later record of its chain
	Repeated  = "repeated"  // its chain has a record of this number already
)

// Found is a chain as it stands in a file.
type Found struct {
	// Start names it.
	Start string `json:"chain"`
	// First and Last are numbers of records; Hash is that of Last.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Hash  string `json:"hash"`
}

// Report is what was found.
type Report struct {
	Lines int `json:"lines"`
	// Chains are in the order in which they begin.
	Chains []*Found `json:"chains"`
	// Findings are in the order of lines, all of them errors. Their places have no file.
	Findings []finding.Finding `json:"findings"`
	// Cut says that reading ended early, at too many findings or a line that is
	// too long.
	Cut bool `json:"cut,omitempty"`
}

// tail are the members that Seal adds.
var tail = lazyregexp.New(`^(.*,"chain":"([0-9a-f]{32})","seq":([1-9][0-9]{0,18}),` +
	`"previous":"([0-9a-f]{32}(?:[0-9a-f]{32})?)"),"hash":"([0-9a-f]{64})"}$`)

// Verify reads lines of one chain or several, which may be mixed: those of
// replicas, and of a process and the next. It compares each line with its own
// hash, and each chain with itself from its first record on; a file that begins
// later, as one does that was rotated, misses the records before. An error is
// one of reading.
func Verify(lines io.Reader) (*Report, error) {
	v := &verifier{chains: map[string]*chain{}, report: &Report{Chains: []*Found{}, Findings: []finding.Finding{}}}
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(make([]byte, 0, 64<<10), maxLine)
	scanner.Split(splitLines)
	for !v.report.Cut && scanner.Scan() {
		v.report.Lines++
		v.line(scanner.Bytes())
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		v.report.Lines++
		v.found(Unchained, "the line is longer than %d bytes", maxLine)
		v.report.Cut = true
	case err != nil:
		return nil, err
	}
	v.missing()
	return v.report, nil
}

// splitLines keeps a carriage return, since none was written.
func splitLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

type verifier struct {
	report *Report
	chains map[string]*chain
	gaps   int // of all chains, ever
}

// chain is one chain, and where in the file it is.
type chain struct {
	*Found
	line int // of the last record in order
	gaps []gap
}

// gap are records that were not there when a later one was.
type gap struct {
	first, last uint64
	line        int // of the one behind it
}

func (v *verifier) found(rule, format string, args ...any) {
	v.at(v.report.Lines, rule, format, args...)
}

func (v *verifier) at(line int, rule, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, finding.Finding{
		Severity: finding.Error,
		Rule:     rule,
		Message:  fmt.Sprintf(format, args...),
		Place:    finding.Place{Line: line},
	})
	v.report.Cut = v.report.Cut || len(v.report.Findings) >= maxFindings
}

func (v *verifier) line(text []byte) {
	members := tail.FindSubmatch(text)
	if members == nil || !json.Valid(text) {
		v.found(Unchained, "the line is not a chained record as it was written")
		return
	}
	start, previous, own := string(members[2]), string(members[4]), string(members[5])
	seq, _ := strconv.ParseUint(string(members[3]), 10, 64) // 19 digits always fit
	c := v.chains[start]
	switch {
	case hash(previous, append(slices.Clone(members[1]), '}')) != own:
		v.found(Changed, "record %d of chain %s was changed: its hash does not match its text", seq, start)
	case (seq == 1) != (previous == start):
		v.found(Changed, "record %d of chain %s does not begin as the first record of a chain does", seq, start)
	default:
		v.follow(c, start, seq, previous, own)
		return
	}
	// What it says of itself cannot be believed, but if it is in the place of the
	// next record, that one is not reported as missing too.
	if c != nil && seq == c.Last+1 || c == nil && seq == 1 {
		v.follow(c, start, seq, "", "")
	}
}

// follow puts a record behind those of its chain. own is empty if its text cannot
// be relied on.
func (v *verifier) follow(c *chain, start string, seq uint64, previous, own string) {
	if c == nil {
		c = &chain{Found: &Found{Start: start, First: seq}}
		v.chains[start], v.report.Chains = c, append(v.report.Chains, c.Found)
	}
	switch next := c.Last + 1; {
	case seq < next:
		v.behind(c, seq)
		return
	case seq > next:
		c.gaps = append(c.gaps, gap{next, seq - 1, v.report.Lines})
		v.gaps++ // memory stays bounded, and not only the report
		v.report.Cut = v.report.Cut || v.gaps >= maxFindings
	case own != "" && c.Hash != "" && previous != c.Hash:
		v.found(Changed, "record %d of chain %s does not follow line %d: one of the two was changed",
			seq, c.Start, c.line)
	}
	c.Last, c.Hash, c.line = seq, own, v.report.Lines
}

// behind is a record that should have come earlier: it fills a gap, or is a
// repetition.
func (v *verifier) behind(c *chain, seq uint64) {
	c.First = min(c.First, seq)
	for i, g := range c.gaps {
		if seq < g.first || seq > g.last {
			continue
		}
		rest := []gap{{g.first, seq - 1, g.line}, {seq + 1, g.last, g.line}}
		rest = slices.DeleteFunc(rest, func(g gap) bool { return g.first > g.last })
		c.gaps = slices.Replace(c.gaps, i, i+1, rest...)
		v.found(Reordered, "record %d of chain %s comes after a later one, that of line %d", seq, c.Start, g.line)
		return
	}
	v.found(Repeated, "record %d of chain %s is already in the file", seq, c.Start)
}

// missing reports the gaps that nothing filled, in the order of lines.
func (v *verifier) missing() {
	for _, found := range v.report.Chains {
		for _, g := range v.chains[found.Start].gaps {
			what := fmt.Sprintf("records %d to %d of chain %s are missing before this line",
				g.first, g.last, found.Start)
			if g.first == g.last {
				what = fmt.Sprintf("record %d of chain %s is missing before this line", g.first, found.Start)
			}
			v.at(g.line, Missing, "%s", what)
		}
	}
	slices.SortStableFunc(v.report.Findings, func(a, b finding.Finding) int { return a.Line - b.Line })
}
