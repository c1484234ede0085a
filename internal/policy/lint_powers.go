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

// escalations are actions by which the holder gets the permissions of others, or gives
// himself more; own says that it is no gain on the holder's own user.
var escalations = []struct {
	action, gain string
	own          bool
}{
	{action: "iam:CreatePolicyVersion", gain: "rewrites a managed policy"},
	{action: "iam:SetDefaultPolicyVersion", gain: "puts an older version of a managed policy in force"},
	{action: "iam:AttachUserPolicy", gain: "attaches any policy to a user"},
	{action: "iam:AttachGroupPolicy", gain: "attaches any policy to a group"},
	{action: "iam:AttachRolePolicy", gain: "attaches any policy to a role"},
	{action: "iam:PutUserPolicy", gain: "writes any policy of a user"},
	{action: "iam:PutGroupPolicy", gain: "writes any policy of a group"},
	{action: "iam:PutRolePolicy", gain: "writes any policy of a role"},
	{action: "iam:AddUserToGroup", gain: "joins any group"},
	{action: "iam:UpdateAssumeRolePolicy", gain: "makes any role trust the holder"},
	{action: "iam:CreateAccessKey", gain: "makes keys of other users", own: true},
	{action: "iam:CreateLoginProfile", gain: "sets a password for other users", own: true},
	{action: "iam:UpdateLoginProfile", gain: "sets a password for other users", own: true},
	{action: "iam:DeleteUserPermissionsBoundary", gain: "takes the limits off a user"},
	{action: "iam:DeleteRolePermissionsBoundary", gain: "takes the limits off a role"},
}

// narrowing are keys of conditions that limit what can be gained.
var narrowing = []string{"iam:policyarn", "iam:permissionsboundary", "aws:resourceaccount", "aws:resourceorgid"}

// escalation reports permissions that are worth more than they seem, on resources that
// are not named.
func (l *linter) escalation(s *statement) {
	if !l.policy.kind.grants() || s.resource == nil || s.resource.not || s.conditionOn(narrowing...) ||
		slices.ContainsFunc(s.conditions, func(c condition) bool {
			return strings.HasPrefix(c.folded, "aws:resourcetag/") || strings.HasPrefix(c.folded, "iam:resourcetag/")
		}) {
		return
	}
	if s.action.not {
		l.gains(s, s.action.at, "all but a few actions", s.action.match)
		return
	}
	for i := range s.action.patterns {
		if p := &s.action.patterns[i]; !p.all { // of all, allow-everything says so
			l.gains(s, p.at, p.source, p.match)
		}
	}
}

// gains reports what the holder gains by actions.
func (l *linter) gains(s *statement, at span, what string, match func(action) bool) {
	var gains []string
	for _, one := range escalations {
		if match(splitAction(one.action)) && slices.ContainsFunc(s.resource.patterns, func(r resourcePattern) bool {
			return r.open(one.action, one.own)
		}) {
			gains = append(gains, one.gain)
		}
	}
	if len(gains) == 0 {
		return
	}
	if len(gains) > 3 {
		gains = append(gains[:3], "and so on")
	}
	l.add(finding.Security, at, "privilege-escalation", "%s on resources that are not named: the holder %s", what,
		strings.Join(gains, ", "))
}

// open reports a pattern that covers resources of an action which nobody named.
func (p *resourcePattern) open(name string, own bool) bool {
	known, _ := func() (knownAction, bool) {
		table := knownActions()
		one := splitAction(name)
		return table.find(one.prefix, one.name)
	}()
	if !p.all {
		effort := 20000
		if _, ok := witness([]spelling{spell(known.form), {ops: p.openOps(), folded: true}}, nil, &effort); !ok {
			return false
		}
	}
	_, resource, _ := strings.Cut(strings.TrimPrefix(p.whole.source, "arn:"), "::")
	_, resource, _ = strings.Cut(resource, ":")
	_, named, _ := strings.Cut(resource, "/")
	switch {
	case p.all, strings.Contains(resource, "*") && strings.Trim(named, "*?/") == "":
		return true
	case strings.Contains(p.whole.source, "${"):
		return !own && strings.Contains(fold(p.whole.source), "${aws:username}")
	}
	return false
}

// mfaIfExists: keys that do not expire have no such key in their calls.
func (l *linter) mfaIfExists(s *statement, c *condition) {
	if c.folded != "aws:multifactorauthpresent" || c.op.compare != compareBool || !c.op.ifExists || len(c.values) == 0 ||
		!strings.EqualFold(c.values[0].source, "true") {
		return
	}
	f := l.add(finding.Security, c.operatorAt, "mfa-if-exists", "%s also holds without %s, which calls with long-term keys "+
		"never have: they need no MFA", c.operator, c.key)
	l.renameAlone(f, s, c, "Bool", "require MFA")
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
	"aws:PrincipalIsAWSService", "aws:PrincipalOrgID", "aws:PrincipalOrgPaths", "aws:PrincipalServiceName",
	"aws:PrincipalServiceNamesList", "aws:PrincipalType", "aws:Referer", "aws:RequestedRegion", "aws:ResourceAccount",
	"aws:ResourceOrgID", "aws:ResourceOrgPaths", "aws:SecureTransport", "aws:SignInSessionArn", "aws:SourceAccount",
	"aws:SourceArn", "aws:SourceIdentity", "aws:SourceIp", "aws:SourceOrgID", "aws:SourceOrgPaths", "aws:SourceOwner",
	"aws:SourceVpc", "aws:SourceVpcArn", "aws:SourceVpce", "aws:TagKeys", "aws:TokenIssueTime", "aws:UserAgent",
	"aws:userid", "aws:username", "aws:ViaAWSMCPService", "aws:ViaAWSService", "aws:VpceAccount", "aws:VpceOrgID",
	"aws:VpceOrgPaths", "aws:VpcSourceIp",
}

// unknownKey is a global key's name that does not exist, with the one that may be
// meant.
func unknownKey(key string) (meant string, unknown bool) {
	folded := fold(key)
	if !strings.HasPrefix(folded, "aws:") || strings.Contains(folded, "/") {
		return "", false
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
		if meant, unknown := unknownKey(part.key); unknown {
			f := l.add(finding.Error, at, "unknown-variable", "there is no key for the variable ${%s}, so %q never matches%s",
				part.key, p.source, didYouMean(meant))
			if i := strings.Index(fold(p.source), "${"+part.key); i >= 0 && meant != "" {
				f.suggest(l, at, jsonText(p.source[:i+2]+meant+p.source[i+2+len(part.key):]), "write %s", meant)
			}
		}
	}
}
