package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
)

// condition checks one key of one operator.
func (l *linter) condition(s *statement, c *condition) {
	l.operatorName(s, c)
	l.values(s, c)
	l.setOperator(s, c)
	l.escapedDeny(s, c)
	l.impossibleKey(s, c)
}

// rename suggests another name for the operator of a condition, unless it would
// stand twice then.
func (l *linter) rename(f *placed, s *statement, c *condition, name, format string, args ...any) {
	if !s.hasOperator(name) {
		f.suggest(l, c.operatorAt, jsonText(name), format, args...)
	}
}

// renameAlone is rename where another name means something else for other keys
// of the operator: so only if there are none.
func (l *linter) renameAlone(f *placed, s *statement, c *condition, name, format string, args ...any) {
	if !slices.ContainsFunc(s.conditions, func(other condition) bool { return other.operatorAt == c.operatorAt && other.at != c.at }) {
		l.rename(f, s, c, name, format, args...)
	}
}

// hasOperator reports whether the Condition has an operator written like this.
func (s *statement) hasOperator(name string) bool {
	return slices.ContainsFunc(s.conditions, func(c condition) bool { return c.operator == name }) ||
		slices.ContainsFunc(s.emptyOperators, func(e emptyOperator) bool { return e.name == name })
}

func (l *linter) operatorName(s *statement, c *condition) {
	if proper := c.op.name(); c.operator != proper {
		f := l.add(finding.Warning, c.operatorAt, "letter-case", "the operator is written %s", proper)
		l.rename(f, s, c, proper, "write %s", proper)
	}
	switch {
	case c.op.compare == compareNull && c.op.set != noSet:
		f := l.add(finding.Warning, c.operatorAt, "set-operator-null", "a set prefix before Null changes nothing")
		l.rename(f, s, c, "Null", "leave it out")
	case c.op.ifExists && c.op.set != noSet:
		op := c.op
		op.ifExists = false
		f := l.add(finding.Warning, c.operatorAt, "if-exists-with-set", "IfExists together with a set prefix changes nothing")
		l.rename(f, s, c, op.name(), "leave it out")
	}
}

func (l *linter) values(s *statement, c *condition) {
	if len(c.values) == 0 {
		l.add(finding.Error, c.at, "empty-list", "%s %s lists no value, so it never holds", c.operator, c.key)
	}
	for i := range c.values {
		at, source := c.valuesAt[i], c.values[i].source
		if !c.op.compare.isTyped() && c.op.compare != compareNull {
			l.variables(at, source)
		}
		if l.policy.kind == Session && c.op.compare != compareBinary {
			if detail := c.wrongForm(i); detail != "" {
				l.add(
					finding.Error,
					at,
					"bad-value",
					"%s; AWS accepts it in a session policy, where a Deny may then apply to everything",
					detail,
				)
			}
		}
		switch {
		case (c.op.compare == compareBool || c.op.compare == compareNull) && !strings.EqualFold(source, "true") &&
			!strings.EqualFold(source, "false") && !strings.Contains(source, "${"):
			l.add(finding.Warning, at, "bool-value", "%q counts as false; write true or false", source).
				suggest(l, at, `"false"`, "write false")
		case (c.op.compare == compareString || c.op.compare == compareFolded) && hasWildcard(source):
			like := c.op
			like.base = strings.Replace(strings.TrimSuffix(like.base, "IgnoreCase"), "Equals", "Like", 1)
			severity := finding.Warning
			if (isTokenKey(c.folded) || c.folded == samlAudience) && !c.op.negated {
				severity = l.never() // no claim of a cluster's token has such characters, and no address
			}
			f := l.add(
				severity,
				at,
				"wildcard-without-like",
				"%s takes * and ? in %q literally; %s takes them as wildcards",
				c.op.base,
				source,
				like.name(),
			)
			if c.folded != samlAudience || c.op.negated { // a pattern of addresses is another's, too
				l.rename(f, s, c, like.name(), "compare with %s", like.name())
			}
		}
	}
}

// hasWildcard ignores what is inside ${…}.
func hasWildcard(source string) bool {
	p := compilePattern(source, true, true)
	isWild := func(o op) bool { return o == anyRun || o == anyOne }
	return slices.ContainsFunc(p.ops, isWild) ||
		slices.ContainsFunc(
			p.segments,
			func(s segment) bool { return s.key == "" && slices.ContainsFunc(s.ops, isWild) },
		)
}

// never is how bad it is that a statement never applies: of a trust policy nothing
// is worse.
func (l *linter) never() finding.Severity {
	if l.policy.kind == Trust {
		return finding.Error
	}
	return finding.Warning
}

// without is how bad it is that requests never have a condition's key: a condition
// that wants it never holds.
func (l *linter) without(c *condition) finding.Severity {
	if c.op.negated || c.op.ifExists || c.op.compare == compareNull || c.op.set == forAll || c.deny {
		return finding.Warning
	}
	return l.never()
}

func (l *linter) setOperator(s *statement, c *condition) {
	if c.op.compare == compareNull {
		return
	}
	multi := multivalued(c.folded)
	switch {
	case multi && c.op.set == noSet:
		f := l.add(
			finding.Error,
			c.operatorAt,
			"needs-set-operator",
			"%s has several values: without ForAnyValue: or ForAllValues: the condition never holds",
			c.key,
		)
		l.renameAlone(f, s, c, "ForAnyValue:"+c.operator, "compare with any of them")
	case c.op.set == forAll && !multi && (isTokenKey(c.folded) || knownSingle(c.folded)):
		f := l.add(
			finding.Security,
			c.operatorAt,
			"for-all-values-single",
			"ForAllValues on %s, which has one value, also holds when the key is missing",
			c.key,
		)
		l.renameAlone(f, s, c, strings.TrimPrefix(c.op.name(), "ForAllValues:"), "compare without the set prefix")
	case c.op.set == forAll && s.allow && !s.requires(c.folded):
		f := l.add(
			finding.Security,
			c.operatorAt,
			"for-all-values-missing",
			"ForAllValues in an Allow also holds when %s is missing",
			c.key,
		)
		l.demand(f, s, c)
	}
}

// demand suggests Null … false on a condition's key, in a Null that is there if
// it does not look at the key.
func (l *linter) demand(f *placed, s *statement, c *condition) {
	if !s.hasOperator("Null") {
		f.suggest(
			l,
			span{s.conditionAt.start, s.conditionAt.start + 1},
			`{"Null": {`+jsonText(c.key)+`: "false"}, `,
			"require the key to be present",
		)
		return
	}
	isNull := func(other condition) bool { return other.operator == "Null" }
	i := slices.IndexFunc(s.conditions, isNull)
	if i >= 0 &&
		!slices.ContainsFunc(
			s.conditions,
			func(other condition) bool { return isNull(other) && other.folded == c.folded },
		) {
		at := s.conditions[i].at
		f.suggest(l, at, jsonText(c.key)+`: "false", `+l.policy.text[at.start:at.end], "require the key to be present")
	}
}

// knownSingle are keys that are single-valued by definition.
func knownSingle(folded string) bool {
	return strings.HasPrefix(folded, "aws:") || strings.HasPrefix(folded, "sts:") || folded == samlAudience
}

// requires reports a Null … false on the key.
func (s *statement) requires(folded string) bool {
	return slices.ContainsFunc(s.conditions, func(c condition) bool {
		return c.folded == folded && c.op.compare == compareNull && len(c.values) == 1 &&
			!strings.EqualFold(c.values[0].source, "true")
	})
}

// alwaysPresent are keys that every signed request has.
var alwaysPresent = []string{
	"aws:currenttime", "aws:epochtime", "aws:requestedregion", "aws:securetransport", "aws:viaawsservice",
	"aws:principalisawsservice",
	"aws:principaltype", "aws:principalarn", "aws:principalaccount", "aws:userid",
}

// escapedDeny: a Deny that does not apply if a key is missing is mostly not
// meant.
func (l *linter) escapedDeny(s *statement, c *condition) {
	if s.allow || slices.Contains(alwaysPresent, c.folded) || s.requires(c.folded) {
		return
	}
	isBool := c.op.compare == compareBool && !c.op.ifExists && c.op.set == noSet
	isAnyNegated := c.op.set == forAny && c.op.negated
	if !isBool && !isAnyNegated {
		return
	}
	f := l.add(finding.Security, c.operatorAt, "deny-escaped", "a request without %s escapes this Deny", c.key)
	if isBool {
		l.renameAlone(f, s, c, "BoolIfExists", "BoolIfExists also denies without the key")
	}
}

// impossibleKey reports keys that the statement's requests never have.
func (l *linter) impossibleKey(s *statement, c *condition) {
	onlySTS := len(s.action.patterns) > 0 && !s.action.not &&
		!slices.ContainsFunc(
			s.action.patterns,
			func(p actionPattern) bool { return p.all || !strings.HasPrefix(p.name.source, "assumerole") },
		)
	switch {
	case c.folded == "sts:durationseconds" && onlySTS:
		l.add(
			l.without(c),
			c.at,
			"impossible-key",
			"sts:DurationSeconds is in no AssumeRole call, whatever duration is requested; the role's maximum "+
				"session duration limits it",
		)
	case c.folded == "aws:sourceip" && s.onlyPrincipals("Service"):
		l.add(l.without(c), c.at, "impossible-key", "a service's call has no aws:SourceIp")
	}
}

// onlyPrincipals reports whether all entries are of one kind.
func (s *statement) onlyPrincipals(key string) bool {
	return s.principal != nil && !s.principal.not && len(s.principal.entries) > 0 &&
		!slices.ContainsFunc(s.principal.entries, func(e principalEntry) bool { return e.key != key })
}

func (l *linter) emptyCondition(s *statement) {
	for _, empty := range s.emptyOperators {
		if !empty.known {
			l.add(
				finding.Error,
				empty.at,
				"unknown-operator",
				"%q is not a condition operator; AWS accepts it because it is empty%s",
				empty.name,
				similarOperator(empty.name),
			)
			continue
		}
		l.add(finding.Warning, empty.at, "empty-operator", "%s has no key and constrains nothing", empty.name)
	}
	if s.conditionAt != (span{}) && len(s.conditions) == 0 && len(s.emptyOperators) == 0 &&
		strings.TrimSpace(l.policy.text[s.conditionAt.start+1:s.conditionAt.end-1]) == "" {
		l.add(finding.Warning, s.conditionAt, "empty-condition", "an empty Condition constrains nothing")
	}
}
