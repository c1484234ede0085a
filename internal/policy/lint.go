package policy

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/finding"
)

// placed is a finding of a linter, with the text it is about.
type placed struct {
	finding.Finding
	at span
}

// LintOptions are facts that are not in a document.
type LintOptions struct {
	// Account is the 12 digits of the account that will own the document; if
	// empty, trust in other accounts is not checked.
	Account string
	// Managed says that an identity-based policy will be a managed one.
	Managed bool
	// Role are facts about the role of a trust policy; nil if nothing is known.
	Role *RoleFacts
}

// Lint reads a document as a kind and returns what is wrong or dangerous in it,
// in the order of the text. It looks further than Parse: all faults, and what AWS
// accepts silently.
func Lint(kind Kind, name string, text []byte, options LintOptions) []finding.Finding {
	if kind == Trust && options.Role == nil {
		options.Role = &RoleFacts{}
	}
	d := &decoder{kind: kind, name: name, text: text, limit: maxParameter, managed: options.Managed}
	l := &linter{options: options, policy: d.decode(), decoder: d, place: newCursor(text), effort: maxEffort, asked: maxAsked}
	for i := range d.violations {
		l.violation(&d.violations[i])
	}
	if l.policy == nil {
		l.policy = &Policy{kind: kind, name: name, text: string(text)}
	} else {
		l.document()
		for i := range l.policy.statements {
			l.sid = l.policy.statements[i].sid
			l.statement(&l.policy.statements[i])
		}
		l.sid = ""
		if kind == Trust {
			l.wholeTrust()
		}
	}
	slices.SortStableFunc(l.findings, func(a, b placed) int {
		return cmp.Or(
			cmp.Compare(a.at.start, b.at.start),
			cmp.Compare(a.Severity.Rank(), b.Severity.Rank()),
			cmp.Compare(a.Rule, b.Rule),
		)
	})
	var findings []finding.Finding
	for i := range l.findings {
		findings = append(findings, l.findings[i].Finding)
	}
	return findings
}

type linter struct {
	options  LintOptions
	policy   *Policy
	decoder  *decoder
	place    *cursor
	sid      string // of the statement that is looked at
	findings []placed
	// effort is what is left of that for strangers; unclear says that it was not
	// enough for some statement.
	effort  int
	unclear bool
	asked   int // what is left of maxAsked
	// matched are the actions that patterns match.
	matched map[string][]*knownAction
}

// add reports a finding and returns it for a suggestion to be added; it is valid
// until the next one.
func (l *linter) add(severity finding.Severity, at span, rule, format string, args ...any) *placed {
	place := l.place.to(at.start)
	l.findings = append(l.findings, placed{at: at, Finding: finding.Finding{
		Severity: severity,
		Code:     codes()[rule],
		Rule:     rule,
		Message:  fmt.Sprintf(format, args...),
		Place:    finding.Place{File: l.decoder.name, Line: place.line, Column: place.column},
		Sid:      l.sid,
	}})
	return &l.findings[len(l.findings)-1]
}

// suggest adds an edit that replaces a span.
func (f *placed) suggest(l *linter, at span, text, format string, args ...any) {
	place := l.place.to(at.start)
	f.Suggested = &finding.Fix{
		Description: fmt.Sprintf(format, args...), Line: place.line, Column: place.column,
		Old: string(l.decoder.text[at.start:at.end]), New: text, Edit: at.replacedBy(text),
	}
}

// violation turns what AWS refuses into a finding.
func (l *linter) violation(v *violation) {
	_, _, message := answer(l.decoder.kind, v)
	f := l.add(finding.Error, v.at, v.rule.id(), "%s", v.detail)
	f.AWS = message
	if v.edit != nil {
		f.suggest(l, span{v.edit.Start, v.edit.End}, v.edit.Text, "write it like this")
	}
}

// id is a rule's stable name.
func (r rule) id() string {
	return [...]string{
		"too-long", "unusual-character", "not-json", "bad-structure", "bad-version", "old-version", "no-statement",
		"no-effect",
		"bad-effect", "effect-case", "bad-value", "legacy-arn", "repeated-sid", "bad-sid", "no-action",
		"action-without-service",
		"action-two-colons", "action-bad-service", "action-not-sts", "no-resource", "resource-not-arn",
		"resource-partition",
		"resource-service", "resource-region", "resource-region", "resource-path", "has-principal",
		"allow-not-principal",
		"no-principal", "empty-principal", "star-principal", "principal-no-object", "principal-empty-list",
		"bad-principal",
		"bad-federated", "has-resource", "has-resource", "no-cognito-audience", "shared-issuer",
		"control-policy-grammar",
		"control-policy-grammar",
	}[r]
}

// document checks what does not belong to a single statement.
func (l *linter) document() {
	l.version()
	l.size()
	l.spaces()
	l.statementPairs()
	if l.policy.kind != Resource && l.policy.kind != Endpoint {
		if root, _, err := readNodes(l.decoder.text); err == nil {
			for _, m := range root.members {
				if m.name == "Id" {
					l.add(finding.Warning, m.at, "id", "IAM ignores Id in this kind of policy")
				}
			}
		}
	}
}

func (l *linter) version() {
	at := span{0, 1}
	if l.policy.version == currentVersion ||
		slices.ContainsFunc(
			l.decoder.violations,
			func(v violation) bool { return v.rule == badVersion || v.rule == oldVersion },
		) {
		return
	}
	if offset := strings.Index(l.policy.text, "${"); offset >= 0 {
		l.add(
			finding.Error,
			span{offset, offset + 2},
			"variable-in-old-version",
			"without \"Version\": %q a ${…} is literal text and does not match what is meant",
			currentVersion,
		)
		return
	}
	if l.policy.version == "" {
		l.add(
			finding.Warning,
			at,
			"no-version",
			"without \"Version\" the document is of version %s, in which variables do not work; write %q",
			oldestVersion,
			currentVersion,
		)
		return
	}
	l.add(finding.Warning, at, "old-version", "version %s has no variables; write %q", oldestVersion, currentVersion)
}

// quota is the size of a stored document of a kind in characters, and whether
// white space counts (spec iam-policy §1.4). Trust policies can be given more.
func quota(kind Kind) (limit int, blanks bool, adjustable int) {
	switch kind {
	case Identity, Boundary:
		return 6144, false, 10240 // managed; inline of a role
	case Session:
		return 2048, true, 2048
	case Trust:
		return 2048, false, 2048
	case SCP, RCP:
		return 5120, true, 5120
	case Resource, Endpoint:
	}
	return 20480, true, 20480
}

func (l *linter) size() {
	limit, blanks, adjustable := quota(l.policy.kind)
	if raised := l.facts().Quota; raised > 0 && l.policy.kind == Trust {
		limit, adjustable = raised, raised
	}
	size := Size(l.policy.text)
	if blanks {
		size = len([]rune(l.policy.text))
	}
	switch {
	case size > adjustable:
		f := l.add(finding.Error, span{0, 1}, "over-quota", "the document has %d characters, the limit is %d", size, adjustable)
		if l.policy.kind == Trust {
			l.suggestShorter(f, adjustable)
		}
	case size > limit:
		l.add(finding.Warning, span{0, 1}, "over-quota", "the document has %d characters, the usual limit is %d",
			size, limit)
	case size > limit*9/10:
		l.add(finding.Warning, span{0, 1}, "near-quota", "the document has %d characters, the limit is %d", size, limit)
	}
}

// spaces reports characters that pass IAM's check but look like others.
func (l *linter) spaces() {
	for offset, char := range l.policy.text {
		if char == '\u00a0' {
			l.add(finding.Error, span{offset, offset + 2}, "unusual-character", "U+00A0 (NO-BREAK SPACE) is not a space").
				suggest(l, span{offset, offset + 2}, " ", "write a space")
		}
	}
}

// statementPairs finds statements that another one repeats or covers: each is reported
// once, with the first that makes it superfluous.
func (l *linter) statementPairs() {
	for j := range l.policy.statements {
		b := &l.policy.statements[j]
		for i := range l.policy.statements {
			a := &l.policy.statements[i]
			if i == j || !a.covers(b) {
				continue
			}
			same := b.covers(a)
			if same && i > j {
				continue // the later of two that say the same is superfluous
			}
			l.sid = b.sid
			rule, verb := "covered-statement", "covers"
			if same {
				rule, verb = "duplicate-statement", "says the same as"
			}
			l.add(finding.Warning, b.at, rule, "statement %d %s this one", i+1, verb)
			break // once is enough of each
		}
	}
	l.sid = ""
}

// covers reports whether a applies wherever b does. It may say no for a yes.
func (a *statement) covers(b *statement) bool {
	if a.allow != b.allow || a.action.not || b.action.not || len(b.action.patterns) == 0 ||
		!a.principal.same(b.principal) {
		return false
	}
	if len(a.conditions) > 0 && !sameConditions(a.conditions, b.conditions) {
		return false
	}
	if (a.resource == nil) != (b.resource == nil) || (a.resource != nil && (a.resource.not || b.resource.not)) {
		return false
	}
	for i := range b.action.patterns {
		if !slices.ContainsFunc(a.action.patterns, func(p actionPattern) bool { return p.covers(&b.action.patterns[i]) }) {
			return false
		}
	}
	if a.resource == nil {
		return true
	}
	for i := range b.resource.patterns {
		if !slices.ContainsFunc(a.resource.patterns, func(p resourcePattern) bool {
			return p.covers(&b.resource.patterns[i])
		}) {
			return false
		}
	}
	return len(b.resource.patterns) > 0
}

// covers reports whether p matches every action that other does. It may say no for a
// yes.
func (p *actionPattern) covers(other *actionPattern) bool {
	switch {
	case p.all || other.all:
		return p.all
	case p.prefix != other.prefix:
		return false
	}
	return opsCover(p.name.ops, other.name.ops, true)
}

// covers reports whether p matches every resource that other does. It may say no for a
// yes. Patterns are compared as they match, part by part: *b has one part, which no ARN
// begins with.
func (p *resourcePattern) covers(other *resourcePattern) bool {
	if p.all || p.whole.source == other.whole.source {
		return true
	}
	if len(p.parts) != 6 || len(other.parts) != 6 {
		return false
	}
	for i := range p.parts {
		if !opsCover(p.parts[i], other.parts[i], i >= 1 && i <= 3) {
			return false
		}
	}
	return true
}

// opsCover reports whether a matches every text that b does, which is certain if a
// matches b with its wildcards as characters: a run is matched by a run, one character
// by a ? or a run. It may say no for a yes.
func opsCover(a, b []op, folded bool) bool {
	row := make([]bool, len(b)+1) // whether a's first steps match b's first j
	row[0] = true
	for _, wide := range a {
		diagonal := row[0] // of the row before
		row[0] = row[0] && wide == anyRun
		for j, narrow := range b {
			above := row[j+1]
			var one bool
			switch {
			case wide == anyOne: // a letter beyond ASCII has several bytes
				one = narrow == anyOne || narrow < 0x80
			case wide < anyRun && narrow < anyRun:
				one = wide == narrow || (folded && equalFoldedOp(wide, byte(narrow)))
			}
			row[j+1] = (one && diagonal) || (wide == anyRun && (above || row[j] || diagonal))
			diagonal = above
		}
	}
	return row[len(b)]
}

func (s *principalSet) same(other *principalSet) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.not == other.not &&
		slices.EqualFunc(
			s.entries,
			other.entries,
			func(a, b principalEntry) bool { return a.key == b.key && a.text == b.text },
		)
}

func sameConditions(a, b []condition) bool {
	return slices.EqualFunc(a, b, func(x, y condition) bool {
		return x.op == y.op && x.folded == y.folded &&
			slices.EqualFunc(x.values, y.values, func(v, w pattern) bool { return v.source == w.source })
	})
}

//go:embed services.txt
var servicesText string

// services are the prefixes of actions that AWS's own policies use.
var services = sync.OnceValue(func() []string { return strings.Fields(servicesText) })
