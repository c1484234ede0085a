package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Parse reads, checks and compiles a document of a kind. The name stands for it
// in errors and explanations. Every error is a *SyntaxError; nothing that the
// engine would not evaluate exactly is accepted.
func Parse(kind Kind, name string, text []byte) (*Policy, error) {
	d := &decoder{kind: kind, name: name, text: text}
	if err := d.checkText(); err != nil {
		return nil, err
	}
	root, at, err := readNodes(text)
	if err != nil {
		return nil, d.failAt(*at, notJSON, "", "not valid JSON: %v", err)
	}
	statements, err := d.document(root)
	if err != nil {
		return nil, err
	}
	return &Policy{kind: kind, name: name, text: string(text), statements: statements}, nil
}

// Size counts a document's characters without white space, as IAM's quotas do.
func Size(text string) int {
	count := utf8.RuneCountInString(text)
	for _, blank := range " \t\r\n" {
		count -= strings.Count(text, string(blank))
	}
	return count
}

type decoder struct {
	kind    Kind
	name    string
	text    []byte
	version string // as written, empty if absent
}

func (d *decoder) fail(offset int, r rule, value, format string, args ...any) error {
	return d.failAt(positionOf(d.text, offset), r, value, format, args...)
}

func (d *decoder) failAt(at position, r rule, value, format string, args ...any) error {
	return &SyntaxError{
		Name: d.name, Code: malformed, Message: wording(d.kind, r, value),
		Detail: fmt.Sprintf(format, args...), Line: at.line, Column: at.column,
	}
}

// typographic are characters that come with text copied from web pages.
var typographic = map[rune]string{
	'\u2010': "a typographic hyphen, write -", '\u2011': "a non-breaking hyphen, write -", '\u2012': "a figure dash, write -",
	'\u2013': "an en dash, write -", '\u2014': "an em dash, write -", '\u2212': "a minus sign, write -",
	'\u2018': "a curly quote, write '", '\u2019': "a curly quote, write '", '\u201c': `a curly quote, write "`, '\u201d': `a curly quote, write "`,
	'\u00a0': "a no-break space, write a space", '\u2028': "a line separator, write a line end", '\ufeff': "a byte-order mark, remove it",
}

// checkText is spec iam-policy §1.3 and §1.4: length and character set.
func (d *decoder) checkText() error {
	field := "policyDocument"
	if d.kind == Trust {
		field = "assumeRolePolicyDocument"
	}
	if len(d.text) > maxDocument {
		return &SyntaxError{
			Name: d.name, Code: "ValidationError", Line: 1, Column: 1,
			Message: fmt.Sprintf("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", field, maxDocument),
			Detail:  fmt.Sprintf("the document has %d bytes, at most %d are read", len(d.text), maxDocument),
		}
	}
	for offset, char := range string(d.text) {
		name, isTypographic := typographic[char]
		allowed := char == '\t' || char == '\n' || char == '\r' || (char >= ' ' && char <= '\u00ff' && char != utf8.RuneError)
		if allowed && !isTypographic {
			continue
		}
		if name == "" {
			name = "not a character a policy may contain"
		}
		at := positionOf(d.text, offset)
		return &SyntaxError{
			Name: d.name, Code: "ValidationError", Line: at.line, Column: at.column,
			Message: "The specified value for " + field + " is invalid. It must contain only printable ASCII characters.",
			Detail:  fmt.Sprintf("%U is %s", char, name),
		}
	}
	return nil
}

func (d *decoder) document(root *node) ([]statement, error) {
	if root.kind != objectNode {
		return nil, d.fail(root.offset, badStructure, "", "a policy is an object, not %s", root.kindName())
	}
	if err := d.closed(root, "the document", "Version", "Id", "Statement"); err != nil {
		return nil, err
	}
	if err := d.readVersion(root); err != nil {
		return nil, err
	}
	if id := root.find("Id"); id != nil && id.kind != stringNode {
		return nil, d.fail(id.offset, badStructure, "", "Id must be a text")
	}
	list := root.find("Statement")
	if list == nil {
		return nil, d.fail(root.offset, noStatement, "", "there is no Statement")
	}
	items := []*node{list}
	if list.kind == arrayNode {
		items = list.items
	}
	if len(items) == 0 {
		return nil, d.fail(list.offset, noStatement, "", "the Statement list is empty")
	}
	statements := make([]statement, 0, len(items))
	var sids []string
	for _, item := range items {
		compiled, err := d.statement(item)
		if err != nil {
			return nil, err
		}
		if compiled.sid != "" && slices.Contains(sids, compiled.sid) {
			return nil, d.fail(item.offset, repeatedSid, "", "Sid %q is used twice", compiled.sid)
		}
		sids = append(sids, compiled.sid)
		statements = append(statements, *compiled)
	}
	return statements, nil
}

func (d *decoder) readVersion(root *node) error {
	version := root.find("Version")
	if version == nil {
		return nil
	}
	if version.kind != stringNode || (version.text != "2012-10-17" && version.text != "2008-10-17") {
		return d.fail(version.offset, badVersion, "", `Version must be "2012-10-17" (or the old "2008-10-17"), not %s %q`, version.kindName(), version.text)
	}
	d.version = version.text
	return nil
}

var statementElements = []string{"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}

func (d *decoder) statement(n *node) (*statement, error) {
	if n.kind != objectNode {
		return nil, d.fail(n.offset, badStructure, "", "a statement is an object, not %s", n.kindName())
	}
	if err := d.closed(n, "a statement", statementElements...); err != nil {
		return nil, err
	}
	for _, pair := range [][2]string{{"Principal", "NotPrincipal"}, {"Action", "NotAction"}, {"Resource", "NotResource"}} {
		if second := n.find(pair[1]); second != nil && n.find(pair[0]) != nil {
			return nil, d.fail(second.offset, badStructure, "", "a statement has either %s or %s, not both", pair[0], pair[1])
		}
	}
	s := &statement{at: positionOf(d.text, n.offset)}
	for _, read := range []func(*node, *statement) error{d.effect, d.sid, d.principals, d.actions, d.resources, d.condition} {
		if err := read(n, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// closed refuses unknown, misspelt and repeated members.
func (d *decoder) closed(n *node, where string, names ...string) error {
	seen := map[string]bool{}
	for _, m := range n.members {
		if !slices.Contains(names, m.name) {
			for _, name := range names {
				if strings.EqualFold(name, m.name) {
					return d.fail(m.offset, badStructure, "", "%q must be written %q: element names are case-sensitive", m.name, name)
				}
			}
			return d.fail(m.offset, badStructure, "", "%s has no element %q; it may have %s", where, m.name, strings.Join(names, ", "))
		}
		if seen[m.name] {
			return d.fail(m.offset, badStructure, "", "%q stands twice in %s", m.name, where)
		}
		seen[m.name] = true
	}
	return nil
}

func (d *decoder) effect(n *node, s *statement) error {
	effect := n.find("Effect")
	switch {
	case effect == nil:
		return d.fail(n.offset, noEffect, "", "the statement has no Effect")
	case effect.kind != stringNode:
		return d.fail(effect.offset, badStructure, "", "Effect must be a text")
	case effect.text == "Allow" || effect.text == "Deny":
		s.allow = effect.text == "Allow"
		return nil
	case strings.EqualFold(effect.text, "Allow") || strings.EqualFold(effect.text, "Deny"):
		return d.fail(effect.offset, effectCase, effect.text, "Effect %q: must be written Allow or Deny", effect.text)
	}
	return d.fail(effect.offset, badEffect, effect.text, "Effect %q: must be Allow or Deny", effect.text)
}

var alphanumeric = regexp.MustCompile(`^[0-9A-Za-z]*$`)

func (d *decoder) sid(n *node, s *statement) error {
	sid := n.find("Sid")
	if sid == nil {
		return nil
	}
	if sid.kind != stringNode {
		return d.fail(sid.offset, badStructure, "", "Sid must be a text")
	}
	if d.kind != Resource && !alphanumeric.MatchString(sid.text) {
		return d.fail(sid.offset, badSid, "", "Sid %q: only letters and digits are allowed", sid.text)
	}
	s.sid = sid.text
	return nil
}

// texts reads a text or a list of texts; one and a list of one are the same.
func (d *decoder) texts(n *node, element string) ([]*node, error) {
	items := []*node{n}
	if n.kind == arrayNode {
		items = n.items
	}
	for _, item := range items {
		if item.kind != stringNode {
			return nil, d.fail(item.offset, badStructure, "", "%s must be a text or a list of texts, here is %s", element, item.kindName())
		}
	}
	return items, nil
}

func (d *decoder) actions(n *node, s *statement) error {
	element := "Action"
	list := n.find(element)
	if list == nil {
		element = "NotAction"
		list = n.find(element)
	}
	if list == nil {
		return d.fail(n.offset, noAction, "", "the statement has no Action")
	}
	items, err := d.texts(list, element)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return d.fail(list.offset, noAction, "", "%s is an empty list", element)
	}
	s.action.not = element == "NotAction"
	for _, item := range items {
		if err := d.checkAction(item); err != nil {
			return err
		}
		s.action.patterns = append(s.action.patterns, compileAction(item.text))
	}
	return nil
}

var vendor = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)

func (d *decoder) checkAction(item *node) error {
	action := strings.TrimSpace(item.text)
	prefix, name, qualified := strings.Cut(action, ":")
	switch {
	case d.kind == Trust:
		if !qualified || !strings.EqualFold(prefix, "sts") || strings.Contains(name, ":") {
			return d.fail(item.offset, actionNotSTS, "", "action %q: a trust policy may only name sts: actions, such as sts:AssumeRoleWithWebIdentity", item.text)
		}
	case action == "*" && d.kind != RCP:
	case !qualified:
		return d.fail(item.offset, actionNoVendor, "", `action %q: want SERVICE:NAME, such as s3:GetObject, or "*"`, item.text)
	case strings.Contains(name, ":"):
		return d.fail(item.offset, actionTwoColons, "", "action %q has two colons", item.text)
	case !vendor.MatchString(prefix):
		return d.fail(item.offset, actionBadVendor, prefix, "action %q: %q is no service prefix; wildcards stand after the colon", item.text, prefix)
	}
	return nil
}

func (d *decoder) resources(n *node, s *statement) error {
	element := "Resource"
	list := n.find(element)
	if list == nil {
		element = "NotResource"
		list = n.find(element)
	}
	if d.kind == Trust {
		switch {
		case list == nil:
			return nil
		case element == "Resource":
			return d.fail(list.offset, hasResource, "", "a trust policy has no Resource: it is the role itself")
		}
		return d.fail(list.offset, hasNotResource, "", "a trust policy has no NotResource")
	}
	if list == nil {
		return d.fail(n.offset, noResource, "", "the statement has no Resource")
	}
	items, err := d.texts(list, element)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return d.fail(list.offset, noResource, "", "%s is an empty list", element)
	}
	s.resource = &resourceSet{not: element == "NotResource"}
	for _, item := range items {
		if err := d.checkResource(item); err != nil {
			return err
		}
		s.resource.patterns = append(s.resource.patterns, compileResource(item.text, d.kind, d.hasVariables()))
	}
	return nil
}

var partitions = []string{"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc", "*"}

func (d *decoder) checkResource(item *node) error {
	text := item.text
	if text == "*" || strings.HasPrefix(text, "${") || d.kind == Resource {
		return nil
	}
	parts := strings.Split(text, ":")
	switch {
	case len(parts) < 2 || parts[0] != "arn":
		return d.fail(item.offset, resourceNotARN, text, `resource %q: want an ARN or "*"`, text)
	case strings.Contains(parts[1], "${"):
		return nil
	case !slices.Contains(partitions, strings.ToLower(parts[1])):
		return d.fail(item.offset, resourcePartition, parts[1], "resource %q: %q is no partition, want aws, aws-cn, …", text, parts[1])
	case len(parts) == 2:
		return d.fail(item.offset, resourceVendor, "", "resource %q ends after the partition", text)
	}
	return nil
}

// hasVariables reports whether ${…} means something: only in version 2012-10-17
// (spec iam-policy §1.3).
func (d *decoder) hasVariables() bool { return d.version == "2012-10-17" }
