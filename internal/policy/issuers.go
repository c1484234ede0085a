package policy

import (
	"slices"
	"strings"
)

// sharedIssuers are OIDC issuers of many tenants, without scheme. IAM accepts a
// trust policy for one only with a condition on the claims given, one of which
// must not be open to all (spec iam-policy §1.5, AWS's page on identity-provider
// controls for shared OIDC providers).
var sharedIssuers = map[string][]string{
	"agent.buildkite.com":            {"sub"},
	"api.pulumi.com/oidc":            {"aud"},
	"app.terraform.io":               {"sub"},
	"cognito-identity.amazonaws.com": {"aud"},
	"gitlab.com":                     {"sub"},
	"oidc-configuration.audit-log.githubusercontent.com": {"sub"},
	"oidc.codefresh.io": {"sub"},
	"oidc.vercel.com":   {"aud"},
	"proidc.upbound.io": {"sub"},
	"rh-oidc.s3.us-east-1.amazonaws.com/22ejnvnnturfmt6km08idd0nt4hekbn7": {"sub"},
	"rh-oidc.s3.us-east-1.amazonaws.com/23e3sd27sju1hoou6ohfs68vbno607tr": {"sub"},
	"rh-oidc.s3.us-east-1.amazonaws.com/23ne21h005qjl3n33d8dui5dlrmv2tmg": {"sub"},
	"rh-oidc.s3.us-east-1.amazonaws.com/24jrf12m5dj7ljlfb4ta2frhrcoadm26": {"sub"},
	"sandboxes.cloud":                       {"aud"},
	"scalr.io":                              {"sub"},
	"studio.datachain.ai/api":               {"sub"},
	"tokens.cloud.shisho.dev":               {"sub"},
	"vstoken.actions.githubusercontent.com": {"sub"},
}

// githubActions is a prefix: enterprises have issuers below it.
const githubActions = "token.actions.githubusercontent.com"

// builtinIssuers are older than OIDC providers in IAM; they require an equality
// on a key in lower case.
var builtinIssuers = map[string][]string{
	"accounts.google.com": {"aud", "oaud", "sub"},
	"www.amazon.com":      {"app_id", "sub"},
	"graph.facebook.com":  {"app_id", "sub"},
}

const (
	cognito = "cognito-identity.amazonaws.com"
	google  = "accounts.google.com"

	// unauthenticated is in the amr of a guest of an identity pool.
	unauthenticated = "unauthenticated"
	// googleOrganization is the number of a caller's organization in Google Cloud.
	googleOrganization = "google/organization_number"
)

// webIdentityAction is what a token's bearer calls.
var webIdentityAction = splitAction("sts:AssumeRoleWithWebIdentity")

// checkSharedIssuers checks every Allow statement that admits tokens.
func (d *decoder) checkSharedIssuers(p *Policy) {
	for i := range p.statements {
		s := &p.statements[i]
		if !s.allow || s.principal == nil || !s.action.match(webIdentityAction) {
			continue
		}
		for j := range s.principal.entries {
			if entry := &s.principal.entries[j]; entry.key == "Federated" {
				d.checkSharedIssuer(s, entry)
			}
		}
	}
}

func (d *decoder) checkSharedIssuer(s *statement, entry *principalEntry) {
	issuer := issuerOf(entry.text)
	claims := issuerClaims(issuer)
	if claims == nil || s.scopesIssuer(issuer, append(scopingClaims(issuer), claims...)) {
		return
	}
	keys := make([]string, len(claims))
	for i, claim := range claims {
		keys[i] = issuer + ":" + claim
	}
	wanted := strings.Join(keys, " or ")
	if issuer == cognito &&
		!slices.ContainsFunc(s.conditions, func(c condition) bool { return c.folded == cognito+":aud" }) {
		d.report(
			entry.at,
			noCognitoAudience,
			"",
			"the identities of every user pool come from %s: add a condition on %s",
			issuer,
			wanted,
		)
		return
	}
	d.report(
		entry.at,
		sharedIssuer,
		entry.text+" must evaluate, using StringEquals, StringLike or StringEqualsIgnoreCase, "+wanted,
		"%s has many tenants: add a condition on %s that only yours meet",
		issuer,
		wanted,
	)
}

// issuerOf returns the issuer without scheme that a Federated principal names.
func issuerOf(principal string) string {
	if _, issuer, found := strings.Cut(principal, ":oidc-provider/"); found {
		return issuer
	}
	return principal
}

// hasNoARN reports one of the four providers that principals name without an ARN.
func hasNoARN(provider string) bool { return provider == cognito || builtinIssuers[provider] != nil }

func issuerClaims(issuer string) []string {
	folded := fold(issuer)
	if strings.HasPrefix(folded, githubActions) {
		return []string{"sub", "job_workflow_ref"}
	}
	if claims := builtinIssuers[folded]; claims != nil {
		return claims
	}
	return sharedIssuers[folded]
}

// scopingClaims are those beside the required ones that narrow an issuer as well.
func scopingClaims(issuer string) []string {
	if isGitHub(issuer) {
		return []string{"repository", "repository_id", "enterprise_id"}
	}
	return nil
}

// scopesIssuer reports whether one operator of the statement narrows a claim.
func (s *statement) scopesIssuer(issuer string, claims []string) bool {
	_, builtin := builtinIssuers[fold(issuer)]
	github := strings.HasPrefix(fold(issuer), githubActions)
	verdicts := map[string]bool{} // by operator as written: all its claims narrow
	for i := range s.conditions {
		c := &s.conditions[i]
		named := slices.ContainsFunc(claims, func(claim string) bool {
			if builtin {
				return c.key == fold(issuer)+":"+claim
			}
			return c.folded == fold(issuer)+":"+claim
		})
		if !named || !c.scopes(builtin) {
			continue
		}
		narrow := !slices.ContainsFunc(c.values, func(value pattern) bool {
			return value.source == "*" ||
				(github && (strings.TrimSpace(value.source) == "" || strings.HasPrefix(value.source, "*")))
		})
		before, seen := verdicts[c.operator]
		verdicts[c.operator] = narrow && (before || !seen)
	}
	for _, narrow := range verdicts {
		if narrow {
			return true
		}
	}
	return false
}

// scopes: negated operators, IfExists and Null do not count.
func (c *condition) scopes(equality bool) bool {
	if c.op.negated || c.op.ifExists {
		return false
	}
	switch c.op.compare { //nolint:exhaustive // the others do not count
	case compareString, compareFolded:
		return true
	case compareLike:
		return !equality
	}
	return false
}
