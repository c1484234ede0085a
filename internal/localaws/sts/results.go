package sts

import (
	"github.com/rolecall/rolecall/internal/credential"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// The results of operations, members in the order of spec issuer-and-sts §10.2
// and §11.

type webIdentityResult struct {
	Subject          string `xml:"SubjectFromWebIdentityToken" json:"SubjectFromWebIdentityToken"`
	Audience         string
	AssumedRoleUser  assumedRoleUser
	Credentials      sessionCredentials
	SourceIdentity   string `xml:",omitempty" json:",omitempty"`
	Provider         string
	PackedPolicySize *int `xml:",omitempty" json:",omitempty"`
}

type assumeRoleResult struct {
	Credentials      sessionCredentials
	AssumedRoleUser  assumedRoleUser
	PackedPolicySize *int   `xml:",omitempty" json:",omitempty"`
	SourceIdentity   string `xml:",omitempty" json:",omitempty"`
}

type assumedRoleUser struct {
	ARN string `xml:"Arn" json:"Arn"`
	ID  string `xml:"AssumedRoleId" json:"AssumedRoleId"`
}

// sessionCredentials hold secrets in the clear: they are the answer itself.
type sessionCredentials struct {
	SessionToken    string
	SecretAccessKey string
	Expiration      wire.Time
	AccessKeyID     string `xml:"AccessKeyId" json:"AccessKeyId"`
}

type callerIdentityResult struct {
	ARN     string `xml:"Arn" json:"Arn"`
	UserID  string `xml:"UserId" json:"UserId"`
	Account string
}

type sessionTokenResult struct{ Credentials sessionCredentials }

type federationTokenResult struct {
	Credentials      sessionCredentials
	FederatedUser    federatedUser
	PackedPolicySize *int `xml:",omitempty" json:",omitempty"`
}

type federatedUser struct {
	ID  string `xml:"FederatedUserId" json:"FederatedUserId"`
	ARN string `xml:"Arn" json:"Arn"`
}

type accessKeyResult struct{ Account string }

type decodedResult struct{ DecodedMessage string }

func newSessionCredentials(c credential.AWS) sessionCredentials {
	return sessionCredentials{c.SessionToken.Reveal(), c.SecretKey.Reveal(), wire.Time(c.Expires), c.AccessKeyID}
}
