package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// actionSet is a statement's Action or NotAction.
type actionSet struct {
	not      bool
	at       span
	patterns []actionPattern
}

type actionPattern struct {
	source string
	at     span
	all    bool // "*"
	prefix string
	name   pattern
}

func (d *decoder) actions(n *node, s *statement) {
	element, list := n.either("Action")
	if list == nil {
		d.missing(n, noAction, "Action")
		return
	}
	s.action = actionSet{not: element == "NotAction", at: list.at}
	if list.isEmptyList() {
		d.report(list.at, noAction, "", "%s is an empty list", element)
	}
	for _, item := range d.texts(list, element) {
		d.checkAction(item)
		s.action.patterns = append(s.action.patterns, compileAction(item))
	}
}

var vendor = lazyregexp.New(`^[A-Za-z0-9.-]+$`)

// trimAction leaves out the white space that IAM does not count; other blanks
// are characters.
func trimAction(text string) string { return strings.Trim(text, " \t\r\n") }

func (d *decoder) checkAction(item *node) {
	action := trimAction(item.text)
	prefix, name, qualified := strings.Cut(action, ":")
	switch {
	case d.kind == Trust:
		if !qualified || !strings.EqualFold(prefix, "sts") || strings.Contains(name, ":") {
			d.report(
				item.at,
				actionNotSTS,
				"",
				"action %q: a trust policy may only name sts: actions, such as sts:AssumeRoleWithWebIdentity",
				item.text,
			)
		}
	case action == "*":
	case !qualified:
		d.report(
			item.at,
			actionNoVendor,
			"",
			`action %q: want SERVICE:NAME, such as s3:GetObject, or "*"%s`,
			item.text,
			unfilled(item.text),
		)
	case strings.Contains(name, ":"):
		d.report(item.at, actionTwoColons, "", "action %q has two colons", item.text)
	case !vendor.MatchString(prefix):
		d.report(
			item.at,
			actionBadVendor,
			prefix,
			"action %q: %q is not a service prefix; wildcards stand after the colon%s",
			item.text,
			prefix,
			unfilled(item.text),
		)
	}
}

func compileAction(item *node) actionPattern {
	folded := lowerText(trimAction(item.text))
	if folded == "*" {
		return actionPattern{source: item.text, at: item.at, all: true}
	}
	prefix, name, _ := strings.Cut(folded, ":")
	return actionPattern{source: item.text, at: item.at, prefix: prefix, name: compilePattern(name, true, false)}
}

// action is a request's action, split once. Letter case does not count; it is
// ASCII, so nothing needs to be copied to compare it.
type action struct{ prefix, name string }

func splitAction(text string) action {
	prefix, name, _ := strings.Cut(text, ":")
	return action{prefix, name}
}

func (p *actionPattern) match(a action) bool {
	if p.all {
		return true
	}
	if !equalASCII(p.prefix, a.prefix) {
		return false
	}
	if p.name.literal {
		return equalASCII(p.name.source, a.name)
	}
	return matchOps(p.name.ops, a.name, true)
}

func (s *actionSet) match(a action) bool {
	return slices.ContainsFunc(s.patterns, func(p actionPattern) bool { return p.match(a) }) != s.not
}
