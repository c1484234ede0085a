package association

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/policy"
)

// Limits of spec podidentity §13.2, §13.4 and §19.5; lengths in characters.
const (
	maxNamespace   = 63
	maxAccount     = 253
	maxPolicy      = 2048
	maxTags        = 50
	maxSessionTags = 44
	maxTemplate    = 256
	minDuration    = 900
	maxDuration    = 43200

	defaultDuration = 21600
)

// variables of templates; a label's key is as Kubernetes has it (spec podidentity
// §19.5).
const variables = `namespace|serviceAccount|podName|podUid|node|` +
	`podLabel:(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?`

var (
	namespaceName  = lazyregexp.New(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	accountName    = lazyregexp.New(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	accountPattern = lazyregexp.New(`^([a-z0-9][a-z0-9.-]*)?\*$`)
	tagTemplate    = lazyregexp.New(`^(?:[\p{L}\p{Z}\p{N}_.:/=+\-@]|\$\{(?:` + variables + `)\})*$`)
	nameTemplate   = lazyregexp.New(`^(?:[^$]|\$\{(?:` + variables + `|uuid)\})*$`)
	identityForms  = lazyregexp.New(`^(?:[\w+=,.@-]|\$\{(?:` + variables + `)\})+$`)
)

// DefaultTags are the keys of the six tags that sessions carry (spec podidentity
// §14.1).
func DefaultTags() []string {
	return []string{
		"eks-cluster-arn", "eks-cluster-name",
		"kubernetes-namespace", "kubernetes-service-account", "kubernetes-pod-name", "kubernetes-pod-uid",
	}
}

// Default fills what the API server fills when it stores an object.
func Default(a *v1alpha1.PodIdentityAssociation) {
	if a.Spec.DurationSeconds == 0 {
		a.Spec.DurationSeconds = defaultDuration
	}
	if a.Spec.OnOversize == "" {
		a.Spec.OnOversize = v1alpha1.Fail
	}
}

// Validate checks an association by the rules of its kind, those that the API
// server can check and those that it cannot: that the session policy is one, and
// leaves room for tags; that STS accepts the session tags. strict are the rules
// of the EKS API: no patterns, and a policy only without session tags (spec
// podidentity §13.2, §13.4). Errors are faults of kind Invalid with a *Refusal.
func Validate(a *v1alpha1.PodIdentityAssociation, strict bool) error {
	for _, check := range []func(*v1alpha1.PodIdentityAssociation) error{
		checkNames, checkRoles, checkTags, checkSession, checkPolicy,
	} {
		if err := check(a); err != nil {
			return err
		}
	}
	switch {
	case !strict:
		return nil
	case a.Spec.AllowPatterns || strings.HasSuffix(a.Spec.ServiceAccountName, "*"):
		return invalid("spec.serviceAccountName", "%q: the EKS API has no patterns", a.Spec.ServiceAccountName)
	}
	return checkPolicyAlone(a)
}

func checkNames(a *v1alpha1.PodIdentityAssociation) error {
	const field = "spec.serviceAccountName"
	account := a.Spec.ServiceAccountName
	isPattern := strings.HasSuffix(account, "*")
	switch {
	case len(a.Namespace) > maxNamespace || !namespaceName.MatchString(a.Namespace):
		return invalid("metadata.namespace",
			"%.80q is not a namespace: want at most 63 lower-case letters, digits and hyphens", a.Namespace)
	case len(account) > maxAccount:
		return invalid(field, "a service account has at most 253 characters")
	case isPattern && !a.Spec.AllowPatterns:
		return invalid(field, "%q is a pattern", account).Hint("patterns need allowPatterns: true")
	case isPattern && !accountPattern.MatchString(account), !isPattern && !accountName.MatchString(account):
		return invalid(field, "%q is not a service account: want lower-case letters, digits, hyphens and dots", account)
	case !isPattern && a.Name != account:
		return invalid("metadata.name",
			"%.80q must be spec.serviceAccountName, %q: the name prevents a second association", a.Name, account)
	}
	return nil
}

func checkRoles(a *v1alpha1.PodIdentityAssociation) error {
	if err := checkRole("spec.roleARN", a.Spec.RoleARN); err != nil {
		return err
	}
	if a.Spec.TargetRoleARN != "" {
		if err := checkRole("spec.targetRoleARN", a.Spec.TargetRoleARN); err != nil {
			return err
		}
	}
	const field = "spec.externalID"
	switch id := a.Spec.ExternalID; {
	case id == "":
		return nil
	case !arn.IsExternalID(id):
		return invalid(field, "want 2 to 1,224 letters, digits and _+=,.@:/-")
	case a.Spec.TargetRoleARN == "" && a.Spec.Mode != v1alpha1.BrokerRole:
		return invalid(field, "is sent only with sts:AssumeRole").Hint("set targetRoleARN, or mode: BrokerRole")
	}
	return nil
}

func checkRole(field, text string) error {
	if _, err := arn.ParseRole(text); err != nil {
		return invalid(field, "%s", err).Hint("want arn:aws:iam::ACCOUNT:role/NAME, without wildcards")
	}
	return nil
}

func checkTags(a *v1alpha1.PodIdentityAssociation) error {
	spec := &a.Spec
	if err := checkTagMap("spec.tags", spec.Tags, maxTags); err != nil {
		return err
	}
	const field = "spec.sessionTags"
	if err := checkTagMap(field, spec.SessionTags, maxSessionTags); err != nil {
		return err
	}
	looks := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(spec.SessionTags)) {
		look := LookOfKey(key)
		switch earlier, twice := looks[look]; {
		case slices.Contains(DefaultTags(), look):
			return invalid(field, "%q is one of the six keys that every session carries, or looks like it", key)
		case twice:
			return invalid(field, "%q and %q are one key, or look like one, and STS ignores letter case", earlier, key)
		case !arn.IsTagKey(key) || !tagTemplate.MatchString(spec.SessionTags[key]):
			return invalid(field, "%q: STS accepts letters, digits, spaces and _.:/=+-@", key).
				Hint("values may use ${namespace}, ${serviceAccount}, ${podName}, ${podUid}, " +
					"${node} and ${podLabel:KEY}")
		}
		looks[look] = key
	}
	seen := map[string]bool{}
	for _, key := range spec.OmitTags {
		if !slices.Contains(DefaultTags(), key) || seen[key] {
			return invalid("spec.omitTags", "%.80q is not one of the six keys, or appears twice", key)
		}
		seen[key] = true
	}
	switch tagging := spec.SessionTagging; {
	case spec.DisableSessionTags && len(spec.SessionTags)+len(spec.OmitTags) > 0:
		return invalid("spec.disableSessionTags",
			"sessionTags and omitTags have no meaning with disableSessionTags: true")
	case !slices.Contains([]v1alpha1.SessionTagging{
		"", v1alpha1.TransitiveTags, v1alpha1.LocalTags, v1alpha1.NoTags,
	}, tagging):
		return invalid("spec.sessionTagging", "%.80q: want Transitive, Local or None", tagging)
	case tagging == v1alpha1.NoTags && len(spec.SessionTags)+len(spec.OmitTags) > 0:
		return invalid("spec.sessionTagging", "sessionTags and omitTags have no meaning with sessionTagging: None")
	case tagging != "" && tagging != v1alpha1.NoTags &&
		(spec.DisableSessionTags || spec.Mode == v1alpha1.PassThrough):
		return invalid("spec.sessionTagging",
			"has no meaning with disableSessionTags: true, nor in mode PassThrough")
	}
	return nil
}

func checkTagMap(field string, tags map[string]string, limit int) error {
	if len(tags) > limit {
		return invalid(field, "%d tags: want at most %d", len(tags), limit)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		switch length := utf8.RuneCountInString(key); {
		case length < 1 || length > arn.MaxTagKey || !utf8.ValidString(key) || !utf8.ValidString(tags[key]):
			return invalid(field, "%.140q: a key has 1 to 128 characters", key)
		case strings.HasPrefix(LookOfKey(key), "aws:"):
			return invalid(field, "%q: keys that begin with aws: are reserved for AWS", key)
		case utf8.RuneCountInString(tags[key]) > arn.MaxTagValue:
			return invalid(field, "%q: a value has at most 256 characters", key)
		}
	}
	return nil
}

func checkSession(a *v1alpha1.PodIdentityAssociation) error {
	switch spec := &a.Spec; {
	case spec.DurationSeconds != 0 && (spec.DurationSeconds < minDuration || spec.DurationSeconds > maxDuration):
		return invalid("spec.durationSeconds", "%d: want 900 to 43200", spec.DurationSeconds)
	case !slices.Contains(
		[]v1alpha1.AssociationMode{"", v1alpha1.Federated, v1alpha1.BrokerRole, v1alpha1.PassThrough}, spec.Mode):
		return invalid("spec.mode", "%.80q: want Federated, BrokerRole or PassThrough", spec.Mode)
	case !slices.Contains([]v1alpha1.Oversize{"", v1alpha1.Fail, v1alpha1.DropPodTags}, spec.OnOversize):
		return invalid("spec.onOversize", "%.80q: want Fail or DropPodTags", spec.OnOversize)
	case utf8.RuneCountInString(spec.SessionName) > maxTemplate || !nameTemplate.MatchString(spec.SessionName):
		return invalid("spec.sessionName",
			"want at most 256 characters, and no variables but ${namespace}, ${serviceAccount}, "+
				"${podName}, ${podUid}, ${node}, ${podLabel:KEY} and ${uuid}")
	case spec.SourceIdentity != "" && (len(spec.SourceIdentity) < arn.MinSessionName ||
		len(spec.SourceIdentity) > maxTemplate || !identityForms.MatchString(spec.SourceIdentity)):
		return invalid("spec.sourceIdentity",
			"want 2 to 256 letters, digits and _+=,.@-, and the variables ${namespace}, ${serviceAccount}, "+
				"${podName}, ${podUid}, ${node} and ${podLabel:KEY}")
	case spec.Mode == v1alpha1.PassThrough && (len(spec.SessionTags)+len(spec.OmitTags) > 0 ||
		spec.SourceIdentity != ""):
		return invalid("spec.mode",
			"PassThrough assumes the role with the pod's own token, which can carry neither session tags nor "+
				"a source identity")
	}
	return nil
}

func checkPolicy(a *v1alpha1.PodIdentityAssociation) error {
	const field = "spec.sessionPolicy"
	text := a.Spec.SessionPolicy
	if text == "" {
		return nil
	}
	if length := utf8.RuneCountInString(text); length > maxPolicy {
		return invalid(field, "%d characters: want at most 2,048", length)
	}
	_, err := policy.Parse(policy.Session, "session policy", []byte(text))
	if refused, ok := errors.AsType[*policy.SyntaxError](err); ok {
		return invalid(field, "line %d, column %d: %s", refused.Line, refused.Column, refused.Detail)
	}
	if err != nil {
		return invalid(field, "%s", err)
	}
	if percent := PackedSize(a); TaggingOf(&a.Spec) != v1alpha1.NoTags && percent >= 100 {
		return invalid(field, "with the session's tags its packed size is about %d%% of what STS allows", percent).
			Hint("shorten the policy, leave tags out with omitTags, or all with disableSessionTags: true")
	}
	return nil
}

// checkPolicyAlone is EKS's rule, which does without an estimate.
func checkPolicyAlone(a *v1alpha1.PodIdentityAssociation) error {
	if a.Spec.SessionPolicy == "" || TaggingOf(&a.Spec) == v1alpha1.NoTags {
		return nil
	}
	return invalid("spec.sessionPolicy", "A policy can be set only if session tags are disabled.")
}
