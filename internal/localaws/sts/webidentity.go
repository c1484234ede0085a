package sts

import (
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// webIdentity is AssumeRoleWithWebIdentity. A signature of the request has no
// influence.
func (s *Service) webIdentity(q *service.Call) (any, error) {
	t, err := readTake(q.Query, "sts:AssumeRoleWithWebIdentity")
	if err != nil {
		return nil, err
	}
	raw := q.Text("WebIdentityToken", tokenLimit)
	providerID := q.Text("ProviderId", providerIDLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	if providerID != "" {
		return nil, refuseProviderID(providerID)
	}
	identity, err := s.verify(q, raw, t.role)
	if err != nil {
		return nil, err
	}
	t.Tags, t.TransitiveKeys, t.SourceIdentity = identity.tags, identity.transitive, identity.sourceIdentity
	if err := t.check(); err != nil {
		return nil, err
	}
	denied := func(action string) *wire.Error { return accessDenied("Not authorized to perform %s", action) }
	owner, role, err := findRole(q.Accounts, t.role)
	if err != nil {
		return nil, denied(t.Action).Because("%s", err)
	}
	context := t.context(q, owner, role)
	identity.addContext(context)
	if err := t.decide(identity.principal(owner.ID), context, owner, role, &policy.Policies{}, denied); err != nil {
		return nil, err
	}
	session := account.Session{Provider: identity.providerARN}
	session.Claims, session.ClaimLists = identity.kept()
	granted, err := t.issue(q, owner, role, session, len(identity.subject)+len(identity.providerARN))
	if err != nil {
		return nil, err
	}
	return webIdentityResult{
		Subject:          identity.subject,
		Audience:         identity.audience,
		AssumedRoleUser:  granted.user,
		Credentials:      granted.credentials,
		SourceIdentity:   granted.source,
		Provider:         identity.providerARN,
		PackedPolicySize: granted.packed,
	}, nil
}

func refuseProviderID(id string) error {
	switch id {
	case "www.amazon.com":
		return invalidToken("Provided Token is not a Login With Amazon token")
	case "graph.facebook.com":
		return wire.Errorf(http.StatusForbidden, "IDPRejectedClaim", "The identity provider rejected the token.")
	}
	return accessDenied(
		"Unrecognized OAuth provider. Do not include a provider parameter when submitting OpenIDConnect ID tokens",
	)
}
