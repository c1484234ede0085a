package association

import (
	"slices"
	"unicode/utf8"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/policy"
)

// PackedSize estimates the percentage of the packed size that STS allows a
// session, from its policy and tags.
//
// STS does not say how it packs. The one measured session with the six tags had
// 74 % (spec podidentity §14.2); those of an average pod have 275 characters, so
// that 372 characters of tags count as the whole size. A policy that has all
// 2,048 characters is accepted by itself. Both are added as those of that
// session and of its further tags were. STS compresses, so that the estimate is
// rather too large.
func PackedSize(a *v1alpha1.PodIdentityAssociation) int {
	const tagsAllotted = 372
	tags := 0
	if TaggingOf(&a.Spec) != v1alpha1.NoTags {
		tags = tagCharacters(a)
	}
	return (policy.Size(a.Spec.SessionPolicy)*100+maxPolicy-1)/maxPolicy + (tags*100+tagsAllotted-1)/tagsAllotted
}

// tagCharacters takes average values for what only the pod and the cluster have.
func tagCharacters(a *v1alpha1.PodIdentityAssociation) int {
	const clusterARN, clusterName, podName, podUID = 56, 8, 33, 36
	sum := 0
	values := map[string]int{
		"eks-cluster-arn":            clusterARN,
		"eks-cluster-name":           clusterName,
		"kubernetes-pod-name":        podName,
		"kubernetes-pod-uid":         podUID,
		"kubernetes-namespace":       len(a.Namespace),
		"kubernetes-service-account": len(a.Spec.ServiceAccountName),
	}
	for key, value := range values {
		if !slices.Contains(a.Spec.OmitTags, key) {
			sum += len(key) + value
		}
	}
	for key, value := range a.Spec.SessionTags {
		sum += utf8.RuneCountInString(key) + utf8.RuneCountInString(value)
	}
	return sum
}
