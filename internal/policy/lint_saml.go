package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// signInHosts are where a partition's console takes assertions in; a region's host has the
// region's name before it. Of other partitions that is not known here.
var signInHosts = []struct{ partition, host string }{
	{"aws", "signin.aws.amazon.com"},
	{"aws-cn", "signin.amazonaws.cn"},
	{"aws-us-gov", "signin.amazonaws-us-gov.com"},
}

// signInHost is that of a partition; empty if it is not known.
func signInHost(partition string) string {
	for _, one := range signInHosts {
		if one.partition == partition {
			return one.host
		}
	}
	return ""
}

const samlAudience = "saml:aud"

// signInPaths are what comes behind the host: the last is that of a provider that decrypts.
var signInPaths = []string{"/saml", "/static/saml", "/saml/acs/~"}

// samlKeys are the condition keys of an assertion. The first six are always there; other
// attributes are no keys.
var samlKeys = []string{
	"saml:aud", "saml:doc", "saml:iss", "saml:namequalifier", "saml:sub", "saml:sub_type",
	"saml:cn", "saml:commonname", "saml:eduorghomepageuri", "saml:eduorgidentityauthnpolicyuri", "saml:eduorglegalname",
	"saml:eduorgsuperioruri", "saml:eduorgwhitepagesuri", "saml:edupersonaffiliation", "saml:edupersonassurance",
	"saml:edupersonentitlement", "saml:edupersonnickname", "saml:edupersonorgdn", "saml:edupersonorgunitdn",
	"saml:edupersonprimaryaffiliation", "saml:edupersonprimaryorgunitdn", "saml:edupersonprincipalname",
	"saml:edupersonscopedaffiliation", "saml:edupersontargetedid", "saml:givenname", "saml:mail", "saml:name",
	"saml:organizationstatus", "saml:primarygroupsid", "saml:surname", "saml:uid", "saml:x500uniqueidentifier",
}

// samlProviderName is what a provider may be called.
var samlProviderName = lazyregexp.New(`^[A-Za-z0-9._-]{1,128}$`)

// isSAMLProvider reports a principal that is a SAML provider.
func (e *principalEntry) isSAMLProvider() bool {
	return e.key == "Federated" && strings.Contains(e.text, ":saml-provider/")
}

// samlKey is the domain of what an assertion says. Nobody else can sign for the provider, so
// a stranger is one of its own users whose assertion was made for somebody else than AWS: who
// got it can pass it on.
func (c *casting) samlKey(key string) domain {
	if c.kind != WebIdentity || !c.isSAML() || !slices.Contains(samlKeys, key) {
		return missing
	}
	switch key {
	case samlAudience:
		return c.samlAudience()
	case "saml:doc":
		_, name, _ := strings.Cut(c.entry.text, ":saml-provider/")
		return domain{fixed: []string{accountOf(c.entry.text) + "/" + name}}
	case "saml:iss", "saml:namequalifier", "saml:sub", "saml:sub_type":
		return always
	}
	return choosable
}

// samlAudience is where an assertion was made to be sent to.
func (c *casting) samlAudience() domain {
	host := signInHost(partitionOf(c.entry.text))
	any := spelling{ops: []op{anyOne, anyRun}}
	switch {
	case c.insiders && host == "":
		return domain{shapes: []spelling{any}}
	case c.insiders:
		return domain{shapes: signIns(host)}
	}
	// STS accepts no assertion without Recipient, but a condition that holds without it does not check it.
	d := domain{
		shapes: []spelling{spell("https://~.~/~"), spell("https://~/*"), any}, absent: true,
		// No address has a * in it, and the second is AWS's name as an audience, which is no address.
		not: []spelling{{ops: []op{anyRun, '*', anyRun}}, ignoringCase("urn:amazon:webservices*")},
	}
	for _, one := range signInHosts {
		for _, before := range []string{"http://", "https://", "http://.", "https://.", "http://~.", "https://~."} {
			d.not = append(d.not, ignoringCase(before+one.host), ignoringCase(before+one.host+"/*"))
		}
		if !c.guessing { // a service of the same provider whose address is made up to look like AWS's
			d.not = append(d.not, ignoringCase("*"+one.host+"/*"))
		}
	}
	if host == "" {
		d.not = append(d.not, c.literals(samlAudience)...)
	}
	return d
}

// ignoringCase is a spelling of a shape in any letter case.
func ignoringCase(shape string) spelling {
	s := spell(shape)
	s.folded = true
	return s
}

// signIns are the addresses at which AWS takes assertions in on a host, and on those of
// regions.
func signIns(host string) []spelling {
	var all []spelling
	for _, path := range signInPaths {
		all = append(all, spell("https://"+host+path), spell("https://~."+host+path))
	}
	return all
}

// isSignIn reports an address at which AWS takes assertions in.
func isSignIn(partition, address string) bool {
	host := signInHost(partition)
	return host != "" && domain{shapes: signIns(host)}.fits(address)
}

// saml checks a statement's SAML provider, and asks the engine whom it lets in.
func (l *linter) saml(s *statement, entry *principalEntry) {
	l.samlProvider(entry)
	l.samlValues(s, entry)
	stranger := l.stranger(s, entry)
	if stranger == nil {
		return
	}
	at, message := entry.at, "every assertion of the provider is accepted, also one that it made for another service "+
		"than AWS, which can pass it on: no condition on SAML:aud"
	for i := range s.conditions {
		if c := &s.conditions[i]; c.folded == samlAudience {
			at = c.at
			message = "an assertion that the provider made for another service than AWS, which can pass it on, " +
				"is accepted: " + stranger.who
		}
	}
	severity := finding.Security
	if stranger.guessed {
		severity = finding.Warning
		message += "; name the regions in full"
	}
	f := l.add(severity, at, "saml-without-audience", "%s", message)
	if !stranger.guessed {
		l.suggestSignIn(f, s, entry)
	}
}

// samlProvider checks the name of a SAML provider, for which STS looks in the role's
// account.
func (l *linter) samlProvider(entry *principalEntry) {
	_, name, _ := strings.Cut(entry.text, ":saml-provider/")
	if slices.ContainsFunc(l.decoder.violations, func(v violation) bool { return v.at == entry.at }) {
		return
	}
	if !samlProviderName.MatchString(name) {
		l.add(finding.Error, entry.at, "provider-slip", "no SAML provider has the name %q: it has 1 to 128 letters, "+
			"digits and ._- in it%s", name, unfilled(name))
		return
	}
	l.providerPlace(entry, "create-saml-provider --name "+name+" --saml-metadata-document file://metadata.xml")
}

// samlValues looks for keys that no assertion has, and for audiences that are almost AWS's;
// once, if the statement has several providers.
func (l *linter) samlValues(s *statement, entry *principalEntry) {
	if i := slices.IndexFunc(s.principal.entries, func(e principalEntry) bool { return e.isSAMLProvider() }); i < 0 ||
		s.principal.entries[i].at != entry.at {
		return
	}
	partition := partitionOf(entry.text)
	for i := range s.conditions {
		c := &s.conditions[i]
		switch {
		case strings.HasPrefix(c.folded, "saml:") && !slices.Contains(samlKeys, c.folded):
			l.add(l.without(c), c.at, "impossible-key", "no assertion has the key %s: other attributes than those that "+
				"IAM lists are no condition keys", c.key)
		case c.folded == samlAudience && c.comparesText() && signInHost(partition) != "" &&
			!slices.ContainsFunc(c.values, func(p pattern) bool { return isSignIn(partition, p.source) }):
			for j := range c.values {
				l.samlSlip(c, j, partition)
			}
		}
	}
}

// regionOfSignIn is the region in an address that is almost one of a region.
var regionOfSignIn = lazyregexp.New(`(?i)\b([a-z]{2,4}(?:-[a-z]+)+-[0-9]+)\.signin`)

func (l *linter) samlSlip(c *condition, j int, partition string) {
	source := c.values[j].source
	folded, wanted := fold(source), "https://"+signInHost(partition)+"/saml"
	isNear := editDistance(folded, wanted, 3) <= 3 || strings.HasPrefix(folded, "urn:amazon:webservices") ||
		slices.ContainsFunc(signInHosts, func(one struct{ partition, host string }) bool {
			return strings.Contains(folded, one.host)
		})
	if !isNear || hasWildcard(source) || c.values[j].segments != nil {
		return
	}
	region := regionOfSignIn.FindStringSubmatch(source)
	if region != nil && arn.PartitionOf(fold(region[1])) == partition {
		wanted = "https://" + fold(region[1]) + "." + signInHost(partition) + "/saml"
	}
	if (domain{shapes: []spelling{ignoringCase(wanted)}}).fits(source) && c.op.compare == compareFolded {
		return
	}
	l.add(finding.Error, c.valuesAt[j], "aud-slip",
		"no assertion that AWS takes in has the audience %q: it looks like %s", source, wanted).
		suggest(l, c.valuesAt[j], jsonText(wanted), "write it like this")
}

// suggestSignIn suggests to require AWS's address as the audience, where that lets in
// somebody, and no stranger any more.
func (l *linter) suggestSignIn(f *placed, s *statement, entry *principalEntry) {
	partition := partitionOf(entry.text)
	host := signInHost(partition)
	if host == "" {
		return
	}
	if slices.ContainsFunc(s.principal.entries, func(e principalEntry) bool {
		return !e.isSAMLProvider() || partitionOf(e.text) != partition
	}) {
		f.Message += "; the statement's other principals have no such key: write one for the provider alone"
		return
	}
	body := l.policy.text[s.at.start:s.at.end]
	var addresses []string
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.folded != samlAudience || (c.op.negated && !c.op.ifExists) {
			continue
		}
		for j := range c.values {
			if address := c.values[j].source; c.comparesText() && isSignIn(partition, address) {
				addresses = appendNew(addresses, address)
			}
		}
		body = withoutMember(body, "Condition", c.operator, c.key)
	}
	value := jsonText("https://" + host + "/saml")
	if len(addresses) > 0 {
		quoted := make([]string, len(addresses))
		for i, address := range addresses {
			quoted[i] = jsonText(address)
		}
		value = strings.Join(quoted, ", ")
	}
	if len(addresses) > 1 {
		value = "[" + value + "]"
	}
	body, ok := withCondition(body, "StringEquals", `"SAML:aud": `+value)
	if !ok {
		return
	}
	edited, err := Parse(Trust, l.policy.name, []byte(l.policy.text[:s.at.start]+body+l.policy.text[s.at.end:]))
	if err != nil {
		return
	}
	then := &linter{options: l.options, policy: edited, decoder: l.decoder, effort: maxEffort}
	i := slices.IndexFunc(l.policy.statements, func(one statement) bool { return one.at == s.at })
	after := &edited.statements[i]
	for j := range after.principal.entries {
		e := &after.principal.entries[j]
		ours := casting{l: then, statement: after, kind: WebIdentity, entry: e, insiders: true}
		if then.stranger(after, e) != nil || ours.search() == nil {
			return
		}
	}
	f.suggest(l, s.at, body, "require AWS's address; add those of regions if the provider uses them")
}

// withCondition returns a statement's text with one more key under an operator.
func withCondition(object, operator, key string) (string, bool) {
	root, _, err := readNodes([]byte(object))
	if err != nil {
		return object, false
	}
	within := func(n *node, text string) string {
		if len(n.members) > 0 {
			text += ", "
		}
		return object[:n.at.start+1] + text + object[n.at.start+1:]
	}
	for _, m := range root.members {
		if m.name != "Condition" {
			continue
		}
		for _, inner := range m.value.members {
			if inner.name == operator {
				return within(inner.value, key), true
			}
		}
		return within(m.value, jsonText(operator)+": {"+key+"}"), true
	}
	body := strings.TrimRight(object[:strings.LastIndexByte(object, '}')], " \t\r\n")
	return body + `, "Condition": {` + jsonText(operator) + ": {" + key + "}}}", true
}
