package policy

import (
	"iter"
	"slices"
	"strings"
)

// githubClaims are condition keys for tokens of GitHub Actions beside sub and aud,
// with which of them say whose repository it is: what a stranger's workflow cannot
// choose. job_workflow_ref is that of a called workflow, which may be anybody's public one.
var githubClaims = map[string]bool{
	"actor":            false,
	"actor_id":         false,
	"enterprise_id":    true,
	"environment":      false,
	"job_workflow_ref": false,
	"ref":              false,
	"repository":       true,
	"repository_id":    true,
	"workflow":         false,
}

// isGitHub reports an issuer of GitHub Actions: enterprises have some of their own.
func isGitHub(issuer string) bool { return strings.HasPrefix(fold(issuer), githubActions) }

// claimKeys are the claims that STS makes condition keys of for an issuer. Those of
// well-known issuers are not all known here: then ok is false.
func claimKeys(issuer string) (keys []string, ok bool) {
	keys = []string{"sub", "aud", "azp", "amr", "oaud", "email"}
	switch {
	case isGitHub(issuer):
		for claim := range githubClaims {
			keys = append(keys, claim)
		}
		slices.Sort(keys)
		return keys, true
	case issuerClaims(issuer) != nil:
		return nil, false
	}
	return keys, true
}

// identifies reports whether a claim says who has the token, so that a stranger does
// not have the same.
func identifies(issuer, claim string) bool {
	switch {
	case claim == "sub" || claim == "email":
		return true
	case isGitHub(issuer):
		return githubClaims[claim]
	case fold(issuer) == google && claim == googleOrganization:
		return true
	}
	// Those who have a token made choose for whom it is.
	return claim != "oaud" && slices.Contains(issuerClaims(issuer), claim)
}

// claim is the domain of a token's claim.
func (c *casting) claim(key string) domain {
	claim, ofIssuer := strings.CutPrefix(key, c.issuer()+":")
	if c.kind != WebIdentity || c.isSAML() || !ofIssuer {
		return missing
	}
	issuer := c.issuer()
	if keys, known := claimKeys(issuer); known && !slices.Contains(keys, claim) {
		return missing
	}
	d := domain{shapes: []spelling{{ops: []op{anyOne, anyRun}}}}
	switch {
	case c.guest && claim == "amr":
		return domain{fixed: []string{unauthenticated}}
	case c.guest && claim == "aud":
		return d
	case claim == "aud" && !identifies(issuer, claim):
		return c.audience(d)
	case claim != "sub" && claim != "aud":
		d.absent = true
	}
	if claim == "sub" && issuerClaims(issuer) == nil {
		// A cluster's, unless what the document says of it can be no service account.
		account := spell("system:serviceaccount:~:~")
		if d.shapes = append([]spelling{account}, d.shapes...); isEKS(issuer) || c.namesAccounts(key, account) {
			d.shapes = d.shapes[:1]
		}
	}
	if c.insiders || !identifies(issuer, claim) {
		return d
	}
	if claim != "sub" {
		d.not = append(c.literals(key), c.ownersOf(key, "/")...)
		return d
	}
	d.not = c.subjectsNamed(key)
	return d
}

// isEKS reports an issuer of EKS, whose tokens are all service accounts'.
func isEKS(issuer string) bool {
	host, _, _ := strings.Cut(issuer, "/")
	return host != "" && host == eksHost(host)
}

// namesAccounts reports whether a value for subjects can mean service accounts.
func (c *casting) namesAccounts(key string, account spelling) bool {
	for i := range c.statement.conditions {
		one := &c.statement.conditions[i]
		if one.folded != key || one.op.negated {
			continue
		}
		for _, wanted := range c.spellings(one) {
			if _, ok := c.witness([]spelling{account, wanted}, nil); ok {
				return true
			}
		}
	}
	return false
}

// audience is one that the provider registers: what the facts say, or anything that
// the document says and that could be one.
func (c *casting) audience(d domain) domain {
	facts := c.l.facts()
	switch {
	case facts.Audience != "":
		return domain{fixed: []string{facts.Audience}}
	case len(facts.Registered) > 0:
		return domain{fixed: facts.Registered}
	}
	d.not = []spelling{spell("system:*"), spell("repo:*")}
	return d
}

// subjectsNamed are the subjects that the document names, and all of a namespace, an
// owner of repositories, … that it names: who is in charge there is trusted.
func (c *casting) subjectsNamed(key string) []spelling {
	named := c.literals(key)
	for one, value := range c.wanted(key) {
		if prefix, ok := ownerPrefix(value.source); ok && value.segments == nil {
			named = append(named, spelling{
				ops: append(exactly(prefix).ops, anyRun), folded: one.op.compare == compareFolded,
			})
		}
	}
	return named
}

// wanted are the values that the document's conditions on a key compare it with, other than
// to rule them out.
func (c *casting) wanted(key string) iter.Seq2[*condition, *pattern] {
	return func(yield func(*condition, *pattern) bool) {
		for i := range c.l.policy.statements {
			for j := range c.l.policy.statements[i].conditions {
				one := &c.l.policy.statements[i].conditions[j]
				if one.folded != key || one.op.negated {
					continue
				}
				for k := range one.values {
					if !yield(one, &one.values[k]) {
						return
					}
				}
			}
		}
	}
}

// sharedNamespaces hold accounts of many parties.
var sharedNamespaces = []string{"default", "kube-system", "kube-public", "kube-node-lease"}

// ownerPrefix is how the subjects of one owner begin, if a value names one: of a
// namespace, of an owner of repositories, or whatever is before the second delimiter
// of another subject.
func ownerPrefix(source string) (string, bool) {
	if rest, found := strings.CutPrefix(source, "*:"); found && strings.Count(rest, ":") == 1 {
		source = "system:serviceaccount:" + rest // only a namespace and a name fit
	}
	if rest, found := strings.CutPrefix(source, "system:serviceaccount:"); found {
		namespace, _, whole := strings.Cut(rest, ":")
		return "system:serviceaccount:" + namespace + ":",
			whole && namespace != "" && !strings.ContainsAny(namespace, "*?") &&
				!slices.Contains(sharedNamespaces, namespace)
	}
	first := strings.IndexAny(source, ":/|")
	if first <= 0 {
		return "", false
	}
	second := strings.IndexAny(source[first+1:], ":/|")
	if second <= 0 {
		return "", false
	}
	prefix := source[:first+1+second+1]
	return prefix, !strings.ContainsAny(prefix, "*?") && !strings.HasPrefix(source, "system:")
}

// ownersOf are the texts that begin with what a value says before a delimiter:
// OWNER/ of OWNER/REPOSITORY.
func (c *casting) ownersOf(key, delimiter string) []spelling {
	var all []spelling
	for _, value := range c.wanted(key) {
		owner, _, found := strings.Cut(value.source, delimiter)
		if found && owner != "" && !strings.ContainsAny(owner, "*?$") {
			all = append(all, spell(owner+delimiter+"*"))
		}
	}
	return all
}
