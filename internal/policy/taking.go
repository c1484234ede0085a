package policy

import (
	"cmp"
	"slices"
	"strings"
)

// Tag is a session tag.
type Tag struct{ Key, Value string }

// Taking is a call that assumes a role, as policies see it: what it asks for
// besides the role, and what the calling session passes on (spec iam-policy
// §4.4).
type Taking struct {
	// Action is sts:AssumeRole, sts:AssumeRoleWithWebIdentity or
	// sts:AssumeRoleWithSAML.
	Action                                  string
	SessionName, ExternalID, SourceIdentity string
	Tags                                    []Tag
	// TransitiveKeys are keys of Tags that further sessions inherit.
	TransitiveKeys []string
	// HasContexts says that provided contexts are passed.
	HasContexts bool
	// Inherited is what the calling session passes on; empty if the caller has
	// no session.
	Inherited Inheritance
}

// Inheritance goes from a session to those that are assumed with it, and cannot
// be changed.
type Inheritance struct {
	TransitiveTags []Tag
	SourceIdentity string
}

// TakingError is a refusal before any policy is evaluated: AWS's code and text.
type TakingError struct{ Code, Message string }

// Error returns the text.
func (e *TakingError) Error() string { return e.Message }

// Limits of session tags, in characters (spec iam-policy §1.4).
const (
	maxSessionTags = 50
	maxTagKey      = 128
	maxTagValue    = 256
)

// Check refuses what no policy can allow.
func (t *Taking) Check() *TakingError {
	invalid := func(message string) *TakingError { return &TakingError{"InvalidParameterValue", message} }
	if len(t.Tags) > maxSessionTags {
		return &TakingError{
			validation,
			"1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less " +
				"than or equal to 50",
		}
	}
	var seen []string
	for _, tag := range t.Tags {
		key := fold(tag.Key)
		switch {
		case tag.Key == "" || len([]rune(tag.Key)) > maxTagKey || len([]rune(tag.Value)) > maxTagValue:
			return &TakingError{
				validation,
				"1 validation error detected: Value at 'tags' failed to satisfy constraint: keys have 1 to 128 " +
					"characters, values at most 256",
			}
		case strings.HasPrefix(key, "aws:"):
			return invalid("Tag keys that begin with aws: are reserved for internal use.")
		case slices.Contains(seen, key):
			return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case hasTag(t.Inherited.TransitiveTags, key):
			return invalid(
				"One of the specified transitive tag keys can't be set because it conflicts with a transitive tag " +
					"key from the calling session.",
			)
		}
		seen = append(seen, key)
	}
	for _, key := range t.TransitiveKeys {
		if !slices.Contains(seen, fold(key)) {
			return invalid("The specified transitive tag key must be included in the requested tags.")
		}
	}
	return nil
}

func hasTag(tags []Tag, folded string) bool {
	return slices.ContainsFunc(tags, func(t Tag) bool { return fold(t.Key) == folded })
}

// Actions are the permissions that must all pass the same check on the role.
func (t *Taking) Actions() []string {
	actions := []string{t.Action}
	if len(t.Tags) > 0 || len(t.Inherited.TransitiveTags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if t.sourceIdentity() != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	if t.HasContexts {
		actions = append(actions, "sts:SetContext")
	}
	return actions
}

// sourceIdentity cannot be changed once it is set.
func (t *Taking) sourceIdentity() string { return cmp.Or(t.Inherited.SourceIdentity, t.SourceIdentity) }

// AddContext sets the condition keys of the call (spec iam-policy §5.2, §5.3).
// An inherited transitive tag also overrides the same key of the role's tags
// while the trust policy is evaluated.
func (t *Taking) AddContext(c *Context) {
	set := func(key, text string) {
		if text != "" {
			c.Set(key, text)
		}
	}
	set("sts:RoleSessionName", t.SessionName)
	set("sts:ExternalId", t.ExternalID)
	set("sts:SourceIdentity", t.sourceIdentity())
	for _, tag := range t.Inherited.TransitiveTags {
		c.Set("aws:ResourceTag/"+tag.Key, tag.Value)
	}
	if len(t.Tags) > 0 {
		keys := make([]string, len(t.Tags))
		for i, tag := range t.Tags {
			keys[i] = tag.Key
			c.Set("aws:RequestTag/"+tag.Key, tag.Value)
		}
		c.SetMulti("aws:TagKeys", keys)
	}
	if len(t.TransitiveKeys) > 0 {
		c.SetMulti("sts:TransitiveTagKeys", t.TransitiveKeys)
	}
}

// SessionTags are the tags of the new session, sorted by key: those of the role,
// over them those of the request, over them the inherited ones.
func (t *Taking) SessionTags(role []Tag) []Tag {
	var tags []Tag
	for _, layer := range [][]Tag{t.Inherited.TransitiveTags, t.Tags, role} {
		for _, tag := range layer {
			if !hasTag(tags, fold(tag.Key)) {
				tags = append(tags, tag)
			}
		}
	}
	slices.SortFunc(tags, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// Inheritance is what the new session passes on in turn.
func (t *Taking) Inheritance() Inheritance {
	next := Inheritance{TransitiveTags: slices.Clone(t.Inherited.TransitiveTags), SourceIdentity: t.sourceIdentity()}
	for _, tag := range t.Tags {
		if slices.ContainsFunc(t.TransitiveKeys, func(key string) bool { return fold(key) == fold(tag.Key) }) {
			next.TransitiveTags = append(next.TransitiveTags, tag)
		}
	}
	return next
}

// DecideAll decides several actions, all of which must be allowed, as when a
// session is tagged. It returns the worst decision and the action it is about; a
// permission that is missing beside the call's own has a reason of its own.
func DecideAll(r *Request, actions []string, p *Policies) (Decision, string) {
	one := *r
	worst, about, allowed := Decision{Effect: Allowed}, "", false
	for _, action := range actions {
		one.Action = action
		decision := Decide(&one, p)
		allowed = allowed || decision.Effect == Allowed
		if about == "" || severity(decision.Effect) > severity(worst.Effect) {
			worst, about = decision, action
		}
	}
	if allowed && worst.Effect == ImplicitDeny {
		worst.Reason = missingBeside(about, worst)
	}
	return worst, about
}

// ExplainAll is Explain for DecideAll: it explains the action the decision is
// about.
func ExplainAll(r *Request, actions []string, p *Policies) *Explanation {
	one := *r
	decision, action := DecideAll(r, actions, p)
	one.Action = action
	e := Explain(&one, p)
	if strings.Contains(decision.Reason, "-missing:") {
		e.Reason = decision.Reason
	}
	return e
}

func severity(e Effect) int {
	switch e {
	case ExplicitDeny:
		return 2
	case ImplicitDeny:
		return 1
	case Allowed:
	}
	return 0
}

// missingBeside names the side that lacks the permission.
func missingBeside(action string, d Decision) string {
	side := ":identity"
	if d.Kind == Trust {
		side = ":trust"
	}
	switch {
	case equalASCII(action, "sts:TagSession"):
		return "tag-session-missing" + side
	case equalASCII(action, "sts:SetSourceIdentity"):
		return "source-identity-missing" + side
	}
	return d.Reason
}
