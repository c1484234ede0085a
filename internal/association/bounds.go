package association

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/fault"
)

// EKS is the mode of a cluster whose roles AWS's own service assumes; no association
// can ask for it.
const EKS v1alpha1.AssociationMode = "EKS"

// Choice is something in an association by which its writer changes what a session shows
// AWS, beside the roles, and so may get past what a policy asks for.
type Choice string

// The choices there are.
const (
	// ChooseExternalID is an external id of the association's own in mode BrokerRole, where
	// it is all that tells one service account from another.
	ChooseExternalID Choice = "ExternalID"
	// ChooseNoTags leaves out session tags that say whose session it is: a Deny, or a policy
	// by a role's own tags, that goes by them no longer applies; and a role that trusts the
	// broker need not allow sts:TagSession.
	ChooseNoTags Choice = "NoSessionTags"
	// ChooseLocalTags keeps tags from the further roles that a session assumes, where a
	// Deny that goes by them no longer applies.
	ChooseLocalTags Choice = "LocalSessionTags"
	// ChooseTags sets further session tags, which also take the place of the role's own.
	ChooseTags Choice = "SessionTags"
	// ChooseSessionName is a session name, which policies see as sts:RoleSessionName and in
	// aws:userid, and people in CloudTrail.
	ChooseSessionName Choice = "SessionName"
	// ChooseSourceIdentity is a source identity, which all further sessions keep.
	ChooseSourceIdentity Choice = "SourceIdentity"
	// ChooseUnboundTokens accepts tokens that are bound to no pod, from every node.
	ChooseUnboundTokens Choice = "UnboundTokens"
)

// Choices returns all choices, in the order of the reference pages.
func Choices() []Choice {
	return []Choice{
		ChooseExternalID, ChooseNoTags, ChooseLocalTags, ChooseTags, ChooseSessionName, ChooseSourceIdentity, ChooseUnboundTokens,
	}
}

// UsualChoices are those that associations of a mode have where the operator does not say:
// all that AWS's own service gives the writers of associations, and what a trust policy that
// names the service account is not fooled by. In mode BrokerRole trust policies see the
// broker, not the account: there nobody names external ids or leaves out tags unasked.
func UsualChoices(mode v1alpha1.AssociationMode) []Choice {
	return slices.DeleteFunc(Choices(), func(c Choice) bool {
		return c == ChooseExternalID || (c == ChooseNoTags || c == ChooseLocalTags) && mode == v1alpha1.BrokerRole
	})
}

// Bounds are what the operator of a plane lets the writers of associations choose. With
// the zero value no association is within them.
type Bounds struct {
	// Default is the mode of associations that name none. With EKS there is no other.
	Default v1alpha1.AssociationMode
	// Modes are those that associations may have; only Default if there are none.
	Modes []v1alpha1.AssociationMode
	// Choices are what associations may choose, in every mode; nil are the UsualChoices.
	Choices []Choice
}

// OutOfBounds is the cause of a refusal because of what the operator allows.
type OutOfBounds struct {
	// Field is the one that says it, as in the kind: spec.mode.
	Field string
	// Message says what is not allowed, and what would be.
	Message string
}

// Error returns the field and the message.
func (o *OutOfBounds) Error() string { return o.Field + ": " + o.Message }

// ModeOf is the mode that an association has.
func (b *Bounds) ModeOf(a *v1alpha1.PodIdentityAssociation) v1alpha1.AssociationMode {
	if a.Spec.Mode != "" && b.Default != EKS {
		return a.Spec.Mode
	}
	return b.Default
}

// AllowedModes are the modes that associations may have.
func (b *Bounds) AllowedModes() []v1alpha1.AssociationMode {
	if len(b.Modes) == 0 && b.Default != "" {
		return []v1alpha1.AssociationMode{b.Default}
	}
	return b.Modes
}

// May reports whether associations of a mode may choose something.
func (b *Bounds) May(mode v1alpha1.AssociationMode, choice Choice) bool {
	if b.Choices == nil {
		return slices.Contains(UsualChoices(mode), choice)
	}
	return slices.Contains(b.Choices, choice)
}

// Check refuses an association whose mode or choices the operator does not allow. It does
// not judge external ids, which RoleGrants may allow too. The error is a fault of kind
// Denied with an *OutOfBounds.
func (b *Bounds) Check(a *v1alpha1.PodIdentityAssociation) error {
	if b.Default == EKS {
		return nil // AWS's own service decides what counts
	}
	mode := b.ModeOf(a)
	if allowed := b.AllowedModes(); !slices.Contains(allowed, mode) {
		return outOfBounds("spec.mode",
			"%.80q is not a mode that associations may have here: %s", mode, listed(allowed)).
			Hint("leave spec.mode out, or let the operator add it to --allowed-modes")
	}
	for _, chosen := range chosen(a, mode) {
		if !b.May(mode, chosen.choice) {
			return outOfBounds(chosen.field, "associations in mode %s may not choose this here", mode).
				Hint("leave it out, or let the operator add %s to --association-choices", chosen.choice)
		}
	}
	return nil
}

// chose is a choice by the field that makes it.
type chose struct {
	choice Choice
	field  string
}

// chosen are the choices that an association makes.
func chosen(a *v1alpha1.PodIdentityAssociation, mode v1alpha1.AssociationMode) (all []chose) {
	spec := &a.Spec
	add := func(made bool, choice Choice, field string) {
		if made {
			all = append(all, chose{choice, field})
		}
	}
	// The mode by which sessions carry no tags is the operator's choice already.
	if mode != v1alpha1.PassThrough {
		add(spec.DisableSessionTags, ChooseNoTags, "spec.disableSessionTags")
		add(spec.SessionTagging == v1alpha1.NoTags, ChooseNoTags, "spec.sessionTagging")
		add(spec.SessionTagging == v1alpha1.LocalTags, ChooseLocalTags, "spec.sessionTagging")
		add(slices.ContainsFunc(spec.OmitTags, saysWhose), ChooseNoTags, "spec.omitTags")
	}
	add(len(spec.SessionTags) > 0, ChooseTags, "spec.sessionTags")
	add(spec.SessionName != "", ChooseSessionName, "spec.sessionName")
	add(spec.SourceIdentity != "", ChooseSourceIdentity, "spec.sourceIdentity")
	add(spec.AllowUnboundTokens, ChooseUnboundTokens, "spec.allowUnboundTokens")
	return all
}

// saysWhose reports whether one of the six tags says whose session it is. A pod's name is
// chosen by who creates it, and its UID by nobody.
func saysWhose(key string) bool { return key != "kubernetes-pod-name" && key != "kubernetes-pod-uid" }

func listed(modes []v1alpha1.AssociationMode) string {
	if len(modes) == 0 {
		return "there is none"
	}
	var names []string
	for _, mode := range modes {
		names = append(names, string(mode))
	}
	return "want " + strings.Join(names, " or ")
}

func outOfBounds(field, format string, args ...any) *fault.Error {
	return &fault.Error{Kind: fault.Denied, Cause: &OutOfBounds{Field: field, Message: fmt.Sprintf(format, args...)}}
}
