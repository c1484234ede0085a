package sts

import (
	"time"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/caller"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// sessionToken is GetSessionToken, which needs no permission.
func sessionToken(q *service.Call) (any, error) {
	badMFA := readMFA(q.Query)
	duration, err := readDuration(q.Query)
	if err != nil {
		return nil, err
	}
	if err := longTerm(q); err != nil {
		return nil, err
	}
	if badMFA != nil {
		return nil, badMFA
	}
	issued, err := issueUser(q, account.Session{}, duration)
	if err != nil {
		return nil, err
	}
	return sessionTokenResult{issued}, nil
}

// federationToken is GetFederationToken: the calling user vouches for a name.
func federationToken(q *service.Call) (any, error) {
	name := q.Text("Name", federatedLimit)
	given := readPolicies(q.Query)
	asked := policy.Taking{Action: federatedService, Tags: readTags(q.Query)}
	duration, err := readDuration(q.Query)
	if err != nil {
		return nil, err
	}
	if err := longTerm(q); err != nil {
		return nil, err
	}
	if err := takingError(asked.Check()); err != nil {
		return nil, err
	}
	if err := decideFederation(q, name, &asked); err != nil {
		return nil, err
	}
	packed, err := given.check(q.Account, asked.Tags, 0)
	if err != nil {
		return nil, err
	}
	issued, err := issueUser(q, account.Session{
		Name:       name,
		Policies:   given.inline,
		PolicyARNs: given.managed,
		Tags:       accountTags(asked.Tags),
	}, duration)
	if err != nil {
		return nil, err
	}
	return federationTokenResult{
		Credentials: issued, PackedPolicySize: packed,
		FederatedUser: federatedUser{ID: q.Account.ID + ":" + name, ARN: caller.FederatedARN(q.Account, name)},
	}, nil
}

func readDuration(q *wire.Query) (int, error) {
	duration, err := q.Int("DurationSeconds", userDuration, minDuration, maxUserDuration)
	if err != nil {
		return 0, err
	}
	return duration, q.Check()
}

// longTerm refuses temporary credentials.
func longTerm(q *service.Call) error {
	if q.Caller.IsSession() {
		return accessDenied("Cannot call %s with session credentials", q.Operation)
	}
	return nil
}

func decideFederation(q *service.Call, name string, asked *policy.Taking) error {
	resource := caller.FederatedARN(q.Account, name)
	context := caller.RequestContext(q.HTTP, q.Region, q.Time).Set("aws:ResourceAccount", q.Account.ID)
	q.Caller.AddContext(context)
	asked.AddContext(context)
	request := &policy.Request{
		Principal:       q.Caller.Principal,
		Resource:        resource,
		ResourceAccount: q.Account.ID,
		Context:         context,
	}
	decision, about := policy.DecideAll(request, asked.Actions(), q.Caller.Policies())
	if decision.Effect == policy.Allowed {
		return nil
	}
	return q.Caller.Denied(about, resource, decision, policy.ExplainAll(request, asked.Actions(), q.Caller.Policies()))
}

// issueUser makes a session of the calling user.
func issueUser(q *service.Call, session account.Session, duration int) (sessionCredentials, error) {
	session.User, session.UserID = q.Caller.Principal.UserName, q.Caller.Principal.EntityID
	session.Issued, session.Expires = q.Time, q.Time.Add(time.Duration(duration)*time.Second)
	issued, err := q.Account.IssueSession(session)
	if err != nil {
		return sessionCredentials{}, err
	}
	return newSessionCredentials(issued), nil
}
