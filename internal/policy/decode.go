package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Parse reads, checks and compiles a document of a kind. The name stands for it
// in errors and explanations. Every error is a *SyntaxError: of several faults
// the one that AWS would answer. It accepts nothing that the engine would not
// evaluate exactly.
func Parse(kind Kind, name string, text []byte) (*Policy, error) {
	return parse(&decoder{kind: kind, name: name, text: text})
}

// ParseParameter is Parse for a document that comes with a call that stores it:
// such calls bound its length (spec iam-policy §1.4).
func ParseParameter(kind Kind, name string, text []byte) (*Policy, error) {
	return parse(&decoder{kind: kind, name: name, text: text, limit: maxParameter})
}

// ParseManaged is ParseParameter for the identity-based policy of CreatePolicy
// and CreatePolicyVersion, which must be of version 2012-10-17.
func ParseManaged(name string, text []byte) (*Policy, error) {
	return parse(&decoder{kind: Identity, name: name, text: text, limit: maxParameter, managed: true})
}

func parse(d *decoder) (*Policy, error) {
	p := d.decode()
	if first := d.first(); first != nil {
		return nil, d.syntaxError(first)
	}
	return p, nil
}

// Size counts a document's characters without white space, as IAM's quotas do.
func Size(text string) int {
	count := utf8.RuneCountInString(text)
	for _, blank := range " \t\r\n" {
		count -= strings.Count(text, string(blank))
	}
	return count
}

// decoder collects all faults of a document: AWS answers one of them, lint shows
// them all.
type decoder struct {
	kind       Kind
	managed    bool // stored by CreatePolicy
	limit      int  // characters of a stored document; 0 for one that is only evaluated
	name       string
	text       []byte
	version    string // as written, empty if absent
	violations []violation
}

// violation is one fault.
type violation struct {
	rule   rule
	at     span
	value  string // for AWS's text
	detail string
	edit   *finding.Edit
}

func (d *decoder) report(at span, r rule, value, format string, args ...any) {
	d.violations = append(d.violations, violation{rule: r, at: at, value: value, detail: fmt.Sprintf(format, args...)})
}

// fix gives the last reported fault a suggested edit.
func (d *decoder) fix(start, end int, text string) {
	d.violations[len(d.violations)-1].edit = &finding.Edit{Start: start, End: end, Text: text}
}

// first is the fault that AWS answers.
func (d *decoder) first() *violation {
	var first *violation
	best := 0
	for i := range d.violations {
		if d.violations[i].rule == resourceControlGrammar && d.limit == 0 {
			continue // to be evaluated, not stored
		}
		if rank, _, _ := answer(d.kind, &d.violations[i]); first == nil || rank < best {
			first, best = &d.violations[i], rank
		}
	}
	return first
}

func (d *decoder) syntaxError(v *violation) *SyntaxError {
	_, code, message := answer(d.kind, v)
	at := positionOf(d.text, v.at.start)
	return &SyntaxError{Name: d.name, Code: code, Message: message, Detail: v.detail, Line: at.line, Column: at.column}
}

// decode returns what could be compiled; nil if nothing could.
func (d *decoder) decode() *Policy {
	if size := utf8.RuneCount(d.text); d.limit > 0 && size > d.limit {
		d.report(span{}, tooLong, "", "the document has %d characters, at most %d are stored", size, d.limit)
		return nil
	}
	if len(d.text) > maxDocument {
		d.report(span{}, tooLong, "", "the document has %d bytes, at most %d are read", len(d.text), maxDocument)
		return nil
	}
	d.checkCharacters()
	root, at, err := readNodes(d.text)
	if err != nil {
		d.report(span{at, at}, notJSON, "", "not valid JSON: %v%s", err, d.unusualNear(at))
		return nil
	}
	p := &Policy{kind: d.kind, name: d.name, text: string(d.text)}
	d.document(root, p)
	return p
}

func (d *decoder) document(root *node, p *Policy) {
	if root.kind != objectNode {
		d.report(root.at, badStructure, "", "a policy is an object, not %s", root.kindName())
		return
	}
	d.closed(root, "the document", "Version", "Id", "Statement")
	d.readVersion(root)
	p.version = d.version
	if id := root.find("Id"); id != nil && id.kind != stringNode {
		d.report(id.at, badStructure, "", "Id must be a string")
	}
	list := root.find("Statement")
	if list == nil {
		d.missing(root, noStatement, "Statement")
		return
	}
	items := []*node{list}
	if list.kind == arrayNode {
		items = list.items
	}
	if len(items) == 0 {
		d.report(list.at, noStatement, "", "the Statement list is empty")
	}
	p.statements = make([]statement, 0, len(items))
	sids := map[string]bool{}
	for _, item := range items {
		if item.kind != objectNode {
			d.report(item.at, badStructure, "", "a statement is an object, not %s", item.kindName())
			continue
		}
		s := d.statement(item)
		if s.sid != "" && sids[s.sid] {
			d.report(item.find("Sid").at, repeatedSid, "", "Sid %q is used twice", s.sid)
		}
		sids[s.sid] = true
		p.statements = append(p.statements, *s)
	}
	if d.kind == Trust {
		d.checkSharedIssuers(p)
	}
}

const (
	currentVersion = "2012-10-17"
	oldestVersion  = "2008-10-17"
)

func (d *decoder) readVersion(root *node) {
	version := root.find("Version")
	switch {
	case version == nil:
		if d.managed {
			d.report(root.at, oldVersion, "", `a managed policy must say "Version": %q`, currentVersion)
		}
	case version.kind != stringNode || (version.text != currentVersion && version.text != oldestVersion):
		if plain, unusual := plainText(version.text, strings.NewReplacer()); unusual && plain == currentVersion {
			d.version = currentVersion
			if !isASCIIText(d.text[version.at.start:version.at.end]) {
				return // reported with its characters
			}
		}
		d.report(version.at, badVersion, "", "Version must be %q (or the old %q), not %s %+q", currentVersion, oldestVersion, version.kindName(), version.text)
		d.fix(version.at.start, version.at.end, `"`+currentVersion+`"`)
	default:
		d.version = version.text
		if d.managed && d.version == oldestVersion {
			d.report(version.at, oldVersion, "", "a managed policy must be of version %q", currentVersion)
		}
	}
}

// hasVariables reports whether ${…} means something: only in version 2012-10-17
// (spec iam-policy §1.3).
func (d *decoder) hasVariables() bool { return d.version == currentVersion }

var statementElements = []string{
	"Sid",
	"Effect",
	"Principal",
	"NotPrincipal",
	"Action",
	"NotAction",
	"Resource",
	"NotResource",
	"Condition",
}

func (d *decoder) statement(n *node) *statement {
	s := &statement{at: n.at}
	d.closed(n, "a statement", statementElements...)
	for _, pair := range [][2]string{
		{"Principal", "NotPrincipal"},
		{"Action", "NotAction"},
		{"Resource", "NotResource"},
	} {
		if second := n.find(pair[1]); second != nil && n.find(pair[0]) != nil {
			d.report(second.at, badStructure, "", "a statement has either %s or %s, not both", pair[0], pair[1])
		}
	}
	d.effect(n, s)
	d.sid(n, s)
	d.principals(n, s)
	d.actions(n, s)
	d.resources(n, s)
	d.condition(n, s)
	if d.kind == RCP {
		d.resourceControl(n, s)
	}
	return s
}

// closed reports unknown, misspelt and repeated members.
func (d *decoder) closed(n *node, where string, names ...string) {
	seen := map[string]bool{}
	for _, m := range n.members {
		switch {
		case !slices.Contains(names, m.name):
			d.unknownMember(&m, where, names)
		case seen[m.name]:
			d.report(m.at, badStructure, "", "%q is repeated in %s", m.name, where)
		}
		seen[m.name] = true
	}
}

func (d *decoder) unknownMember(m *member, where string, names []string) {
	for _, name := range names {
		if strings.EqualFold(name, m.name) {
			d.report(m.at, badStructure, "", "%q must be written %q: element names are case-sensitive", m.name, name)
			d.fix(m.at.start, m.at.end, `"`+name+`"`)
			return
		}
	}
	d.report(m.at, badStructure, "", "%s has no element %q; it may have %s", where, m.name, strings.Join(names, ", "))
}

func (d *decoder) effect(n *node, s *statement) {
	effect := n.find("Effect")
	switch {
	case effect == nil:
		d.missing(n, noEffect, "Effect")
	case effect.kind != stringNode:
		d.report(effect.at, badStructure, "", "Effect must be a string")
	case effect.text == "Allow" || effect.text == "Deny":
		s.allow = effect.text == "Allow"
	case strings.EqualFold(effect.text, "Allow") || strings.EqualFold(effect.text, "Deny"):
		proper := "Allow"
		if strings.EqualFold(effect.text, "Deny") {
			proper = "Deny"
		}
		s.allow = proper == "Allow"
		d.report(effect.at, effectCase, effect.text, "Effect %q: must be written %s", effect.text, proper)
		d.fix(effect.at.start, effect.at.end, `"`+proper+`"`)
	default:
		d.report(effect.at, badEffect, effect.text, "Effect %q: must be Allow or Deny", effect.text)
	}
}

var alphanumeric = lazyregexp.New(`^[0-9A-Za-z]*$`)

func (d *decoder) sid(n *node, s *statement) {
	sid := n.find("Sid")
	switch {
	case sid == nil:
	case sid.kind != stringNode:
		d.report(sid.at, badStructure, "", "Sid must be a string")
	default:
		s.sid = sid.text
		if d.kind != Resource && d.kind != Endpoint && !alphanumeric.MatchString(sid.text) {
			d.report(sid.at, badSid, "", "Sid %q: only letters and digits are allowed", sid.text)
		}
	}
}

// texts reads a string or a list of strings; one string and a list of one are
// the same. Items of another type are reported and left out.
func (d *decoder) texts(n *node, element string) []*node {
	items := []*node{n}
	if n.kind == arrayNode {
		items = n.items
	}
	texts := make([]*node, 0, len(items))
	for _, item := range items {
		switch {
		case item.kind == stringNode:
			texts = append(texts, item)
		case item.kind == nullNode && n.kind == arrayNode && element == "Resource":
			// AWS lets it pass and ignores it (spec iam-policy §1.2).
		default:
			d.report(
				item.at,
				badStructure,
				"",
				"%s must be a string or a list of strings, not %s",
				element,
				item.kindName(),
			)
		}
	}
	return texts
}

// either returns the element or its Not form, and which of the two is there.
func (n *node) either(element string) (name string, value *node) {
	if value = n.find(element); value != nil {
		return element, value
	}
	return "Not" + element, n.find("Not" + element)
}

// isEmptyList tells [] from a list whose items were left out.
func (n *node) isEmptyList() bool { return n.kind == arrayNode && len(n.items) == 0 }

// missing reports an element that is missing, or is written in different letter
// case.
func (d *decoder) missing(n *node, r rule, element string) {
	for _, m := range n.members {
		if m.name != element && strings.EqualFold(m.name, element) {
			d.report(
				m.at,
				r,
				"",
				"%s is missing: %q must be written %q, element names are case-sensitive",
				element,
				m.name,
				element,
			)
			return
		}
	}
	d.report(n.at, r, "", "%s is missing", element)
}

// placeholder finds what a template left to be filled in: <REGION>, $ACCOUNT,
// CLUSTER_ID, and the usual words in capitals.
var placeholder = lazyregexp.New(
	`<[A-Za-z][A-Za-z0-9 ` +
		`_.-]*>|\$[A-Z][A-Z_]+|\b[A-Z]+(?:_[A-Z]+)+\b|\b(?:REGION|NAMESPACE|ACCOUNT|CLUSTER|BUCKET|ACCOUNTID)\b`,
)

// unfilled says so, for the end of a message.
func unfilled(text string) string {
	if found := placeholder.FindString(text); found != "" {
		return "; the placeholder " + found + " is not filled in"
	}
	return ""
}
