package sts

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

// sessionPolicies limit a new session.
type sessionPolicies struct {
	inline  []string
	managed []string // ARNs
}

func readPolicies(q *wire.Query) sessionPolicies {
	var p sessionPolicies
	if text := q.Text("Policy", policyLimit); text != "" {
		p.inline = []string{text}
	}
	members := q.Members("PolicyArns")
	tooMany(q, "policyArns", len(members), maxPolicyARNs)
	for _, member := range members {
		p.managed = append(p.managed, q.Text(member+".arn", policyARNLimit))
	}
	return p
}

// check validates the documents and the total of what the session would carry,
// and looks up the managed policies, which are owner's or AWS's own: their
// contents count when they are used, not now. It returns the packed size, an
// opaque percentage of what a session may carry; nil when it carries nothing.
func (p *sessionPolicies) check(owner *account.Account, tags []policy.Tag, more int) (*int, error) {
	for _, text := range p.inline {
		if err := checkDocument(text); err != nil {
			return nil, err
		}
	}
	packed, err := p.packedSize(tags, more)
	if err != nil {
		return nil, err
	}
	return packed, owner.View(func(state account.State) error {
		for _, arn := range p.managed {
			_, err := state.PolicyByARN(arn)
			if errors.Is(err, account.ErrNotFound) {
				return validationError("%s is invalid", arn).
					Because("there is no such managed policy in account %s, whose session it is", owner.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func checkDocument(text string) error {
	_, err := policy.ParseParameter(policy.Session, "session policy", []byte(text))
	if refused, ok := errors.AsType[*policy.SyntaxError](err); ok {
		message := refused.Message
		if !json.Valid([]byte(text)) { // STS says it in words of its own
			message = "This policy contains invalid Json"
		}
		return wire.Errorf(http.StatusBadRequest, refused.Code, "%s", message).
			Because("session policy, line %d, column %d: %s", refused.Line, refused.Column, refused.Detail)
	}
	return err
}

// packedSize is not AWS's formula, which is secret; but what must fit does, and
// what must not does not.
func (p *sessionPolicies) packedSize(tags []policy.Tag, more int) (*int, error) {
	documents, tagged := 0, tagSize(tags)
	for _, texts := range [][]string{p.inline, p.managed} {
		for _, text := range texts {
			documents += len(text)
		}
	}
	tooLarge := func(format string, percent int) error {
		return wire.Errorf(http.StatusBadRequest, "PackedPolicyTooLarge", format, percent)
	}
	all := percent(documents+tagged+more, packedAllotment)
	const policyTooLarge = "Packed policy consumes %d%% of allotted space, please use smaller policy."
	switch {
	case documents > maxPolicyText:
		return nil, tooLarge(policyTooLarge, percent(documents, maxPolicyText))
	case tagged > packedAllotment:
		return nil, tooLarge(
			"Packed size of session tags consumes %d%% of allotted space.", percent(tagged, packedAllotment),
		)
	case all > 100:
		return nil, tooLarge(policyTooLarge, all)
	case all == 0:
		return nil, nil //nolint:nilnil // nothing is carried, and nothing is wrong
	}
	return &all, nil
}

// PackedTags is the share of a session's room that tags alone take up, in
// percent; a session above 100 is impossible.
func PackedTags(tags []policy.Tag) int { return percent(tagSize(tags), packedAllotment) }

func tagSize(tags []policy.Tag) (size int) {
	for _, tag := range tags {
		size += len(tag.Key) + len(tag.Value)
	}
	return size
}

func percent(size, of int) int { return (size*100 + of - 1) / of }
