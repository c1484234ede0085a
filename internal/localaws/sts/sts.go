// Package sts is local AWS's Security Token Service: who the caller is, and
// credentials of roles for callers and web identities that the roles trust.
//
// It does not authenticate requests or know users; see package localaws.
package sts

import (
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// Service is STS. Keys is required.
type Service struct {
	Keys *Keys
	// Errors is the wording in which web identities are refused.
	Errors Errors
}

// Operations returns what is emulated, for local AWS to serve.
func (s *Service) Operations() *service.Service {
	return &service.Service{
		Name:      "sts",
		Protocol:  wire.AWSQuery,
		Version:   "2011-06-15",
		Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Operations: map[string]service.Operation{
			"AssumeRoleWithWebIdentity":  {Access: service.Anybody, Do: s.webIdentity},
			"AssumeRole":                 {Access: service.Signed, Do: assumeRole},
			"GetCallerIdentity":          {Access: service.Signed, Do: callerIdentity},
			"GetSessionToken":            {Access: service.Signed, Do: sessionToken},
			"GetFederationToken":         {Access: service.Signed, Do: federationToken},
			"GetAccessKeyInfo":           {Do: accessKeyInfo},
			"DecodeAuthorizationMessage": {Do: decodeMessage},
		},
		Others: []string{"AssumeRoleWithSAML", "AssumeRoot", "GetDelegatedAccessToken", "GetWebIdentityToken"},
	}
}

// callerIdentity is GetCallerIdentity: valid credentials suffice.
func callerIdentity(q *service.Call) (any, error) {
	who := &q.Caller.Principal
	return callerIdentityResult{ARN: who.ARN, UserID: who.UserID, Account: who.Account}, nil
}
