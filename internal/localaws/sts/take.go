package sts

import (
	"errors"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// take is a request to assume a role, by either operation.
type take struct {
	policy.Taking
	sessionPolicies
	role     arn.Role
	duration int
}

// readTake reads the parameters that both operations have.
func readTake(q *wire.Query, action string) (*take, error) {
	t := &take{Taking: policy.Taking{Action: action}}
	roleARN := q.Text("RoleArn", roleARNLimit)
	t.SessionName = q.Text("RoleSessionName", sessionNameLimit)
	t.sessionPolicies = readPolicies(q)
	var err error
	if t.duration, err = q.Int("DurationSeconds", roleDuration, minDuration, maxRoleDuration); err != nil {
		return nil, err
	}
	if q.Has("RoleArn") && len(roleARN) >= roleARNLimit.Min {
		if t.role, err = account.ParseRole(roleARN); err != nil {
			if err := q.Check(); err != nil {
				return nil, err
			}
			return nil, validationError("%s is invalid", roleARN)
		}
	}
	return t, nil
}

// check is policy.Taking.Check, as an answer.
func (t *take) check() error { return takingError(t.Check()) }

func takingError(refused *policy.TakingError) error {
	if refused == nil {
		return nil
	}
	return wire.Errorf(400, refused.Code, "%s", refused.Message)
}

// findRole finds a role by its whole ARN, in whichever account it is; the path
// counts.
func findRole(accounts *account.Set, want arn.Role) (*account.Account, *account.Role, error) {
	owner, found := accounts.Find(want.Account)
	if !found || want.Partition != owner.Partition {
		return nil, nil, fmt.Errorf("role %s is in an account that does not exist here", want.ARN())
	}
	var role *account.Role
	err := owner.View(func(state account.State) (err error) {
		role, err = state.Role(want.Name)
		return err
	})
	switch {
	case errors.Is(err, account.ErrNotFound):
		return nil, nil, fmt.Errorf("there is no role %s", want.ARN())
	case err != nil:
		return nil, nil, err
	case owner.RoleARN(role) != want.ARN().String():
		return nil, nil, fmt.Errorf("there is no role %s, but there is %s", want.ARN(), owner.RoleARN(role))
	}
	return owner, role, nil
}

// context holds the condition keys of the request itself.
func (t *take) context(q *service.Call, owner *account.Account, role *account.Role) *policy.Context {
	context := caller.RequestContext(q.HTTP, q.Region, q.Time).Set("aws:ResourceAccount", owner.ID)
	for _, tag := range role.Tags {
		context.Set("aws:ResourceTag/"+tag.Key, tag.Value)
	}
	t.AddContext(context)
	return context
}

// decide asks the role's trust policy and the caller's own policies, if there
// is a caller, about everything that the call needs. refused is the answer about
// an action.
func (t *take) decide(
	principal policy.Principal, context *policy.Context, owner *account.Account, role *account.Role,
	own *policy.Policies, refused func(action string) *wire.Error,
) error {
	trust, err := owner.Parse(policy.Trust, role.Name, role.Trust)
	if err != nil {
		return fmt.Errorf("read the stored trust policy of %s: %w", owner.RoleARN(role), err)
	}
	own.Trust = trust.Bind(role.Principals)
	request := &policy.Request{
		Principal:       principal,
		Resource:        owner.RoleARN(role),
		ResourceAccount: owner.ID,
		Context:         context,
	}
	decision, about := policy.DecideAll(request, t.Actions(), own)
	if decision.Effect == policy.Allowed {
		return nil
	}
	return refused(about).Explained(policy.ExplainAll(request, t.Actions(), own))
}

type granted struct {
	user        assumedRoleUser
	credentials sessionCredentials
	packed      *int
	source      string
}

// issue makes the session after the last checks. more is how much it carries
// besides policies and tags, in characters.
func (t *take) issue(
	q *service.Call, owner *account.Account, role *account.Role, session account.Session, more int,
) (*granted, error) {
	if t.duration > role.MaxSession {
		return nil, validationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	tags := t.SessionTags(nil)
	packed, err := t.sessionPolicies.check(owner, tags, more)
	if err != nil {
		return nil, err
	}
	handed := t.Inheritance()
	session.RoleARN, session.RoleName, session.RoleID = owner.RoleARN(role), role.Name, role.ID
	session.Name = t.SessionName
	session.Issued, session.Expires = q.Time, q.Time.Add(time.Duration(t.duration)*time.Second)
	session.Policies, session.PolicyARNs = t.inline, t.managed
	session.Tags, session.Source = accountTags(tags), handed.SourceIdentity
	for _, tag := range handed.TransitiveTags {
		session.Transitive = append(session.Transitive, tag.Key)
	}
	issued, err := owner.IssueSession(session)
	if err != nil {
		return nil, err
	}
	return &granted{
		user:        assumedRoleUser{ARN: t.role.Session(t.SessionName).String(), ID: role.ID + ":" + t.SessionName},
		credentials: newSessionCredentials(issued), packed: packed, source: handed.SourceIdentity,
	}, nil
}

func accountTags(tags []policy.Tag) []account.Tag {
	var converted []account.Tag
	for _, tag := range tags {
		converted = append(converted, account.Tag(tag))
	}
	return converted
}
