package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
)

// providerName checks the name of an OIDC provider: for mistakes of its own, and
// against what is known about the cluster and the role (spec issuer-and-sts §16
// rows 2 to 6, 22, 37).
func (l *linter) providerName(s *statement, entry *principalEntry) {
	head, issuer, isProvider := strings.Cut(entry.text, ":oidc-provider/")
	if !isProvider || slices.ContainsFunc(l.decoder.violations, func(v violation) bool { return v.at == entry.at }) {
		return
	}
	var notes []string
	normal := normalIssuer(issuer, func(note string) { notes = append(notes, note) })
	if why := brokenIssuer(normal); why != "" {
		l.brokenProvider(s, entry, head, issuer, why)
		return
	}
	if normal != issuer {
		f := l.add(
			finding.Error,
			entry.at,
			"provider-slip",
			"no provider has the name %s: %s",
			issuer,
			strings.Join(notes, ", "),
		)
		l.renameIssuer(f, s, entry, head+":oidc-provider/"+normal, "write it like this, here and in the condition keys")
		return
	}
	if l.issuerOfAnother(s, entry, head, issuer) {
		return
	}
	l.providerPlace(entry, "create-open-id-connect-provider --url https://"+issuer+" --client-id-list "+l.audience())
}

// providerPlace compares the provider's account and partition with the role's.
func (l *linter) providerPlace(entry *principalEntry, create string) {
	if account := accountOf(entry.text); l.options.Account != "" && account != l.options.Account {
		f := l.add(
			finding.Error,
			entry.at,
			"provider-in-another-account",
			"the provider is in account %s, the role in %s: STS looks for it only in the role's account",
			account,
			l.options.Account,
		)
		f.Command = "aws iam " + create
		f.suggest(
			l,
			entry.at,
			jsonText(strings.Replace(entry.text, "::"+account+":", "::"+l.options.Account+":", 1)),
			"name the provider of the role's account, and create it if it does not exist",
		)
	}
	if partition := partitionOf(entry.text); l.facts().Partition != "" && partition != l.facts().Partition {
		l.add(finding.Error, entry.at, "provider-in-another-partition", "the provider is in partition %s, the role in "+
			"%s", partition, l.facts().Partition).
			suggest(
				l,
				entry.at,
				jsonText(strings.Replace(entry.text, "arn:"+partition+":", "arn:"+l.facts().Partition+":", 1)),
				"name the role's partition",
			)
	}
}

// closeFirst leaves it to a person to name a provider that is found, while strangers would
// get in by it who are kept out as long as it is not.
func closeFirst(findings []placed) {
	if !slices.ContainsFunc(findings, func(f placed) bool { return LetsStrangersIn(f.Rule) }) {
		return
	}
	for i := range findings {
		if f := &findings[i]; f.Suggested != nil && strings.HasPrefix(f.Rule, "provider-") {
			f.Suggested.Manual = true
		}
	}
}

// brokenProvider suggests a well-formed issuer for a name that no simple mistake
// explains: the one of the tokens if it is known, else the one of the condition
// keys. Without one a person has to say it: another broken name would be no better.
func (l *linter) brokenProvider(s *statement, entry *principalEntry, head, issuer, why string) {
	f := l.add(finding.Error, entry.at, "provider-slip", "no provider has the name %s: %s", issuer, why)
	known, description := "", "name the tokens' issuer, here and in the condition keys"
	if facts := l.facts(); len(facts.Issuers) == 1 {
		known = facts.Issuers[0]
	} else if len(facts.Issuers) == 0 && s.federations() == 1 {
		known, description = s.issuerOfKeys(), "name the issuer of the condition keys, which is well-formed"
	}
	if known == "" {
		f.Command = NeedsIssuer
		return
	}
	l.renameIssuer(f, s, entry, head+":oidc-provider/"+known, description)
}

// NeedsIssuer is the command of a finding that no edit can fix until somebody
// says which issuer is meant.
const NeedsIssuer = "rolecall trust lint --fix --account ID --issuer URL FILE"

// issuerOfKeys is the one well-formed issuer of the statement's condition keys,
// empty if there is none, or several.
func (s *statement) issuerOfKeys() string {
	found := ""
	for i := range s.conditions {
		issuer := issuerOfKey(&s.conditions[i])
		switch {
		case issuer == "" || brokenIssuer(issuer) != "":
		case issuerClaims(issuer) != nil || (found != "" && found != issuer):
			return ""
		default:
			found = issuer
		}
	}
	return found
}

// issuerOfKey is the issuer in a condition key, its mistakes corrected; empty if
// the key is not about tokens.
func issuerOfKey(c *condition) string {
	key := strings.TrimPrefix(c.key, "https://")
	if !isTokenKey(fold(key)) {
		return ""
	}
	return normalIssuer(strings.TrimSuffix(key, ":"+claimOf(c)), func(string) {})
}

// issuerOfAnother compares with the issuers of the tokens. A document may trust
// more clusters than those in question, so only an issuer that it names nowhere
// is missing.
func (l *linter) issuerOfAnother(s *statement, entry *principalEntry, head, issuer string) bool {
	named := l.issuers()
	var missing []string
	for _, wanted := range l.facts().Issuers {
		if !slices.Contains(named, wanted) {
			missing = append(missing, wanted)
		}
	}
	internal := strings.HasPrefix(issuer, "kubernetes.default.svc")
	i := slices.IndexFunc(missing, func(wanted string) bool { return nearMiss(issuer, wanted) != "" })
	near := i >= 0
	if !near && len(missing) == 1 && (len(named) == 1 || internal) {
		i = 0
	}
	switch {
	case slices.Contains(l.facts().Issuers, issuer):
		return false
	case i >= 0:
		wanted := missing[i]
		message := "no token comes from " + issuer + ": theirs come from " + wanted
		if why := nearMiss(issuer, wanted); why != "" {
			message += " (" + why + ")"
		}
		f := l.add(finding.Error, entry.at, "provider-of-another-issuer", "%s", message)
		l.renameIssuer(
			f,
			s,
			entry,
			head+":oidc-provider/"+wanted,
			"name the tokens' issuer, here and in the condition keys",
		)
		f.Suggested.Manual = !near && !internal && s.names(issuer) // it seems to trust another cluster
		return true
	case internal:
		f := l.add(
			finding.Error,
			entry.at,
			"issuer-not-public",
			"%s is Kubernetes' default issuer, which AWS cannot reach",
			issuer,
		)
		f.Command = "rolecall issuer init"
		return true
	}
	return false
}

// renameIssuer suggests another provider for a statement, with the condition keys
// that go with it: between two edits nothing would narrow who is let in.
func (l *linter) renameIssuer(f *placed, s *statement, entry *principalEntry, provider, description string) {
	before, after := issuerOf(entry.text), issuerOf(provider)
	goes := func(c *condition) bool {
		issuer := issuerOfKey(c)
		return strings.HasPrefix(c.folded, fold(before)+":") ||
			(s.federations() == 1 && issuer != "" && (issuer == after || brokenIssuer(issuer) != ""))
	}
	edits := []finding.Edit{entry.at.replacedBy(jsonText(provider))}
	for i := range s.conditions {
		if c := &s.conditions[i]; goes(c) {
			edits = append(edits, c.at.replacedBy(jsonText(after+":"+claimOf(c))))
		}
	}
	slices.SortFunc(edits, func(a, b finding.Edit) int { return b.Start - a.Start })
	text := l.policy.text
	end := s.at.end
	for i := range edits {
		text = edits[i].Apply(text)
		end += len(edits[i].Text) - (edits[i].End - edits[i].Start)
	}
	f.suggest(l, s.at, text[s.at.start:end], "%s", description)
}

// names reports whether the statement's conditions are about an issuer too: then
// it is hardly a mistake.
func (s *statement) names(issuer string) bool {
	return slices.ContainsFunc(
		s.conditions,
		func(c condition) bool { return strings.HasPrefix(c.folded, fold(issuer)+":") },
	)
}

// webPrincipal reports a statement for tokens that names their provider as
// another kind of principal, which matches none (spec issuer-and-sts §16 row 19).
func (l *linter) webPrincipal(s *statement) bool {
	if !s.allowsAction("sts:AssumeRoleWithWebIdentity") || s.hasFederated() || s.principal.not {
		return false
	}
	account, issuer := l.options.Account, ""
	meant := l.options.Role != nil && len(l.facts().Issuers) == 1 && !s.allowsAction("sts:AssumeRole")
	if meant {
		issuer = l.facts().Issuers[0]
	}
	for i := range s.conditions {
		if c := &s.conditions[i]; isTokenKey(c.folded) {
			issuer, meant = strings.TrimSuffix(c.key, ":"+claimOf(c)), true
		}
	}
	for _, e := range s.principal.entries {
		if named := issuerOf(e.text); named != e.text {
			issuer, meant = named, true
		}
		if account == "" {
			account = accountOf(e.text)
		}
	}
	if !meant {
		return false
	}
	f := l.add(
		finding.Error,
		s.principal.at,
		"web-identity-principal",
		"a web identity is a Federated principal: neither %s nor %q covers one",
		l.policy.text[s.principal.at.start:s.principal.at.end],
		"*",
	)
	if len(account) != 12 || issuer == "" {
		return true
	}
	partition := l.facts().Partition
	if partition == "" {
		partition = "aws"
		for _, e := range s.principal.entries {
			if strings.HasPrefix(e.text, "arn:") {
				partition = partitionOf(e.text)
			}
		}
	}
	f.suggest(
		l,
		s.principal.at,
		`{"Federated": `+jsonText("arn:"+partition+":iam::"+account+":oidc-provider/"+issuer)+"}",
		"name the provider",
	)
	return true
}
