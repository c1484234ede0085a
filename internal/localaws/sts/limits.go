package sts

import (
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// Limits of requests, from the service model.
var (
	sessionNamePattern = lazyregexp.New(`^[\w+=,.@-]*$`)

	roleARNLimit     = wire.Constraint{Min: 20, Max: 2048}
	sessionNameLimit = wire.Constraint{Min: 2, Max: 64, Pattern: sessionNamePattern}
	federatedLimit   = wire.Constraint{Min: 2, Max: 32, Pattern: sessionNamePattern}
	tokenLimit       = wire.Constraint{Min: 4, Max: 20000, Sensitive: true}
	providerIDLimit  = wire.Constraint{Min: 4, Max: 2048, Optional: true}
	policyLimit      = wire.Constraint{Min: 1, Max: 2048, Optional: true, Sensitive: true}
	policyARNLimit   = wire.Constraint{Min: 20, Max: 2048}
	externalIDLimit  = wire.Constraint{
		Min:      2,
		Max:      1224,
		Optional: true,
		Pattern:  lazyregexp.New(`^[\w+=,.@:\/-]*$`),
	}
	sourceLimit    = wire.Constraint{Min: 2, Max: 64, Optional: true, Pattern: sessionNamePattern}
	tagKeyLimit    = wire.Constraint{Min: 1, Max: 128, Pattern: lazyregexp.New(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]+$`)}
	tagValueLimit  = wire.Constraint{Max: 256, Pattern: lazyregexp.New(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)}
	assertionLimit = wire.Constraint{Min: 4, Max: 2048, Sensitive: true}
	serialLimit    = wire.Constraint{Min: 9, Max: 256, Optional: true, Pattern: lazyregexp.New(`^[\w+=/:,.@-]*$`)}
	codeLimit      = wire.Constraint{
		Min:       6,
		Max:       6,
		Optional:  true,
		Sensitive: true,
		Pattern:   lazyregexp.New(`^[\d]*$`),
	}
	accessKeyLimit = wire.Constraint{Min: 16, Max: 128, Pattern: lazyregexp.New(`^[\w]*$`)}
	messageLimit   = wire.Constraint{Min: 1, Max: 10240, Sensitive: true}
)

// Durations in seconds.
const (
	minDuration      = 900
	maxRoleDuration  = 43200
	roleDuration     = 3600 // unless another one is requested
	chainedDuration  = 3600
	maxUserDuration  = 129600
	userDuration     = 43200 // unless another one is requested
	maxPolicyARNs    = 10
	maxTransitive    = 50
	maxContexts      = 5
	maxPolicyText    = 2048 // of an inline session policy and the ARNs of managed ones
	packedAllotment  = 4096 // characters that policies and tags of a session may have
	federatedService = "sts:GetFederationToken"
)

// readTags reads the tags of the requested session.
func readTags(q *wire.Query) []policy.Tag {
	var tags []policy.Tag
	for _, m := range q.Members("Tags") {
		tags = append(tags, policy.Tag{Key: q.Text(m+".Key", tagKeyLimit), Value: q.Text(m+".Value", tagValueLimit)})
	}
	return tags
}

// readMFA refuses codes: no device could have made them.
func readMFA(q *wire.Query) (refused error) {
	q.Text("SerialNumber", serialLimit)
	q.Text("TokenCode", codeLimit)
	if q.Has("SerialNumber") || q.Has("TokenCode") {
		return accessDenied(
			"MultiFactorAuthentication failed, unable to validate MFA code.",
		).Because("there are no MFA devices here")
	}
	return nil
}

// tooMany notes a list that is longer than the service model says.
func tooMany(q *wire.Query, field string, length, limit int) {
	if length > limit {
		q.Violate(
			"Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", field,
			limit,
		)
	}
}
