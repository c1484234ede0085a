package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/finding"
)

// powers looks for what a statement allows that amounts to everything.
func (l *linter) powers(s *statement) {
	if !s.allow {
		return
	}
	l.everything(s)
	l.escalation(s)
	l.public(s)
	for i := range s.conditions {
		l.mfaIfExists(s, &s.conditions[i])
	}
}

// grants reports a kind of policy that gives its holder something.
func (k Kind) grants() bool { return k == Identity }

func (l *linter) everything(s *statement) {
	all := func(p actionPattern) bool { return p.all }
	if !l.policy.kind.grants() || s.action.not || s.resource == nil || s.resource.not || len(s.conditions) > 0 ||
		!slices.ContainsFunc(s.action.patterns, all) {
		return
	}
	for i := range s.resource.patterns {
		if p := &s.resource.patterns[i]; p.all {
			l.add(finding.Security, p.at, "allow-everything", "every action on every resource: the holder is an administrator "+
				"of the account")
		}
	}
}

// mfaIfExists: keys that do not expire have no such key in their calls.
func (l *linter) mfaIfExists(s *statement, c *condition) {
	if c.folded != "aws:multifactorauthpresent" || len(c.values) == 0 || !c.comparesYesNo() {
		return
	}
	// What is wanted is true, and what has no key at all meets it too.
	wanted, without := "true", c.op.ifExists
	if c.op.negated {
		wanted, without = "false", true
	}
	if !without || !strings.EqualFold(c.values[0].source, wanted) {
		return
	}
	f := l.add(finding.Security, c.operatorAt, "mfa-if-exists", "%s also holds without %s, which calls with long-term keys "+
		"never have: they need no MFA", c.operator, c.key)
	if !c.op.negated {
		l.renameAlone(f, s, c, "Bool", "require MFA")
	}
}

// comparesYesNo reports an operator by which true and false can be compared.
func (c *condition) comparesYesNo() bool {
	switch c.op.compare {
	case compareBool, compareString, compareFolded, compareLike:
		return true
	default:
		return false
	}
}

// public reports what the policy of a resource lets everybody do.
func (l *linter) public(s *statement) {
	if l.policy.kind != Resource || s.principal == nil || s.principal.not {
		return
	}
	for i := range s.principal.entries {
		entry := &s.principal.entries[i]
		if entry.key != "AWS" || entry.text != "*" {
			continue
		}
		if stranger := l.stranger(s, entry); stranger != nil {
			if stranger.guessed {
				l.add(finding.Warning, entry.at, "public-resource", "callers of any account get in who know what the document says, "+
					"which is no secret: %s", stranger.who)
				continue
			}
			f := l.add(finding.Security, entry.at, "public-resource", "anybody is let in: %s", stranger.who)
			l.suggestFirmer(f, s)
		}
	}
}

// globalKeys are the condition keys of all services.
var globalKeys = []string{
	"aws:AssumedRoot", "aws:CalledVia", "aws:CalledViaAWSMCP", "aws:CalledViaFirst", "aws:CalledViaLast", "aws:ChatbotSourceArn",
	"aws:CurrentTime", "aws:Ec2InstanceSourcePrivateIPv4", "aws:Ec2InstanceSourceVpc", "aws:EpochTime",
	"aws:FederatedProvider", "aws:IsMcpServiceAction", "aws:MultiFactorAuthAge", "aws:MultiFactorAuthPresent",
	"aws:PrincipalAccount", "aws:PrincipalArn",
	"aws:PrincipalIsAWSService", "aws:PrincipalOrgID", "aws:PrincipalOrgMasterAccountId",
	"aws:PrincipalOrgPaths", "aws:PrincipalServiceName",
	"aws:PrincipalServiceNamesList", "aws:PrincipalType", "aws:Referer", "aws:RequestedRegion", "aws:ResourceAccount",
	"aws:ResourceOrgID", "aws:ResourceOrgPaths", "aws:SecureTransport", "aws:SignInSessionArn", "aws:SourceAccount",
	"aws:SourceArn", "aws:SourceIdentity", "aws:SourceIp", "aws:SourceOrgID", "aws:SourceOrgPaths", "aws:SourceOwner",
	"aws:SourceVpc", "aws:SourceVpcArn", "aws:SourceVpce", "aws:TagKeys", "aws:TokenIssueTime", "aws:UserAgent",
	"aws:userid", "aws:username", "aws:ViaAWSMCPService", "aws:ViaAWSService", "aws:VpceAccount", "aws:VpceOrgID",
	"aws:VpceOrgPaths", "aws:VpcSourceIp",
}

// tagKeys are those of all services that a tag's key follows.
var tagKeys = []string{"aws:PrincipalTag", "aws:RequestTag", "aws:ResourceTag"}

// unknownKey is a global key's name that does not exist, with the one that may be
// meant.
func unknownKey(key string) (meant string, unknown bool) {
	folded := fold(key)
	if !strings.HasPrefix(folded, "aws:") {
		return "", false
	}
	if family, tag, isTag := strings.Cut(folded, "/"); isTag {
		for _, known := range tagKeys {
			switch {
			case family == fold(known):
				return "", false
			case meant == "" && editDistance(family, fold(known), 2) <= 2:
				meant = known + key[len(key)-len(tag)-1:]
			}
		}
		return meant, true
	}
	for _, known := range globalKeys {
		if fold(known) == folded {
			return "", false
		}
		if meant == "" && editDistance(folded, fold(known), 2) <= 2 {
			meant = known
		}
	}
	return meant, true
}

// keyNames reports condition keys and variables that do not exist.
func (l *linter) keyNames(s *statement) {
	for i := range s.conditions {
		c := &s.conditions[i]
		if meant, unknown := unknownKey(c.key); unknown {
			f := l.add(finding.Warning, c.at, "unknown-key", "there is no condition key %s%s", c.key, didYouMean(meant))
			if meant != "" {
				f.suggest(l, c.at, jsonText(meant), "write %s", meant)
			}
		}
		for j := range c.values {
			l.variableNames(c.valuesAt[j], &c.values[j])
		}
	}
	if s.resource != nil {
		for i := range s.resource.patterns {
			l.variableNames(s.resource.patterns[i].at, &s.resource.patterns[i].whole)
		}
	}
}

func didYouMean(meant string) string {
	if meant == "" {
		return ""
	}
	return "; did you mean " + meant + "?"
}

func (l *linter) variableNames(at span, p *pattern) {
	for _, part := range p.segments {
		if part.key == "" {
			continue
		}
		key, i := part.key, strings.Index(fold(p.source), "${"+part.key)
		if i >= 0 { // as it is written: the keys of tags have their letter case
			key = p.source[i+2 : i+2+len(part.key)]
		}
		if meant, unknown := unknownKey(key); unknown {
			f := l.add(finding.Error, at, "unknown-variable", "there is no key for the variable ${%s}, so %q never matches%s",
				part.key, p.source, didYouMean(meant))
			if i >= 0 && meant != "" {
				f.suggest(l, at, jsonText(p.source[:i+2]+meant+p.source[i+2+len(part.key):]), "write %s", meant)
			}
		}
	}
}
