package policy

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/finding"
)

// Names that no document has: what is allowed for them is allowed for any.
const (
	anyName  = "zq7x"
	anyOther = "zq8y" // another user than the caller
	anyOwner = "123456789012"
)

// escalations are actions by which the holder gets the permissions of others, or gives
// himself more, with a resource for which that is so. The caller is the user anyName, or
// a session of a role of that name if the resource is a role.
var escalations = []struct{ action, gain, resource string }{
	{"iam:CreatePolicyVersion", "rewrites a managed policy", "policy/" + anyName},
	{"iam:SetDefaultPolicyVersion", "puts an older version of a managed policy in force", "policy/" + anyName},
	{"iam:AttachUserPolicy", "attaches any policy to a user", "user/" + anyName},
	{"iam:AttachGroupPolicy", "attaches any policy to a group", "group/" + anyName},
	{"iam:AttachRolePolicy", "attaches any policy to a role", "role/" + anyName},
	{"iam:PutUserPolicy", "writes any policy of a user", "user/" + anyName},
	{"iam:PutGroupPolicy", "writes any policy of a group", "group/" + anyName},
	{"iam:PutRolePolicy", "writes any policy of a role", "role/" + anyName},
	{"iam:AddUserToGroup", "joins any group", "group/" + anyName},
	{"iam:UpdateAssumeRolePolicy", "makes any role trust the holder", "role/" + anyOther},
	{"iam:CreateAccessKey", "makes keys of other users", "user/" + anyOther},
	{"iam:CreateLoginProfile", "sets a password for other users", "user/" + anyOther},
	{"iam:UpdateLoginProfile", "sets a password for other users", "user/" + anyOther},
	{"iam:DeleteUserPermissionsBoundary", "takes the limits off a user", "user/" + anyName},
	{"iam:DeleteRolePermissionsBoundary", "takes the limits off a role", "role/" + anyName},
}

// users are services that run what their caller says with a role that he passes, and what
// he has to be allowed for it.
var users = []struct {
	service, what string
	actions       []string
}{
	{"lambda.amazonaws.com", "a function", []string{"lambda:CreateFunction"}},
	{"ec2.amazonaws.com", "an instance", []string{"ec2:RunInstances"}},
	{"ecs-tasks.amazonaws.com", "a task", []string{"ecs:RegisterTaskDefinition", "ecs:RunTask"}},
	{"ecs-tasks.amazonaws.com", "a service", []string{"ecs:RegisterTaskDefinition", "ecs:CreateService"}},
	{"glue.amazonaws.com", "a job", []string{"glue:CreateJob", "glue:StartJobRun"}},
	{"glue.amazonaws.com", "an endpoint", []string{"glue:CreateDevEndpoint"}},
	{"cloudformation.amazonaws.com", "a stack", []string{"cloudformation:CreateStack"}},
	{"codebuild.amazonaws.com", "a build", []string{"codebuild:CreateProject", "codebuild:StartBuild"}},
	{"sagemaker.amazonaws.com", "a notebook", []string{"sagemaker:CreateNotebookInstance"}},
	{"states.amazonaws.com", "a state machine", []string{"states:CreateStateMachine", "states:StartExecution"}},
	{"datapipeline.amazonaws.com", "a pipeline", []string{"datapipeline:CreatePipeline", "datapipeline:PutPipelineDefinition"}},
	{"pods.eks.amazonaws.com", "a pod", []string{"eks:CreatePodIdentityAssociation"}},
}

// holders gives what the holder of an identity-based policy has: when and from where he
// calls is his to choose, what he acts on has no tags and no boundary.
func holders(service, owner string) func(string) ([]string, bool) {
	return func(key string) ([]string, bool) {
		switch key {
		case "iam:passedtoservice":
			return []string{service}, true
		case "iam:policyarn":
			return []string{"arn:aws:iam::aws:policy/AdministratorAccess"}, true
		case "aws:resourceaccount", "aws:principalaccount":
			return []string{owner}, true
		}
		notHis := []string{"iam:", "aws:resource", "aws:principaltag/"}
		return nil, slices.ContainsFunc(notHis, func(head string) bool { return strings.HasPrefix(key, head) })
	}
}

// owners are the accounts whose resources a statement names, and any.
func (s *statement) owners() []string {
	owners := []string{anyOwner}
	if s.resource != nil {
		for i := range s.resource.patterns {
			if account := accountOf(s.resource.patterns[i].whole.source); arn.IsAccount(account) {
				owners = append(owners, account)
			}
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// holder asks for an action on a resource of IAM, in the account of both.
func holder(action, owner, resource string) *Request {
	r := &Request{
		Action: action, Resource: "arn:aws:iam::" + owner + ":" + resource,
		Principal: Principal{
			Kind: User, Account: owner, ARN: "arn:aws:iam::" + owner + ":user/" + anyName, UserName: anyName,
			UserID: "AIDAZQ7XZQ7XZQ7XZQ7X",
		},
	}
	if strings.HasPrefix(resource, "role/") {
		r.Principal = Principal{
			Kind: RoleSession, Account: owner, RoleARN: "arn:aws:iam::" + owner + ":role/" + anyName,
			ARN: "arn:aws:sts::" + owner + ":assumed-role/" + anyName + "/s", UserID: "AROAZQ7XZQ7XZQ7XZQ7X:s",
		}
	}
	return r
}

// escalation reports permissions that are worth more than they seem, as the engine finds
// them on resources that nobody named.
func (l *linter) escalation(s *statement) {
	if !l.policy.kind.grants() {
		return
	}
	if s.action.not {
		l.gains(s, s.action.at, "all but a few actions", s.action.match)
		return
	}
	for i := range s.action.patterns {
		if p := &s.action.patterns[i]; !p.all || l.limited(s) { // else allow-everything says so
			l.gains(s, p.at, p.source, p.match)
		}
	}
}

// limited reports that allow-everything says nothing of a statement.
func (l *linter) limited(s *statement) bool {
	return s.resource == nil || s.resource.not || len(s.conditions) > 0 ||
		!slices.ContainsFunc(s.resource.patterns, func(p resourcePattern) bool { return p.all })
}

// gains reports what the holder gains by actions.
func (l *linter) gains(s *statement, at span, what string, match func(action) bool) {
	var gains []string
	for _, one := range escalations {
		if match(splitAction(one.action)) && !slices.Contains(gains, one.gain) &&
			slices.ContainsFunc(s.owners(), func(owner string) bool {
				c := circumstances{policy: l.policy, given: holders("", owner), effort: &l.asked}
				return c.allows(s, holder(one.action, owner, one.resource))
			}) {
			gains = append(gains, one.gain)
		}
	}
	if match(splitAction("iam:PassRole")) && !l.passesAny(s) {
		gains = append(gains, l.passes(s)...)
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

// passesAny reports that pass-role-any was found for a statement.
func (l *linter) passesAny(s *statement) bool {
	return slices.ContainsFunc(l.findings, func(f placed) bool {
		return f.Rule == "pass-role-any" && s.at.start <= f.at.start && f.at.end <= s.at.end
	})
}

// passes says what the holder can run with a role that he passes, in one way.
func (l *linter) passes(s *statement) []string {
	for _, owner := range s.owners() {
		for _, one := range users {
			passing := circumstances{policy: l.policy, given: holders(one.service, owner), effort: &l.asked}
			if !passing.allows(s, holder("iam:PassRole", owner, "role/"+anyOther)) {
				continue
			}
			can := func(name string) bool {
				return slices.ContainsFunc(l.policy.statements, func(other statement) bool {
					r := holder(name, owner, "role/"+anyName)
					r.Resource, r.ResourceAccount = other.someResource(owner), owner
					return other.allow && passing.allows(&other, r)
				})
			}
			if !slices.ContainsFunc(one.actions, func(name string) bool { return !can(name) }) {
				return []string{"runs " + one.what + " with any role that trusts " + one.service}
			}
		}
	}
	return nil
}

// someResource is a resource that the statement is about.
func (s *statement) someResource(owner string) string {
	if s.resource == nil || s.resource.not || len(s.resource.patterns) == 0 || s.resource.patterns[0].all {
		return "arn:aws:iam::" + owner + ":" + anyName
	}
	return strings.NewReplacer("*", anyName, "?", "z").Replace(s.resource.patterns[0].whole.source)
}
