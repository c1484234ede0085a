package sts

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/policy"
)

// AWS's own claims (spec issuer-and-sts §10.7).
const (
	tagsClaim   = "https://aws.amazon.com/tags"
	sourceClaim = "https://aws.amazon.com/source_identity"
	rolesClaim  = "https://aws.amazon.com/roles"
)

func (w *webIdentity) readAWSClaims(claims map[string]json.RawMessage, role arn.Role) error {
	if err := w.readTags(claims); err != nil {
		return err
	}
	if raw, found := claims[sourceClaim]; found {
		if json.Unmarshal(raw, &w.sourceIdentity) != nil || len(w.sourceIdentity) < 2 || len(w.sourceIdentity) > 64 ||
			!sessionNamePattern.MatchString(w.sourceIdentity) {
			return invalidToken(genericRefusal).Because(
				"the claim %s is not a source identity of 2 to 64 characters", sourceClaim,
			)
		}
	}
	return w.readRoles(claims[rolesClaim], role)
}

func (w *webIdentity) readTags(claims map[string]json.RawMessage) error {
	wrongFormat := invalidToken("principal_tags passed in claim is not in correct format.")
	if raw, found := claims[tagsClaim]; found {
		var nested struct {
			Tags       map[string][]string `json:"principal_tags"`
			Transitive []string            `json:"transitive_tag_keys"`
		}
		if json.Unmarshal(raw, &nested) != nil {
			return wrongFormat
		}
		for key, values := range nested.Tags {
			if len(values) != 1 {
				return wrongFormat
			}
			w.tags = append(w.tags, policy.Tag{Key: key, Value: values[0]})
		}
		w.transitive = nested.Transitive
	}
	for name, raw := range claims {
		if key, found := strings.CutPrefix(name, tagsClaim+"/principal_tags/"); found {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				return wrongFormat
			}
			w.tags = append(w.tags, policy.Tag{Key: key, Value: text})
		}
	}
	if raw, found := claims[tagsClaim+"/transitive_tag_keys"]; found {
		if json.Unmarshal(raw, &w.transitive) != nil {
			return wrongFormat
		}
	}
	slices.SortFunc(w.tags, func(a, b policy.Tag) int { return strings.Compare(a.Key, b.Key) })
	return nil
}

func (w *webIdentity) readRoles(raw json.RawMessage, role arn.Role) error {
	if raw == nil || string(raw) == "null" {
		return nil
	}
	var listed []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		listed = strings.Split(one, ";")
	} else if json.Unmarshal(raw, &listed) != nil {
		return invalidToken("The roles claim is not in a supported format")
	}
	valid := 0
	for _, text := range listed {
		text = strings.TrimSpace(text)
		if _, err := account.ParseRole(text); err != nil || strings.ContainsAny(text, "*?") {
			continue
		}
		valid++
		if text == role.ARN().String() {
			w.roleListed = true
		}
	}
	switch {
	case valid == 0:
		return invalidToken("The roles claim contains no valid role ARNs")
	case !w.roleListed:
		return invalidToken("The target role ARN is not present in the roles claim of the identity token")
	}
	return nil
}
