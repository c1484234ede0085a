package sts

import (
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// assumeRole assumes a role, of any account that exists here, for a caller
// whose request was signed.
func assumeRole(q *service.Call) (any, error) {
	who := q.Caller
	t, err := readAssumeRole(q.Query)
	if err != nil {
		return nil, err
	}
	t.Inherited = who.Inheritance()
	if err := t.check(); err != nil {
		return nil, err
	}
	denied := func(action string) *wire.Error {
		return accessDenied(
			"User: %s is not authorized to perform: %s on resource: %s", who.Principal.ARN, action, t.role.ARN(),
		)
	}
	if err := t.refuseCaller(who, denied); err != nil {
		return nil, err
	}
	owner, role, err := findRole(q.Accounts, t.role)
	if err != nil {
		return nil, denied(t.Action).Because("%s", err)
	}
	context := t.context(q, owner, role)
	who.AddContext(context)
	if err := t.decide(who.Principal, context, owner, role, who.Policies(), denied); err != nil {
		return nil, err
	}
	switch {
	case t.HasContexts:
		return nil, validationError("The provided context assertion is invalid.").
			Because("there is no context provider here")
	case who.Principal.Kind == policy.RoleSession && t.duration > chainedDuration:
		return nil, validationError(
			"The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
		)
	}
	granted, err := t.issue(q, owner, role, account.Session{}, 0)
	if err != nil {
		return nil, err
	}
	return assumeRoleResult{
		Credentials:      granted.credentials,
		AssumedRoleUser:  granted.user,
		SourceIdentity:   granted.source,
		PackedPolicySize: granted.packed,
	}, nil
}

func readAssumeRole(q *wire.Query) (*take, error) {
	t, err := readTake(q, "sts:AssumeRole")
	if err != nil {
		return nil, err
	}
	t.ExternalID = q.Text("ExternalId", externalIDLimit)
	t.SourceIdentity = q.Text("SourceIdentity", sourceLimit)
	t.Tags = readTags(q)
	for _, m := range q.Members("TransitiveTagKeys") {
		t.TransitiveKeys = append(t.TransitiveKeys, q.Text(m, tagKeyLimit))
	}
	tooMany(q, "transitiveTagKeys", len(t.TransitiveKeys), maxTransitive)
	contexts := q.Members("ProvidedContexts")
	tooMany(q, "providedContexts", len(contexts), maxContexts)
	for _, m := range contexts {
		q.Text(m+".ProviderArn", roleARNLimit)
		q.Text(m+".ContextAssertion", assertionLimit)
		t.HasContexts = true
	}
	badMFA := readMFA(q)
	if err := q.Check(); err != nil {
		return nil, err
	}
	return t, badMFA
}

// refuseCaller: a federated user cannot assume roles, and nobody can change the
// source identity of a session.
func (t *take) refuseCaller(who *caller.Caller, denied func(string) *wire.Error) error {
	inherited := t.Inherited.SourceIdentity
	switch {
	case who.Principal.Kind == policy.FederatedUser:
		return denied(t.Action).Because("federated users may call only GetCallerIdentity of STS")
	case inherited != "" && t.SourceIdentity != "" && t.SourceIdentity != inherited:
		return denied("sts:SetSourceIdentity").Because(
			"the calling session has the source identity %q, which cannot be changed", inherited,
		)
	}
	return nil
}
