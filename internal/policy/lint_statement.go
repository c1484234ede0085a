package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
)

// statement checks the elements of one statement.
func (l *linter) statement(s *statement) {
	for i := range s.action.patterns {
		l.action(&s.action.patterns[i])
	}
	l.statementActions(s)
	if s.resource != nil {
		l.resources(s)
	}
	l.passRole(s)
	l.principal(s)
	for i := range s.conditions {
		l.condition(s, &s.conditions[i])
	}
	l.emptyCondition(s)
	l.placeholders(s)
	l.keyNames(s)
	l.powers(s)
	if l.policy.kind == Trust {
		l.trust(s)
	}
}

func (l *linter) action(p *actionPattern) {
	written, trimmed := p.source, trimAction(p.source)
	prefix, name, qualified := strings.Cut(trimmed, ":")
	switch {
	case p.all || !qualified:
		return
	case strings.ContainsAny(trimmed, " \t\n\r"):
		l.add(finding.Warning, p.at, "blank-in-action", "action %q has white space inside and never matches", written)
		return
	case strings.ContainsAny(prefix, "*?"):
		l.add(
			finding.Error,
			p.at,
			"wildcard-in-service",
			"action %q: a wildcard before the colon does not reach across services",
			written,
		)
		return
	}
	if written != trimmed {
		l.add(finding.Warning, p.at, "blank-around-action", "action %q has white space around it", written).
			suggest(l, p.at, jsonText(trimmed), "leave it out")
	}
	folded := lowerText(prefix)
	switch {
	case !slices.Contains(services(), folded):
		f := l.add(finding.Warning, p.at, "unknown-service", "no service has the prefix %q%s", prefix, unfilled(written))
		if near := nearest(folded, services()); near != "" {
			f.Message += "; did you mean " + near + "?"
			f.suggest(l, p.at, jsonText(near+":"+name), "write %s", near)
		}
	case folded != prefix:
		l.add(finding.Warning, p.at, "letter-case", "service prefixes are written in lower case: %s", folded).
			suggest(l, p.at, jsonText(folded+":"+name), "write %s", folded)
	}
}

// nearest finds a text at most two letters away, the first of equals.
func nearest(text string, candidates []string) string {
	best, distance := "", 3
	for _, candidate := range candidates {
		if d := editDistance(text, candidate, 2); d < distance && len(candidate) > 2 {
			best, distance = candidate, d
		}
	}
	return best
}

func (l *linter) resources(s *statement) {
	written := l.policy.text[s.resource.at.start:s.resource.at.end]
	if strings.HasPrefix(written, "[") {
		if offset := nullMember(written); offset >= 0 {
			at := span{s.resource.at.start + offset, s.resource.at.start + offset + len("null")}
			l.add(finding.Warning, at, "null-resource", "AWS ignores null in a list of resources")
		}
	}
	for i := range s.resource.patterns {
		p := &s.resource.patterns[i]
		l.variables(p.at, p.whole.source)
		if s.resource.not &&
			slices.ContainsFunc(p.whole.segments, func(v segment) bool { return v.key != "" && !v.hasDefault }) {
			l.add(
				finding.Warning,
				p.at,
				"not-resource-variable",
				"when the variable in %q has no value, NotResource excludes nothing; give it a default",
				p.whole.source,
			)
		}
		if parts := strings.SplitN(p.whole.source, ":", 6); len(parts) == 6 && !strings.Contains(p.whole.source, "${") {
			if head := strings.Join(parts[1:4], ":"); head != lowerText(head) {
				l.add(finding.Warning, p.at, "letter-case", "partition, service and region are written in lower case").
					suggest(l, p.at, jsonText("arn:"+lowerText(head)+":"+parts[4]+":"+parts[5]), "write them in "+
						"lower case")
			}
		}
	}
}

// nullMember finds a bare null in a list of texts.
func nullMember(list string) int {
	inText := false
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == '\\' && inText:
			i++
		case list[i] == '"':
			inText = !inText
		case !inText && strings.HasPrefix(list[i:], "null"):
			return i
		}
	}
	return -1
}

// variables reports what looks like a variable but is literal text.
func (l *linter) variables(at span, source string) {
	if l.policy.version != currentVersion {
		return
	}
	for i := strings.Index(source, "${"); i >= 0 && i < len(source); {
		_, length, ok := readVariable(source[i:])
		if !ok {
			l.add(
				finding.Error,
				at,
				"malformed-variable",
				"%q has a malformed variable, which AWS treats as plain text: want ${key} or ${key, 'default'}",
				source,
			)
			return
		}
		next := strings.Index(source[i+length:], "${")
		if next < 0 {
			return
		}
		i += length + next
	}
}

func (l *linter) passRole(s *statement) {
	if !s.allow || s.action.not || s.resource == nil || s.resource.not {
		return
	}
	passes := slices.ContainsFunc(
		s.action.patterns,
		func(p actionPattern) bool { return !p.all && p.match(splitAction("iam:PassRole")) },
	)
	for i := range s.resource.patterns {
		if p := &s.resource.patterns[i]; passes && p.all && !s.conditionOn("iam:passedtoservice") {
			l.add(
				finding.Security,
				p.at,
				"pass-role-any",
				"iam:PassRole on every role: the holder can pass any role to a service; name the roles, or add "+
					"iam:PassedToService",
			)
		}
	}
}

// conditionOn reports whether the statement has a condition on one of the
// folded keys.
func (s *statement) conditionOn(keys ...string) bool {
	return slices.ContainsFunc(s.conditions, func(c condition) bool { return slices.Contains(keys, c.folded) })
}

func (l *linter) principal(s *statement) {
	if s.principal == nil {
		return
	}
	if l.policy.kind == Resource && s.principal.at == (span{}) {
		l.add(finding.Warning, s.at, "no-principal", "a statement without Principal matches nobody in a resource's policy")
	}
	if !s.principal.not || l.policy.kind == Trust {
		return
	}
	if s.allow {
		l.add(
			finding.Error,
			s.principal.at,
			"allow-not-principal",
			"Allow with NotPrincipal admits everybody else, the public included",
		)
		return
	}
	l.add(
		finding.Warning,
		s.principal.at,
		"deny-not-principal",
		"Deny with NotPrincipal also denies everybody who is not listed with session, role and account, and "+
			"everybody with a permissions boundary; use \"Principal\": \"*\" and ArnNotEquals aws:PrincipalArn",
	)
}

// placeholders looks for <…> everywhere, and for words in capitals only where
// names of AWS are expected: other values may well be in capitals.
func (l *linter) placeholders(s *statement) {
	var names []span
	if s.principal != nil {
		names = append(names, s.principal.at)
	}
	if s.resource != nil {
		names = append(names, s.resource.at)
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if names = append(names, c.at); isTokenKey(c.folded) || c.op.compare == compareARN {
			names = append(names, c.valuesAt...)
		}
	}
	text := l.policy.text[s.at.start:s.at.end]
	for _, found := range placeholder.FindAllStringIndex(text, -1) {
		at := span{s.at.start + found[0], s.at.start + found[1]}
		within := func(other span) bool { return other.start <= at.start && at.end <= other.end }
		switch {
		case text[found[0]] != '<' && !slices.ContainsFunc(names, within):
		case slices.ContainsFunc(l.decoder.violations, func(v violation) bool { return v.at != s.at && within(v.at) }):
			// Its value is refused already, with the same hint.
		default:
			l.add(finding.Error, at, "placeholder", "the placeholder %s is not filled in", text[found[0]:found[1]])
		}
	}
}
