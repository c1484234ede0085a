package association

import "github.com/rolecall/rolecall/api/v1alpha1"

// BeyondEKS names a field of the spec that the EKS API does not have, and that would be
// lost there; empty if there is none.
func BeyondEKS(s *v1alpha1.PodIdentityAssociationSpec) string {
	defaults := v1alpha1.PodIdentityAssociation{}
	Default(&defaults)
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"externalID", s.ExternalID != ""},
		{"durationSeconds", s.DurationSeconds != 0 && s.DurationSeconds != defaults.Spec.DurationSeconds},
		{"sessionTagging", s.SessionTagging == v1alpha1.LocalTags},
		{"sessionTags", len(s.SessionTags) > 0},
		{"omitTags", len(s.OmitTags) > 0},
		{"sessionName", s.SessionName != ""},
		{"sourceIdentity", s.SourceIdentity != ""},
		{"mode", s.Mode != ""},
		{"allowUnboundTokens", s.AllowUnboundTokens},
		{"onOversize", s.OnOversize != "" && s.OnOversize != defaults.Spec.OnOversize},
		{"paused", s.Paused},
	} {
		if field.set {
			return field.name
		}
	}
	return ""
}
