package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
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
			before := len(l.findings)
			l.federated(s, entry)
			closeFirst(l.findings[before:])
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
	if l.unclear {
		l.unclear = false
		l.add(finding.Warning, s.at, "too-complex", "the conditions are too many to find out whom they let in: "+
			"name fewer callers, or write several statements")
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
				finding.Warning,
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

// onlyBeside reports a statement that allows only what comes with a call that assumes a role.
func (s *statement) onlyBeside() bool {
	return !s.action.not && !slices.ContainsFunc(roleActions[:3], s.allowsAction)
}

// onlyFederatedCalls reports a statement that allows the calls of identity providers, and not
// everybody else's.
func (s *statement) onlyFederatedCalls() bool {
	return !s.allowsAction("sts:AssumeRole") &&
		(s.allowsAction("sts:AssumeRoleWithWebIdentity") || s.allowsAction("sts:AssumeRoleWithSAML"))
}

func (l *linter) federated(s *statement, entry *principalEntry) {
	saml := entry.isSAMLProvider()
	switch {
	case saml && s.allowsAction("sts:AssumeRoleWithSAML"), !saml && s.allowsAction("sts:AssumeRoleWithWebIdentity"):
	case s.onlyBeside() && slices.ContainsFunc(roleActions[1:3], func(a string) bool { return l.elsewhere(entry, a) }):
		return // it is about what another statement's callers bring
	case saml:
		l.wrongAction(s, "sts:AssumeRoleWithSAML", "a SAML identity")
		return
	default:
		l.wrongAction(s, "sts:AssumeRoleWithWebIdentity", "a web identity")
		return
	}
	if saml {
		l.saml(s, entry)
		return
	}
	if l.unknownProvider(s, entry) {
		return
	}
	issuer := fold(issuerOf(entry.text))
	if issuerClaims(issuer) != nil {
		if url := issuerOf(entry.text); url != entry.text {
			l.providerPlace(entry, "create-open-id-connect-provider --url https://"+url+" --client-id-list "+l.audience())
		}
		l.sharedIssuer(s, entry)
		return
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

// subject: somebody whom the document does not name has a token of the issuer, too.
func (l *linter) subject(s *statement, entry *principalEntry, issuer string) {
	stranger := l.stranger(s, entry)
	if stranger == nil {
		return
	}
	var subject *condition
	any := false
	for i := range s.conditions {
		if c := &s.conditions[i]; c.folded == issuer+":sub" {
			any = true
			if !c.op.negated && c.op.compare != compareNull {
				subject = c
			}
		}
	}
	if subject == nil {
		message := "every workload of the issuer may assume the role: no condition on " + issuerOf(entry.text) + ":sub"
		if any {
			message = "workloads that the document does not name may assume the role: " + stranger.who
		} else if s.conditionOn(issuer + ":aud") {
			message += "; :aud is the same for all of them"
		}
		f := l.add(finding.Security, entry.at, "web-identity-without-sub", "%s", message)
		l.suggestNames(f, s, entry)
		return
	}
	before := len(l.findings)
	for i := range subject.values {
		if !coversNamespaces(subject.values[i].source, subject.op.compare) {
			l.partlyOpen(subject, i)
		} else {
			l.add(finding.Security, subject.valuesAt[i], "sub-any-namespace", "%q covers every namespace: anyone who can "+
				"create a namespace can assume the role", subject.values[i].source)
		}
	}
	if len(l.findings) == before {
		f := l.add(finding.Security, subject.at, "web-identity-without-sub",
			"workloads that the document does not name may assume the role: %s", stranger.who)
		l.suggestFirmer(f, s)
	}
}

// suggestNames adds a condition on the subject.
func (l *linter) suggestNames(f *placed, s *statement, entry *principalEntry) {
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
}

// sharedIssuer: IAM asks for a condition on whose token it is, but not whether that
// leaves anybody out.
func (l *linter) sharedIssuer(s *statement, entry *principalEntry) {
	if slices.ContainsFunc(l.decoder.violations, func(v violation) bool { return v.at == entry.at }) {
		return // it is refused for that
	}
	if stranger := l.stranger(s, entry); stranger != nil {
		at := entry.at
		for i := range s.conditions {
			if c := &s.conditions[i]; c.folded == fold(issuerOf(entry.text))+":sub" {
				at = c.at
			}
		}
		l.add(finding.Security, at, "shared-issuer-stranger",
			"tokens of others may assume the role: %s; name whose repository, project or organization it is",
			stranger.who)
		return
	}
	l.guests(s, entry)
}

// suggestFirmer compares without IfExists or a set prefix, which hold without the
// key.
func (l *linter) suggestFirmer(f *placed, s *statement) {
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.op.negated || c.op.compare == compareNull || (!c.op.ifExists && c.op.set != forAll) {
			continue
		}
		op := c.op
		op.ifExists = false
		if op.set == forAll {
			op.set = noSet
			if multivalued(c.folded) {
				op.set = forAny
			}
		}
		l.renameAlone(f, s, c, op.name(), "require %s", c.key)
		return
	}
}

// admitsNobody reports principals whom the engine never lets in by this statement.
// What an error says already is not said again.
func (l *linter) admitsNobody(s *statement) {
	if !s.allow || s.principal == nil || slices.ContainsFunc(l.findings, func(f placed) bool {
		return f.Severity == finding.Error && (f.Rule == "explicit-deny" || (s.at.start <= f.at.start && f.at.end <= s.at.end))
	}) {
		return
	}
	l.sid = s.sid
	for i := range s.principal.entries {
		entry := &s.principal.entries[i]
		key, certain := l.nobody(s, entry)
		if !certain {
			continue
		}
		at, because := entry.at, "no caller meets all its conditions and no Deny"
		for j := range s.conditions {
			if c := &s.conditions[j]; c.folded == key {
				at, because = c.at, "no caller meets what it says of "+c.key
				break
			}
		}
		l.add(finding.Error, at, "admits-nobody", "this statement lets nobody in as %s: %s", entry.text, because)
	}
	l.sid = ""
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
	case s.onlyFederatedCalls():
		l.wrongAction(s, "sts:AssumeRole", "a service")
	case entry.text == "pods.eks.amazonaws.com" && s.allowsAction("sts:AssumeRole") &&
		!s.allowsAction("sts:TagSession") && !l.elsewhere(entry, "sts:TagSession"):
		f := l.add(
			finding.Warning,
			s.action.at,
			"pods-without-tag-session",
			"EKS Pod Identity passes session tags: it needs sts:TagSession in addition to sts:AssumeRole",
		)
		f.suggest(l, s.action.at, `["sts:AssumeRole", "sts:TagSession"]`, "allow both")
	}
	l.serviceKeys(s)
	if ofInstances(entry.text) {
		return
	}
	if stranger := l.stranger(s, entry); stranger != nil {
		message := entry.text + " may act for anybody's resources: add a condition on aws:SourceArn or aws:SourceAccount"
		if len(s.conditions) > 0 {
			message = "the service may act for resources of accounts that the document does not name: " + stranger.who
		}
		f := l.add(finding.Security, entry.at, "service-without-source", "%s", message)
		l.suggestFirmer(f, s)
	}
}

// sourceKeys are keys of callers, and what a service's call has in their place.
var sourceKeys = map[string]string{
	"aws:principalarn": "aws:SourceArn", "aws:principalaccount": "aws:SourceAccount",
	"aws:principalorgid": "aws:SourceOrgID", "aws:principalorgpaths": "aws:SourceOrgPaths", "aws:username": "",
}

// serviceKeys reports keys of callers in a statement for services alone, once.
func (l *linter) serviceKeys(s *statement) {
	if !s.onlyPrincipals("Service") {
		return
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		instead, isCaller := sourceKeys[c.folded]
		if tag, isTag := strings.CutPrefix(c.folded, "aws:principaltag/"); isTag {
			instead, isCaller = "aws:RequestTag/"+c.key[len(c.key)-len(tag):], true
		}
		reported := slices.ContainsFunc(l.findings, func(f placed) bool { return f.at == c.at && f.Rule == "impossible-key" })
		if !isCaller || reported {
			continue
		}
		f := l.add(l.without(c), c.at, "impossible-key", "a service's call has no %s", c.key)
		if instead != "" && !s.conditionOn(fold(instead)) {
			f.suggest(l, c.at, jsonText(instead), "compare what a service's call has")
		}
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
	if entry.text == "*" {
		if stranger := l.stranger(s, entry); stranger != nil {
			l.anybody(s, entry, stranger)
			return
		}
	}
	if s.onlyFederatedCalls() && !s.hasFederated() {
		l.wrongAction(s, "sts:AssumeRole", "an AWS principal")
	}
	owner := entry.account
	if owner == "" {
		owner = accountOf(entry.text)
	}
	if l.options.Account == "" || owner == "" || owner == l.options.Account {
		return
	}
	for _, kind := range callersOf(entry) {
		c := casting{l: l, statement: s, entry: entry, kind: kind}
		if c.search() != nil {
			l.add(
				finding.Security,
				entry.at,
				"third-party-without-external-id",
				"account %s is a different one: require an sts:ExternalId, so that its other customers cannot use its "+
					"access",
				owner,
			)
			return
		}
	}
}

// anybody reports a statement for all AWS accounts, of which one that nobody named
// gets in.
func (l *linter) anybody(s *statement, entry *principalEntry, stranger *found) {
	switch {
	case stranger.guessed:
		l.add(finding.Warning, entry.at, "trust-anybody-who-knows", "every AWS account may assume the role that knows what "+
			"the document says, which is no secret: %s; name the accounts, or add aws:PrincipalOrgID", stranger.who)
	case len(s.conditions) == 0:
		l.add(
			finding.Security,
			entry.at,
			"trust-anybody",
			"every AWS account may assume the role: add a condition on aws:PrincipalOrgID, aws:PrincipalArn, "+
				"aws:PrincipalAccount or sts:ExternalId",
		)
	default:
		f := l.add(finding.Security, entry.at, "trust-anybody",
			"callers whom the document does not name may assume the role: %s", stranger.who)
		l.suggestFirmer(f, s)
	}
}

// claimSlips are names for claims that people use for those that tokens have.
var claimSlips = map[string]string{
	"sub": "sub", "subject": "sub", "aud": "aud", "audience": "aud", "amr": "amr", "azp": "azp", "oaud": "oaud",
}

// keySlip reports a condition key that is almost ISSUER:CLAIM: with the provider's
// ARN for the issuer, another separator, or no issuer at all.
func (l *linter) keySlip(s *statement, c *condition) bool {
	if s.federations() != 1 {
		return false
	}
	i := slices.IndexFunc(s.principal.entries, func(e principalEntry) bool { return e.key == "Federated" })
	if s.principal.entries[i].isSAMLProvider() {
		return false
	}
	issuer := normalIssuer(issuerOf(s.principal.entries[i].text), func(string) {})
	key := strings.TrimPrefix(strings.TrimSpace(c.key), "https://")
	_, named, isARN := strings.Cut(key, "oidc-provider/")
	if isARN {
		key = named
	}
	rest := key
	if len(key) > len(issuer) && fold(key[:len(issuer)]) == fold(issuer) {
		rest = key[len(issuer):]
	} else if isARN || strings.Contains(strings.TrimLeft(key, ":"), ":") {
		if !isARN || claimSlips[fold(key[strings.LastIndexByte(key, ':')+1:])] == "" {
			return false
		}
		rest = key[strings.LastIndexByte(key, ':')+1:] // of another issuer, which is looked at next
		issuer = normalIssuer(key[:len(key)-len(rest)-1], func(string) {})
	}
	claim := claimSlips[fold(strings.TrimLeft(rest, ":./_- "))]
	if claim == "" || issuer == s.principal.entries[i].text || brokenIssuer(issuer) != "" ||
		fold(issuer+":"+claim) == strings.TrimPrefix(c.folded, "https://") {
		return false
	}
	f := l.add(l.without(c), c.at, "key-slip", "no token has the key %s: want ISSUER:CLAIM, %s", c.key, issuer+":"+claim)
	if !s.conditionOn(fold(issuer + ":" + claim)) {
		f.suggest(l, c.at, jsonText(issuer+":"+claim), "write it like this")
	}
	return true
}

// tokenKeys checks the condition keys of tokens' claims.
func (l *linter) tokenKeys(s *statement) {
	var issuers []string
	for i := range s.principal.entries {
		if e := &s.principal.entries[i]; e.key == "Federated" && !e.isSAMLProvider() {
			issuers = append(issuers, fold(issuerOf(e.text)))
		}
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		switch {
		case l.keySlip(s, c):
		case strings.HasPrefix(c.folded, "https://"):
			f := l.add(finding.Error, c.at, "scheme-in-key", "%s: a condition key names the issuer without https://", c.key)
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
			severity := l.without(c)
			if !s.onlyPrincipals("Federated") {
				severity = finding.Warning // others of the statement may have it
			}
			call := "a web-identity call"
			if len(issuers) == 0 {
				call = "a SAML call"
			}
			f := l.add(severity, c.at, "impossible-key", "%s never has %s", call, c.key)
			if tag, isTag := strings.CutPrefix(c.folded, "aws:principaltag/"); isTag {
				f.suggest(l, c.at, jsonText("aws:RequestTag/"+c.key[len(c.key)-len(tag):]), "compare the tag that the token brings")
			}
		}
	}
}

func (l *linter) tokenKey(s *statement, c *condition, issuers []string) {
	for _, issuer := range issuers {
		claim, found := strings.CutPrefix(c.folded, issuer+":")
		if !found {
			continue
		}
		if claims, known := claimKeys(issuer); known && !slices.Contains(claims, claim) {
			l.add(
				l.without(c),
				c.at,
				"impossible-key",
				"the claim %s is not a condition key of %s: only %s are",
				claim,
				issuer,
				strings.Join(claims, ", "),
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
	f := l.add(l.without(c), c.at, "key-of-another-issuer", "%s names no provider of this statement%s", c.key, also)
	if len(issuers) == 1 {
		l.nameProvider(f, s, c)
	}
}

// nameProvider suggests the issuer of the statement's one provider for a condition
// key, if that is well-formed.
func (l *linter) nameProvider(f *placed, s *statement, c *condition) {
	i := slices.IndexFunc(s.principal.entries, func(e principalEntry) bool {
		return e.key == "Federated" && !e.isSAMLProvider()
	})
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
