package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/finding"
)

// RoleFacts are what is known about a role and those who are to assume it. Each
// may be missing; the role's account is LintOptions.Account.
type RoleFacts struct {
	// Partition of the role's account.
	Partition string
	// Issuers of the tokens, without scheme.
	Issuers []string
	// Audience of the tokens; Registered are those that the provider registers.
	Audience   string
	Registered []string
	// Clusters are the ARNs of EKS clusters whose Pod Identity assumes the
	// role.
	Clusters []string
	// Sources are the ARNs of roles of pods with Pod Identity whose sessions are to assume
	// this one: a chain.
	Sources []string
	// Subjects must be admitted: system:serviceaccount:NAMESPACE:NAME.
	Subjects []string
	// Tagged says that the tokens carry session tags.
	Tagged bool
	// Quota of the document in characters; 0 means the default of every
	// account.
	Quota int
}

var noFacts RoleFacts

// facts returns what is known, nothing if none are given.
func (l *linter) facts() *RoleFacts {
	if l.options.Role == nil {
		return &noFacts
	}
	return l.options.Role
}

// quotaCommand, with a number, asks for a longer trust policy (spec issuer-and-sts
// §15.1); nothing is given beyond 8192.
const quotaCommand = "aws service-quotas request-service-quota-increase --region us-east-1 --service-code iam " +
	"--quota-code L-C07B4B0D --desired-value "

// suggestShorter leaves the Sids out if that is enough; nothing else can go
// without a change of meaning.
func (l *linter) suggestShorter(f *placed, limit int) {
	text := l.policy.text
	for _, quota := range []int{4096, 8192} {
		if Size(text) <= quota && f.Command == "" {
			f.Command = quotaCommand + strconv.Itoa(quota)
		}
	}
	for _, s := range slices.Backward(l.policy.statements) {
		at := s.at
		text = text[:at.start] + withoutMember(text[at.start:at.end], "Sid") + text[at.end:]
	}
	if text != l.policy.text && Size(text) <= limit {
		f.suggest(l, span{0, len(l.policy.text)}, text, "leave out the Sids")
	}
}

// withoutMember returns a JSON object's text without one of its members.
func withoutMember(object string, path ...string) string {
	root, _, err := readNodes([]byte(object))
	if err != nil {
		return object
	}
	at, found := memberSpan(root, path)
	if !found {
		return object
	}
	return object[:at.start] + object[at.end:]
}

// memberSpan is a member with the comma that goes with it. If its object would
// be empty then, the object is removed with it.
func memberSpan(object *node, path []string) (span, bool) {
	i := slices.IndexFunc(object.members, func(m member) bool { return m.name == path[0] })
	if i < 0 {
		return span{}, false
	}
	if inner := object.members[i].value; len(path) > 1 {
		at, found := memberSpan(inner, path[1:])
		if !found || !inner.holdsOnly(path[1:]) {
			return at, found
		}
	}
	switch {
	case i > 0:
		return span{object.members[i-1].value.at.end, object.members[i].value.at.end}, true
	case len(object.members) > 1:
		return span{object.members[0].at.start, object.members[1].at.start}, true
	}
	return span{object.members[0].at.start, object.members[0].value.at.end}, true
}

// holdsOnly reports an object with nothing in it but the member at a path that is there.
func (n *node) holdsOnly(path []string) bool {
	return len(n.members) == 1 && (len(path) == 1 || n.members[0].value.holdsOnly(path[1:]))
}

// accounts reports what is not an account number, such as a template's words.
func (l *linter) accounts(c *condition) {
	if l.options.Role == nil || !slices.Contains([]string{"aws:sourceaccount", "aws:principalaccount"}, c.folded) ||
		c.op.compare != compareString ||
		c.op.negated {
		return
	}
	for i := range c.values {
		if source := c.values[i].source; !arn.IsAccount(source) && !strings.Contains(source, "${") {
			l.add(
				finding.Error,
				c.valuesAt[i],
				"bad-account",
				"%q is not an account number, which has 12 digits%s",
				source,
				unfilled(source),
			)
		}
	}
}

// wholeTrust checks the document as a whole, and fills in what the facts say.
func (l *linter) wholeTrust() {
	l.fillPlaceholders()
	if len(l.decoder.violations) > 0 {
		return
	}
	isBroken := func(f placed) bool { return f.Severity == finding.Error && f.Rule != "over-quota" }
	if !slices.ContainsFunc(l.findings, isBroken) {
		for _, subject := range l.facts().Subjects {
			l.mustAdmit(subject)
		}
		for _, cluster := range l.facts().Clusters {
			if len(l.facts().Sources) == 0 { // its pods come by their own role otherwise
				l.mustAdmitCluster(cluster)
			}
		}
		for _, source := range l.facts().Sources {
			l.mustAdmitSource(source)
		}
	}
	for i := range l.policy.statements {
		l.admitsNobody(&l.policy.statements[i])
	}
}

// fillPlaceholders suggests the facts for what a template left open (spec
// issuer-and-sts §16 row 9).
func (l *linter) fillPlaceholders() {
	for i := range l.findings {
		f := &l.findings[i]
		if f.Suggested != nil ||
			!slices.Contains([]string{"placeholder", "bad-federated", "bad-value", "bad-account"}, f.Rule) {
			continue
		}
		for j := range l.policy.statements {
			l.fillPlaceholder(f, &l.policy.statements[j])
		}
	}
}

func (l *linter) fillPlaceholder(f *placed, s *statement) {
	within := func(at span) bool { return at.start <= f.at.start && f.at.end <= at.end }
	facts := l.facts()
	oneIssuer := len(facts.Issuers) == 1
	if s.principal != nil {
		for i := range s.principal.entries {
			e := &s.principal.entries[i]
			if e.key != "Federated" || !within(e.at) {
				continue
			}
			if issuer := l.meantIssuer(s, e); issuer != "" && l.options.Account != "" {
				f.suggest(l, e.at, jsonText(l.providerARN(issuer)), "name the provider")
			} else if f.Command == "" {
				f.Command = NeedsIssuer
			}
		}
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if within(c.at) && oneIssuer && isTokenKey(c.folded) {
			f.suggest(l, c.at, jsonText(facts.Issuers[0]+":"+claimOf(c)), "name the issuer")
		}
		for j, at := range c.valuesAt {
			switch {
			case !within(at) || len(c.valuesAt) != 1:
			case claimOf(c) == "sub" && len(facts.Subjects) == 1:
				f.suggest(l, c.valuesAt[j], jsonText(facts.Subjects[0]), "name the service account")
			case c.folded == "aws:sourcearn" && len(facts.Clusters) == 1:
				f.suggest(l, c.valuesAt[j], jsonText(facts.Clusters[0]), "name the cluster")
			case c.folded == "aws:sourceaccount" && l.options.Account != "":
				f.suggest(l, c.valuesAt[j], jsonText(l.options.Account), "name the account")
			}
		}
	}
}

// meantIssuer is the tokens' issuer if it is known; else the principal's own if
// that is well-formed, else the condition keys'. Empty if none is.
func (l *linter) meantIssuer(s *statement, entry *principalEntry) string {
	own := normalIssuer(issuerOf(entry.text), func(string) {})
	switch issuers := l.facts().Issuers; {
	case len(issuers) == 1:
		return issuers[0]
	case len(issuers) > 1:
		return ""
	case own != entry.text && brokenIssuer(own) == "":
		return own
	case s.federations() == 1:
		return s.issuerOfKeys()
	}
	return ""
}

// claimOf is the claim that a token's key is about.
func claimOf(c *condition) string { return c.key[strings.LastIndexByte(c.key, ':')+1:] }

// providerARN is that of an issuer in the role's account.
func (l *linter) providerARN(issuer string) string {
	return "arn:" + cmp.Or(l.facts().Partition, "aws") + ":iam::" + l.options.Account + ":oidc-provider/" + issuer
}

// mustAdmit asks the engine about a service account that is to be admitted.
func (l *linter) mustAdmit(subject string) {
	issuers := l.facts().Issuers
	if len(issuers) == 0 {
		issuers = l.issuers()
	}
	for _, issuer := range issuers {
		request := l.webRequest(issuer, subject)
		actions := (&Taking{Action: "sts:AssumeRoleWithWebIdentity"}).Actions()
		if l.facts().Tagged {
			actions = append(actions, "sts:TagSession")
		}
		decision, _ := DecideAll(request, actions, &Policies{Trust: l.policy})
		if decision.Effect != Allowed {
			l.refused(request, actions, issuer, subject, decision)
		}
	}
}

// issuers are those that Allow statements trust.
func (l *linter) issuers() []string {
	var all []string
	for i := range l.policy.statements {
		s := &l.policy.statements[i]
		if s.principal == nil || !s.allow {
			continue
		}
		for _, e := range s.principal.entries {
			if issuer := issuerOf(e.text); e.key == "Federated" && issuer != e.text && !slices.Contains(all, issuer) {
				all = append(all, issuer)
			}
		}
	}
	return all
}

// webRequest is the call of a workload, as STS makes it.
func (l *linter) webRequest(issuer, subject string) *Request {
	account, provider := l.options.Account, ""
	for i := range l.policy.statements {
		if s := &l.policy.statements[i]; s.principal != nil && s.allow {
			for _, e := range s.principal.entries {
				if e.key == "Federated" && issuerOf(e.text) == issuer &&
					(account == "" || accountOf(e.text) == account) {
					provider, account = e.text, accountOf(e.text)
				}
			}
		}
	}
	if provider == "" {
		provider = l.providerARN(issuer)
	}
	context := NewContext().Set(issuer+":sub", subject).
		Set(issuer+":aud", l.audience()).
		Set("sts:RoleSessionName", "lint")
	return &Request{
		Principal: Principal{
			Kind:    WebIdentity,
			ARN:     provider,
			UserID:  provider,
			Account: account,
		}, Action: "sts:AssumeRoleWithWebIdentity",
		Resource: "arn:" + partitionOf(provider) + ":iam::" + account + ":role/role", Context: context,
	}
}

// audience is that of the tokens as far as it is known.
func (l *linter) audience() string {
	if facts := l.facts(); facts.Audience == "" && len(facts.Registered) == 1 {
		return facts.Registered[0]
	}
	return cmp.Or(l.facts().Audience, stsAudience)
}

// refused says who is kept out, and which edit admits them if one does.
func (l *linter) refused(request *Request, actions []string, issuer, subject string, decision Decision) {
	if decision.Effect == ExplicitDeny {
		l.denied(request, actions, issuer, subject)
		return
	}
	because := "no statement covers it"
	if misses := ExplainAll(request, actions, &Policies{Trust: l.policy}).NearMisses; len(misses) > 0 {
		because = misses[0].Because
	}
	at, c := l.subjectCondition(issuer)
	f := l.add(finding.Error, at, "subject-refused", "%s of %s is not let in: %s", subject, issuer, because)
	isDefault := strings.HasSuffix(subject, ":default")
	if isDefault {
		f.Message += "; a pod that runs as default usually lacks its serviceAccountName"
	}
	if c == nil {
		f.Command = "rolecall trust generate --merge FILE"
		return
	}
	last := c.valuesAt[len(c.valuesAt)-1]
	old := l.policy.text[last.start:last.end]
	text := old + ", " + jsonText(subject)
	if len(c.valuesAt) == 1 && !strings.HasSuffix(strings.TrimRight(l.policy.text[:last.start], " \t\r\n"), "[") {
		text = "[" + text + "]"
	}
	edit := last.replacedBy(text)
	edited, err := Parse(Trust, l.policy.name, []byte(edit.Apply(l.policy.text)))
	if err != nil {
		return
	}
	if d, _ := DecideAll(request, actions, &Policies{Trust: edited}); d.Effect == Allowed {
		f.suggest(l, last, text, "admit it too")
		f.Suggested.Manual = isDefault
	}
}

// subjectCondition finds the condition with an issuer's exact subjects.
func (l *linter) subjectCondition(issuer string) (span, *condition) {
	at := span{0, 1}
	for i := range l.policy.statements {
		s := &l.policy.statements[i]
		for j := range s.conditions {
			if c := &s.conditions[j]; s.allow && c.folded == fold(issuer)+":sub" && c.op.compare == compareString &&
				!c.op.negated &&
				len(c.values) > 0 {
				return c.at, c
			}
		}
		if s.allow && s.principal != nil &&
			slices.ContainsFunc(
				s.principal.entries,
				func(e principalEntry) bool { return issuerOf(e.text) == issuer },
			) {
			at = s.at
		}
	}
	return span{at.start, at.start + 1}, nil
}

// denied names the Deny that overrides (spec issuer-and-sts §16 row 20).
func (l *linter) denied(request *Request, actions []string, issuer, subject string) {
	explained := ExplainAll(request, actions, &Policies{Trust: l.policy})
	for i := range l.policy.statements {
		s := &l.policy.statements[i]
		if s.allow || len(explained.Documents) == 0 || explained.Documents[0].Statements[i].Role != "decides" {
			continue
		}
		also := ""
		for j := range s.conditions {
			if c := &s.conditions[j]; !isTokenKey(c.folded) {
				also = fmt.Sprintf(", unless %s %s says otherwise", c.operator, c.key)
			}
		}
		l.sid = s.sid
		f := l.add(
			finding.Error,
			s.at,
			"explicit-deny",
			"%s of %s is kept out by this Deny, which overrides every Allow%s",
			subject,
			issuer,
			also,
		)
		if at, ok := l.statementSpan(i); ok {
			f.suggest(l, at, "", "remove the Deny if it is not meant for this service account")
			f.Suggested.Manual = true
		}
		l.sid = ""
	}
}

// statementSpan is a statement of a list with the comma that goes with it.
func (l *linter) statementSpan(i int) (span, bool) {
	all := l.policy.statements
	switch {
	case i > 0:
		return span{all[i-1].at.end, all[i].at.end}, true
	case len(all) > 1:
		return span{all[0].at.start, all[1].at.start}, true
	}
	return span{}, false
}
