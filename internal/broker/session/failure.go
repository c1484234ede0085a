package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/awsapi"
	"github.com/rolecall/rolecall/internal/broker/refusal"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// failure is what a step of taking came to.
type failure struct {
	step step
	role string
	err  error
}

// code is STS's error code; empty for none, and for a call without an answer
// noAnswer.
type code struct {
	text   string
	status int
}

const noAnswer = "no-answer"

func codeOf(err error) code {
	if err == nil {
		return code{}
	}
	if answer, ok := errors.AsType[*awsapi.Error](err); ok {
		return code{answer.Code, answer.Status}
	}
	return code{noAnswer, 0}
}

func (c code) label() string {
	if c.text == "" {
		return "ok"
	}
	return c.text
}

func (c code) transient() bool { return c.text == noAnswer || c.status >= 500 }

func (c code) throttled() bool {
	return slices.Contains(
		[]string{
			"Throttling", "ThrottlingException", "RequestLimitExceeded", "ThrottledException",
			"TooManyRequestsException",
		},
		c.text,
	)
}

// tooLong reports whether STS refused only how long the session was to be.
func tooLong(err error) bool {
	answer, ok := errors.AsType[*awsapi.Error](err)
	return ok && answer.Code == "ValidationError" && strings.Contains(
		answer.Message, "DurationSeconds",
	) && strings.Contains(answer.Message, "exceeds")
}

// tooLarge reports whether tags and policy are too large; the code has two
// spellings.
func (f *failure) tooLarge() bool {
	return strings.HasPrefix(codeOf(f.err).text, "PackedPolicyTooLarge")
}

// words is the table of spec podidentity §19.7. What STS says goes on to the
// agent, which is authenticated; it names roles, never secrets.
func (f *failure) words(p *sessionplan.Plan) *refusal.Error {
	if refused, ok := errors.AsType[*refusal.Error](f.err); ok {
		return refused
	}
	answer, ok := errors.AsType[*awsapi.Error](f.err)
	if !ok {
		return refusal.New(refusal.Unavailable, "STS does not answer.").Because(f.err)
	}
	refused := f.table(p, answer)
	refused.Cause, refused.AWSRequestID = answer, answer.RequestID
	return refused
}

func (f *failure) table(p *sessionplan.Plan, answer *awsapi.Error) *refusal.Error {
	c := codeOf(answer)
	said := fmt.Sprintf(
		"The %s %s cannot be assumed: STS answers %s: %s", f.step, f.role, answer.Code,
		strings.TrimSuffix(answer.Message, ".")+".",
	)
	switch {
	case c.throttled():
		return refusal.New(refusal.Throttled, "STS throttles the broker.")
	case c.status >= 500:
		return refusal.New(refusal.Internal, "STS fails: %s.", answer.Code)
	case f.tooLarge():
		return refusal.New(
			refusal.InvalidRequest, "%s",
			refusal.Advice(
				said, "Leave tags out with omitTags, shorten the session policy, or set onOversize: DropPodTags.",
			),
		)
	case c.text == "ExpiredTokenException" && p.Mode == v1alpha1.PassThrough && f.step == stepRole:
		return refusal.New(refusal.ExpiredToken, "The token included in the request is expired.")
	}
	switch answer.Code {
	case "AccessDenied", "AccessDeniedException":
		return refusal.New(refusal.AccessDenied, "%s", refusal.Advice(said, f.advice(p)))
	case "InvalidIdentityToken", "IDPCommunicationError":
		return refusal.New(
			refusal.Unavailable, "%s",
			refusal.Advice(
				said,
				"The OIDC provider of the issuer cannot be used: see that it is registered in the role's account, "+
					"with the audience of this mode, and that its keys are published.",
			),
		)
	case "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
		"SignatureDoesNotMatch":
		return refusal.New(refusal.Unavailable, "The broker's own identity is not accepted by STS: %s.", answer.Code)
	}
	return refusal.New(refusal.InvalidRequest, "%s", said)
}

// advice is by what is most often missing from the policies.
func (f *failure) advice(p *sessionplan.Plan) string {
	tagging := ""
	if len(p.Role.Tags) > 0 {
		tagging = " and sts:TagSession"
	}
	switch {
	case f.step == stepTarget:
		return fmt.Sprintf(
			"The policies of %s must allow sts:AssumeRole%s on it, and its trust policy must allow both to that role, "+
				"with the external id %s if it asks for one.",
			p.Role.RoleARN, tagging, p.Target.ExternalID,
		)
	case p.Mode == v1alpha1.BrokerRole:
		return fmt.Sprintf(
			"Its trust policy must allow sts:AssumeRole%s to the broker's principal, "+
				"with the external id %s if it asks for one.",
			tagging, p.Role.ExternalID,
		)
	}
	if p.Role.SourceIdentity.Value != "" {
		tagging += ", and sts:SetSourceIdentity,"
	}
	return fmt.Sprintf(
		"Its trust policy must allow sts:AssumeRoleWithWebIdentity%s to the issuer's provider, with the sub %s.",
		tagging, p.Role.Caller.Subject,
	)
}
