package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// stsAudience is what EKS and AWS's own webhook use.
const stsAudience = "sts.amazonaws.com"

// claims checks the conditions on sub and aud of a statement for tokens.
func (l *linter) claims(s *statement) {
	if !s.allowsAction("sts:AssumeRoleWithWebIdentity") {
		return
	}
	hasAudience := false
	for i := range s.conditions {
		c := &s.conditions[i]
		if !isTokenKey(c.folded) {
			continue
		}
		issuer := strings.TrimSuffix(c.folded, ":"+fold(claimOf(c)))
		if issuerClaims(issuer) != nil {
			hasAudience = hasAudience || fold(claimOf(c)) == "aud"
			if fold(claimOf(c)) == "aud" && !identifies(issuer, "aud") {
				l.audienceWildcards(c)
			}
			continue // not a cluster's: its subjects and audiences have other forms
		}
		l.ifExists(s, c)
		switch fold(claimOf(c)) {
		case "sub":
			l.subjectValues(c)
		case "aud":
			hasAudience = true
			if !l.subjectAsAudience(s, c, issuer) {
				l.audienceValues(c)
			}
		}
	}
	l.equalsAndLike(s)
	if l.options.Role == nil {
		return
	}
	if !hasAudience {
		l.noAudience(s)
	}
	if l.facts().Tagged && !s.allowsAction("sts:TagSession") &&
		!l.elsewhere(&s.principal.entries[0], "sts:TagSession") &&
		!s.action.not {
		f := l.add(
			finding.Error,
			s.action.at,
			"token-without-tag-session",
			"the tokens carry session tags: they need sts:TagSession in addition to sts:AssumeRoleWithWebIdentity",
		)
		l.suggestAction(f, s, "sts:TagSession")
	}
}

// subjectAsAudience reports subjects where the audience belongs: no token has such
// an audience.
func (l *linter) subjectAsAudience(s *statement, c *condition, issuer string) bool {
	if !c.comparesText() || len(c.values) == 0 || slices.ContainsFunc(c.values, func(p pattern) bool {
		return almostSubject.FindString(p.source) == "" && !strings.HasPrefix(p.source, "system:serviceaccount:")
	}) {
		return false
	}
	f := l.add(finding.Error, c.at, "subject-as-audience", "no token has the audience %q, which is a subject: it "+
		"belongs to %s", c.values[0].source, c.key[:len(c.key)-len(claimOf(c))]+"sub")
	if !s.conditionOn(issuer + ":sub") {
		f.suggest(l, c.at, jsonText(c.key[:len(c.key)-len(claimOf(c))]+"sub"), "compare the subject with it")
	}
	return true
}

// suggestAction adds an action.
func (l *linter) suggestAction(f *placed, s *statement, action string) {
	if len(s.action.patterns) == 0 {
		return
	}
	last := s.action.patterns[len(s.action.patterns)-1].at
	text := l.policy.text[last.start:last.end] + ", " + jsonText(action)
	if l.policy.text[s.action.at.start] != '[' {
		text = "[" + text + "]"
	}
	f.suggest(l, last, text, "allow it too")
}

// ifExists: a token without the claim would meet it.
func (l *linter) ifExists(s *statement, c *condition) {
	if claim := fold(claimOf(c)); !s.allow || !c.op.ifExists || c.op.negated || c.op.set != noSet ||
		(claim != "sub" && claim != "aud") {
		return
	}
	op := c.op
	op.ifExists = false
	f := l.add(finding.Security, c.operatorAt, "if-exists-on-claim", "%s also holds without %s", c.operator, c.key)
	l.renameAlone(f, s, c, op.name(), "compare with %s", op.name())
}

// comparesText reports a condition that a claim must meet.
func (c *condition) comparesText() bool {
	return !c.op.negated &&
		(c.op.compare == compareString || c.op.compare == compareFolded || c.op.compare == compareLike)
}

// admits reports whether one of the values matches a text.
func (c *condition) admits(text string) bool {
	return slices.ContainsFunc(c.values, func(p pattern) bool {
		switch c.op.compare {
		case compareLike:
			return matchOps(compilePattern(p.source, true, false).ops, text, false)
		case compareFolded:
			return equalFolded(p.source, text)
		default:
			return p.source == text
		}
	})
}

// almostSubject is what people write for system:serviceaccount:NAMESPACE:NAME.
var almostSubject = lazyregexp.New(`(?i)^\s*(?:system[:./])?service[-_]?accounts?[:./]([^:/\s]+)[:/]([^:/\s]+)\s*$`)

// subjectValues looks for mistakes in subjects (spec issuer-and-sts §16 row
// 13).
func (l *linter) subjectValues(c *condition) {
	if !c.comparesText() {
		return
	}
	for i := range c.values {
		at, source := c.valuesAt[i], c.values[i].source
		if strings.ContainsAny(source, "<$") {
			continue // a placeholder, which is reported as one
		}
		if parts := almostSubject.FindStringSubmatch(source); parts != nil {
			subject := "system:serviceaccount:" + parts[1] + ":" + parts[2]
			if subject != source {
				l.add(finding.Error, at, "subject-slip", "no token has the subject %q: a service account's is "+
					"system:serviceaccount:NAMESPACE:NAME", source).
					suggest(l, at, jsonText(subject), "write it like this")
				continue
			}
		}
		if rest, isSubject := strings.CutPrefix(source, "system:serviceaccount:"); isSubject &&
			rest != strings.ToLower(rest) && placeholder.FindString(rest) == "" && c.op.compare != compareFolded {
			l.add(finding.Error, at, "subject-slip", "no token has the subject %q: names in Kubernetes are in lower case",
				source).
				suggest(l, at, jsonText(strings.ToLower(source)), "write it in lower case")
			continue
		}
		if parts := shortSubject.FindStringSubmatch(source); parts != nil && isEKS(strings.TrimSuffix(c.folded, ":sub")) {
			l.add(finding.Error, at, "subject-slip", "no token has the subject %q: a service account's is "+
				"system:serviceaccount:NAMESPACE:NAME", source).
				suggest(l, at, jsonText("system:serviceaccount:"+parts[1]+":"+parts[2]), "write it like this")
			continue
		}
		if isAudience(source) {
			f := l.add(finding.Error, at, "subject-slip", "no token has the subject %q, which is an audience", source)
			if len(l.facts().Subjects) == 1 {
				f.suggest(l, at, jsonText(l.facts().Subjects[0]), "name the service account")
			}
			continue
		}
		if l.subjectOfNobody(c, at, source) {
			continue
		}
		if why := c.noAccount(source); why != "" {
			f := l.add(finding.Error, at, "subject-slip", "no token has the subject %q: %s", source, why)
			if len(l.facts().Subjects) == 1 {
				f.suggest(l, at, jsonText(l.facts().Subjects[0]), "name the service account")
			}
		}
	}
}

// noAccount says why no service account has a subject that begins as theirs do; empty
// if one may. A namespace is a label of DNS, a service account a subdomain.
func (c *condition) noAccount(subject string) string {
	rest, begins := strings.CutPrefix(subject, "system:serviceaccount:")
	if !begins || placeholder.FindString(rest) != "" {
		return ""
	}
	if c.op.compare == compareFolded {
		rest = strings.ToLower(rest)
	}
	if c.op.compare == compareLike || hasWildcard(rest) { // what stands for any text may stand for what is missing
		rest = strings.NewReplacer("*", "a", "?", "a").Replace(rest)
	}
	namespace, name, both := strings.Cut(rest, ":")
	switch {
	case !both:
		return ""
	case !dnsLabels.MatchString(namespace) || strings.Contains(namespace, "."):
		return fmt.Sprintf("%q is no name of a namespace", namespace)
	case !dnsLabels.MatchString(name) && !strings.Contains(name, ":"):
		return fmt.Sprintf("%q is no name of a service account", name)
	}
	return ""
}

// dnsLabels are names of Kubernetes' objects.
var dnsLabels = lazyregexp.New(`^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$`)

// shortSubject is a service account as people name it elsewhere.
var shortSubject = lazyregexp.New(`^([a-z0-9][-a-z0-9]*)[/:]([a-z0-9][-.a-z0-9]*)$`)

// isAudience reports an audience that STS is known by.
func isAudience(text string) bool {
	return text == stsAudience || text == stsAudience+".cn" || regionalSTS.MatchString(text)
}

// regionalSTS is an endpoint of STS, which is no audience.
var regionalSTS = lazyregexp.New(`^(?:https://)?sts(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/?$`)

// subjectOfNobody compares with the service accounts that are to be admitted, and reports
// whether it found one that is meant.
func (l *linter) subjectOfNobody(c *condition, at span, source string) bool {
	if slices.Contains(l.facts().Subjects, source) || hasWildcard(source) {
		return false
	}
	for _, wanted := range l.facts().Subjects {
		if l.admittedSomewhere(c.folded, wanted) {
			continue
		}
		why := nearMiss(source, wanted)
		if head, names, _ := strings.Cut(wanted, "system:serviceaccount:"); head == "" {
			if namespace, name, _ := strings.Cut(names, ":"); source == "system:serviceaccount:"+name+":"+namespace {
				why = "namespace and name are swapped"
			}
		}
		if why != "" {
			l.add(finding.Error, at, "subject-of-nobody", "%q keeps %q out: %s", source, wanted, why).
				suggest(l, at, jsonText(wanted), "name the service account")
			return true
		}
	}
	return false
}

// admittedSomewhere reports whether any statement's condition on the key lets a
// subject through.
func (l *linter) admittedSomewhere(folded, subject string) bool {
	return slices.ContainsFunc(l.policy.statements, func(s statement) bool {
		return s.allow &&
			slices.ContainsFunc(
				s.conditions,
				func(c condition) bool { return c.folded == folded && c.comparesText() && c.admits(subject) },
			)
	})
}

// audienceValues looks for mistakes in audiences (spec issuer-and-sts §16 rows 15
// to 17).
func (l *linter) audienceValues(c *condition) {
	if !c.comparesText() || len(c.values) == 0 {
		return
	}
	facts := l.facts()
	known := facts.Audience != "" || len(facts.Registered) > 0
	for i := range c.values {
		at, source := c.valuesAt[i], c.values[i].source
		switch {
		case c.op.compare == compareLike && hasWildcard(source):
			if l.options.Role != nil {
				l.add(finding.Security, at, "aud-wildcard", "%q covers audiences that are not meant for STS", source).
					suggest(l, at, jsonText(l.audience()), "name the audience")
			}
		case !known && source != stsAudience && source != stsAudience+".cn" &&
			(regionalSTS.MatchString(strings.TrimSpace(source)) ||
				editDistance(strings.TrimPrefix(strings.TrimSpace(source), "https://"), stsAudience, 3) <= 3):
			l.add(finding.Error, at, "aud-slip", "no provider registers the audience %q: it looks like "+
				"%s", source, stsAudience).
				suggest(l, at, jsonText(stsAudience), "write it like this")
		case facts.Audience == "" && len(facts.Registered) > 0 && !slices.Contains(facts.Registered, source):
			f := l.add(
				finding.Error,
				at,
				"aud-not-registered",
				"the provider does not register the audience %q, but %q",
				source,
				facts.Registered,
			)
			if len(facts.Registered) == 1 {
				f.suggest(l, at, jsonText(facts.Registered[0]), "name the registered audience")
			}
		}
	}
	l.tokenAudience(c)
}

// audienceWildcards reports patterns of audiences.
func (l *linter) audienceWildcards(c *condition) {
	for i := range c.values {
		if c.comparesText() && c.op.compare == compareLike && hasWildcard(c.values[i].source) {
			l.add(finding.Security, c.valuesAt[i], "aud-wildcard", "%q covers audiences that are not meant for STS",
				c.values[i].source).
				suggest(l, c.valuesAt[i], jsonText(stsAudience), "name the audience")
		}
	}
}

// tokenAudience compares the three audiences.
func (l *linter) tokenAudience(c *condition) {
	facts := l.facts()
	if facts.Audience == "" {
		return
	}
	wanted := make([]string, len(c.values))
	for i := range c.values {
		wanted[i] = c.values[i].source
	}
	registered := "unknown"
	if len(facts.Registered) > 0 {
		registered = fmt.Sprintf("%q", facts.Registered)
	}
	sides := fmt.Sprintf(
		"the token's is %q, the provider registers %s, the policy wants %q",
		facts.Audience,
		registered,
		wanted,
	)
	if len(facts.Registered) > 0 && !slices.Contains(facts.Registered, facts.Audience) {
		f := l.add(
			finding.Error,
			c.at,
			"audience-not-registered",
			"STS refuses tokens with this audience before it evaluates the policy: %s",
			sides,
		)
		f.Command = "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn " + l.providerARN(
			strings.TrimSuffix(c.key, ":"+claimOf(c)),
		) + " --client-id " + facts.Audience
	}
	if c.admits(facts.Audience) {
		return
	}
	f := l.add(finding.Error, c.valuesAt[0], "aud-mismatch", "the audience differs: %s", sides)
	if len(c.values) == 1 {
		f.suggest(l, c.valuesAt[0], jsonText(facts.Audience), "want the token's audience")
	}
}

// noAudience: the provider checks audiences too, but for all roles at once.
func (l *linter) noAudience(s *statement) {
	i := slices.IndexFunc(
		s.principal.entries,
		func(e principalEntry) bool { return e.key == "Federated" && issuerOf(e.text) != e.text },
	)
	if i < 0 || slices.Contains(issuerClaims(issuerOf(s.principal.entries[i].text)), "aud") {
		return
	}
	entry := &s.principal.entries[i]
	f := l.add(
		finding.Warning,
		entry.at,
		"web-identity-without-aud",
		"no condition on %s:aud: every audience that the provider registers is accepted",
		issuerOf(entry.text),
	)
	for j := range s.conditions {
		if c := &s.conditions[j]; c.op.name() == "StringEquals" && s.federations() == 1 &&
			brokenIssuer(issuerOf(entry.text)) == "" {
			key := jsonText(issuerOf(entry.text)+":aud") + ": " + jsonText(l.audience()) + ", "
			f.suggest(l, c.at, key+l.policy.text[c.at.start:c.at.end], "name the audience")
			f.Suggested.Manual = l.facts().Audience == "" && len(l.facts().Registered) != 1
			return
		}
	}
}

// equalsAndLike: two operators on one key must both hold, although mostly
// either one is meant to (spec issuer-and-sts §16 row 12).
func (l *linter) equalsAndLike(s *statement) {
	for i := range s.conditions {
		for j := range s.conditions {
			equals, like := &s.conditions[i], &s.conditions[j]
			if !s.allow || equals.folded != like.folded || !isTokenKey(equals.folded) ||
				equals.op.compare != compareString || like.op.compare != compareLike ||
				!equals.comparesText() ||
				!like.comparesText() ||
				len(equals.values) == 0 {
				continue
			}
			both := 0
			for k := range equals.values {
				if like.admits(equals.values[k].source) {
					both++
				}
			}
			text := l.policy.text[s.at.start:s.at.end]
			if both == len(equals.values) {
				l.add(finding.Warning, like.at, "equals-and-like", "%s admits nobody whom %s does not: both must hold; write "+
					"two statements if either is meant", like.operator, equals.operator).
					suggest(l, s.at, withoutMember(text, "Condition", like.operator, like.key), "leave it out, "+
						"which changes nothing")
				continue
			}
			f := l.add(
				l.never(),
				like.at,
				"equals-and-like",
				"%s and %s on %s must both hold, which %d of %d values do: write two statements if either is meant",
				equals.operator,
				like.operator,
				like.key,
				both,
				len(equals.values),
			)
			first := withoutMember(text, "Condition", like.operator, like.key)
			second := withoutMember(withoutMember(text, "Condition", equals.operator, equals.key), "Sid")
			either := first + ", " + second
			if !l.policy.listed() {
				either = "[" + either + "]"
			}
			f.suggest(l, s.at, either, "write two statements")
			f.Suggested.Manual = both > 0
		}
	}
}

// partlyOpen reports patterns that anybody who may create namespaces or service
// accounts can match (spec issuer-and-sts §15.2 rule 5).
func (l *linter) partlyOpen(c *condition, i int) {
	rest, isSubject := strings.CutPrefix(c.values[i].source, "system:serviceaccount:")
	namespace, name, _ := strings.Cut(rest, ":")
	switch {
	case c.op.compare != compareLike || !isSubject:
	case strings.ContainsAny(namespace, "*?"):
		l.add(
			finding.Security,
			c.valuesAt[i],
			"sub-several-namespaces",
			"%q covers several namespaces: anyone who can create one that matches can assume the role",
			c.values[i].source,
		)
	case strings.ContainsAny(name, "*?") &&
		slices.Contains([]string{"default", "kube-system", "kube-public", "kube-node-lease"}, namespace):
		l.add(
			finding.Security,
			c.valuesAt[i],
			"sub-shared-namespace",
			"%q: the namespace %s is shared, so others can assume the role",
			c.values[i].source,
			namespace,
		)
	}
}

// subjects are those that are to be admitted, for a condition.
func (l *linter) subjects() string {
	switch subjects := l.facts().Subjects; len(subjects) {
	case 0:
		return `"system:serviceaccount:NAMESPACE:NAME"`
	case 1:
		return jsonText(subjects[0])
	default:
		quoted := make([]string, len(subjects))
		for i, subject := range subjects {
			quoted[i] = jsonText(subject)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
}
