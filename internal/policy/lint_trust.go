package policy

import (
	"slices"
	"strings"
)

// trust checks a statement of a role's trust policy.
func (l *linter) trust(s *statement) {
	l.trustActions(s)
	for i := range s.conditions {
		l.accounts(&s.conditions[i])
	}
	if !s.allow || s.principal == nil || l.webPrincipal(s) {
		return
	}
	for i := range s.principal.entries {
		switch entry := &s.principal.entries[i]; entry.key {
		case "Federated":
			l.federated(s, entry)
		case "Service":
			l.service(s, entry)
		case "AWS":
			l.trusted(s, entry)
		}
	}
	if s.hasFederated() {
		l.tokenKeys(s)
		l.claims(s)
	}
}

var roleActions = []string{
	"sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML", "sts:TagSession",
	"sts:SetSourceIdentity", "sts:SetContext",
}

func (l *linter) trustActions(s *statement) {
	for i := range s.action.patterns {
		p := &s.action.patterns[i]
		if p.prefix == "sts" &&
			!slices.ContainsFunc(roleActions, func(a string) bool { return p.match(splitAction(a)) }) {
			l.add(
				Warning,
				p.at,
				"unknown-trust-action",
				"%s does not assume a role; want %s",
				p.source,
				strings.Join(roleActions, ", "),
			)
		}
	}
}

func (s *statement) hasFederated() bool {
	return s.principal != nil &&
		slices.ContainsFunc(s.principal.entries, func(e principalEntry) bool { return e.key == "Federated" })
}

// federations counts the providers that share the statement's conditions.
func (s *statement) federations() int {
	count := 0
	for i := range s.principal.entries {
		if s.principal.entries[i].key == "Federated" {
			count++
		}
	}
	return count
}

func (s *statement) allowsAction(name string) bool { return s.action.match(splitAction(name)) }

func (l *linter) federated(s *statement, entry *principalEntry) {
	saml := strings.Contains(entry.text, ":saml-provider/")
	switch {
	case saml && s.allowsAction("sts:AssumeRoleWithSAML"), !saml && s.allowsAction("sts:AssumeRoleWithWebIdentity"):
	case saml:
		l.wrongAction(s, "sts:AssumeRoleWithSAML", "a SAML identity")
		return
	default:
		l.wrongAction(s, "sts:AssumeRoleWithWebIdentity", "a web identity")
		return
	}
	if saml {
		return
	}
	issuer := fold(issuerOf(entry.text))
	if issuerClaims(issuer) != nil {
		return // IAM itself requires a condition, see checkSharedIssuers
	}
	l.providerName(s, entry)
	l.subject(s, entry, issuer)
}

func (l *linter) wrongAction(s *statement, wanted, who string) {
	f := l.add(
		l.never(),
		s.action.at,
		"action-of-another-principal",
		"%s calls %s, which this statement does not allow",
		who,
		wanted,
	)
	for i := range s.action.patterns {
		if p := &s.action.patterns[i]; len(s.action.patterns) == 1 || strings.HasPrefix(p.name.source, "assumerole") {
			f.suggest(l, p.at, jsonText(wanted), "write %s", wanted)
			return
		}
	}
}

// subject: without a condition on sub every workload of the issuer may assume
// the role.
func (l *linter) subject(s *statement, entry *principalEntry, issuer string) {
	var subject *condition
	for i := range s.conditions {
		if c := &s.conditions[i]; c.folded == issuer+":sub" && !c.op.negated && c.op.compare != compareNull {
			subject = c
		}
	}
	if subject == nil {
		message := "every workload of the issuer may assume the role: no condition on " + issuerOf(entry.text) + ":sub"
		if s.conditionOn(issuer + ":aud") {
			message += "; :aud is the same for all of them"
		}
		f := l.add(Security, entry.at, "web-identity-without-sub", "%s", message)
		insert := `"StringEquals": {` + jsonText(issuerOf(entry.text)+":sub") + ": " + l.subjects() + "}"
		switch {
		case s.conditionAt == (span{}):
			end := span{s.at.end - 1, s.at.end}
			f.suggest(l, end, `, "Condition": {`+insert+"}}", "name the service account")
		case len(s.conditions) == 0:
			f.suggest(l, s.conditionAt, "{"+insert+"}", "name the service account")
		default:
			l.suggestSubject(s, f, issuerOf(entry.text))
		}
		switch {
		case f.Suggested == nil:
		case s.federations() > 1, brokenIssuer(issuerOf(entry.text)) != "":
			f.Suggested = nil // a second issuer's key beside the first one's lets nobody in
		default:
			f.Suggested.Manual = len(l.facts().Subjects) == 0
		}
		return
	}
	for i := range subject.values {
		if !coversNamespaces(subject.values[i].source, subject.op.compare) {
			l.partlyOpen(subject, i)
		} else {
			l.add(Security, subject.valuesAt[i], "sub-any-namespace", "%q covers every namespace: anyone who can "+
				"create a namespace can assume the role", subject.values[i].source)
		}
	}
}

// suggestSubject puts the key into an operator that is there.
func (l *linter) suggestSubject(s *statement, f *placed, issuer string) {
	key := jsonText(issuer+":sub") + ": " + l.subjects() + ", "
	for i := range s.conditions {
		if c := &s.conditions[i]; c.op.name() == "StringEquals" {
			f.suggest(l, c.at, key+l.policy.text[c.at.start:c.at.end], "name the service account")
			return
		}
	}
	if s.hasOperator("StringEquals") {
		return // it is empty
	}
	f.suggest(
		l,
		span{s.conditionAt.start, s.conditionAt.start + 1},
		`{"StringEquals": {`+strings.TrimSuffix(key, ", ")+"}, ",
		"name the service account",
	)
}

// coversNamespaces tries a namespace that cannot be meant, with the account's name
// that the pattern ends in.
func coversNamespaces(source string, compare comparison) bool {
	name := strings.NewReplacer("*", "", "?", "x").Replace(source[strings.LastIndexByte(source, ':')+1:])
	return compare == compareLike &&
		matchOps(compilePattern(source, true, false).ops, "system:serviceaccount:\x00:"+name, false)
}

func (l *linter) service(s *statement, entry *principalEntry) {
	switch {
	case s.allowsAction("sts:AssumeRoleWithWebIdentity") && !s.allowsAction("sts:AssumeRole"):
		l.wrongAction(s, "sts:AssumeRole", "a service")
	case entry.text == "pods.eks.amazonaws.com" && s.allowsAction("sts:AssumeRole") &&
		!s.allowsAction("sts:TagSession") && !l.elsewhere(entry, "sts:TagSession"):
		f := l.add(
			Warning,
			s.action.at,
			"pods-without-tag-session",
			"EKS Pod Identity passes session tags: it needs sts:TagSession in addition to sts:AssumeRole",
		)
		f.suggest(l, s.action.at, `["sts:AssumeRole", "sts:TagSession"]`, "allow both")
	}
	if !ofInstances(entry.text) &&
		!s.conditionOn("aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceorgpaths") {
		l.add(
			Security,
			entry.at,
			"service-without-source",
			"%s may act for anybody's resources: add a condition on aws:SourceArn or aws:SourceAccount",
			entry.text,
		)
	}
}

// ofInstances: EC2 assumes a role only for instances of the role's own account,
// and gives neither source: with a condition on one, instances would have no
// role.
func ofInstances(service string) bool {
	return service == "ec2.amazonaws.com" || service == "ec2.amazonaws.com.cn"
}

// elsewhere reports whether another statement allows the principal an action.
func (l *linter) elsewhere(entry *principalEntry, action string) bool {
	return slices.ContainsFunc(l.policy.statements, func(s statement) bool {
		return s.allow && s.principal != nil && s.allowsAction(action) &&
			slices.ContainsFunc(
				s.principal.entries,
				func(e principalEntry) bool { return e.key == entry.key && e.text == entry.text },
			)
	})
}

func (l *linter) trusted(s *statement, entry *principalEntry) {
	narrowed := s.conditionOn(
		"aws:principalarn",
		"aws:principalorgid",
		"aws:principalorgpaths",
		"aws:principalaccount",
		"sts:externalid",
	)
	switch {
	case entry.text == "*" && !narrowed:
		l.add(
			Security,
			entry.at,
			"trust-anybody",
			"every AWS account may assume the role: add a condition on aws:PrincipalOrgID, aws:PrincipalArn, "+
				"aws:PrincipalAccount or sts:ExternalId",
		)
	case s.allowsAction("sts:AssumeRoleWithWebIdentity") && !s.allowsAction("sts:AssumeRole") && !s.hasFederated():
		l.wrongAction(s, "sts:AssumeRole", "an AWS principal")
	}
	owner := entry.account
	if owner == "" {
		owner = accountOf(entry.text)
	}
	if l.options.Account != "" && owner != "" && owner != l.options.Account &&
		!s.conditionOn("sts:externalid", "aws:principalorgid", "aws:principalorgpaths") {
		l.add(
			Security,
			entry.at,
			"third-party-without-external-id",
			"account %s is a different one: require an sts:ExternalId, so that its other customers cannot use its "+
				"access",
			owner,
		)
	}
}

// tokenKeys checks the condition keys of tokens' claims.
func (l *linter) tokenKeys(s *statement) {
	var issuers []string
	for i := range s.principal.entries {
		if e := &s.principal.entries[i]; e.key == "Federated" {
			issuers = append(issuers, fold(issuerOf(e.text)))
		}
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		switch {
		case strings.HasPrefix(c.folded, "https://"):
			f := l.add(Error, c.at, "scheme-in-key", "%s: a condition key names the issuer without https://", c.key)
			if brokenIssuer(issuerOfKey(c)) == "" {
				f.suggest(l, c.at, jsonText(c.key[len("https://"):]), "leave the scheme out")
			} else if len(issuers) == 1 {
				l.nameProvider(f, s, c)
			}
		case isTokenKey(c.folded):
			l.tokenKey(s, c, issuers)
		case slices.Contains([]string{
			"aws:principalarn",
			"aws:username",
			"sts:externalid",
			"aws:sourcearn",
			"aws:sourceaccount",
		}, c.folded) || strings.HasPrefix(c.folded, "aws:principaltag/"):
			severity := Warning
			if !c.op.negated && !c.op.ifExists && c.op.compare != compareNull {
				severity = l.never()
			}
			l.add(severity, c.at, "impossible-key", "a web-identity call never has %s", c.key)
		}
	}
}

func (l *linter) tokenKey(s *statement, c *condition, issuers []string) {
	for _, issuer := range issuers {
		claim, found := strings.CutPrefix(c.folded, issuer+":")
		if !found {
			continue
		}
		if issuerClaims(issuer) == nil &&
			!slices.Contains([]string{"sub", "aud", "azp", "amr", "oaud", "email"}, claim) {
			l.add(
				Warning,
				c.at,
				"impossible-key",
				"the claim %s is not a condition key: only sub, aud, azp, amr and oaud are",
				claim,
			)
		}
		return
	}
	also := ""
	if slices.ContainsFunc(
		s.conditions,
		func(other condition) bool { return other.folded != c.folded && isTokenKey(other.folded) },
	) {
		also = "; all conditions must hold, so nobody can assume the role"
	}
	severity := Warning
	if !c.op.negated && !c.op.ifExists && c.op.compare != compareNull && c.op.set != forAll {
		severity = l.never()
	}
	f := l.add(severity, c.at, "key-of-another-issuer", "%s names no provider of this statement%s", c.key, also)
	if len(issuers) == 1 {
		l.nameProvider(f, s, c)
	}
}

// nameProvider suggests the issuer of the statement's one provider for a condition
// key, if that is well-formed.
func (l *linter) nameProvider(f *placed, s *statement, c *condition) {
	i := slices.IndexFunc(s.principal.entries, func(e principalEntry) bool { return e.key == "Federated" })
	issuer := issuerOf(s.principal.entries[i].text)
	why := brokenIssuer(issuerOfKey(c))
	switch {
	case normalIssuer(issuer, func(string) {}) != issuer || brokenIssuer(issuer) != "":
		// The principal is fixed first, or waits for a person itself.
	case why != "":
		f.suggest(
			l,
			c.at,
			jsonText(issuer+":"+claimOf(c)),
			"name the provider, which is well-formed: in this key %s",
			why,
		)
	default:
		f.suggest(l, c.at, jsonText(issuer+":"+claimOf(c)), "name the provider")
	}
}
