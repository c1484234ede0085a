package objects

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// nodeTypes are the names of the types that are not STANDARD.
var nodeTypes = map[v1alpha1.AccessEntryType]struct {
	username string
	groups   []string
}{
	v1alpha1.EC2Linux:      {onEC2, []string{nodes}},
	v1alpha1.EC2Windows:    {onEC2, []string{nodes, "eks:kube-proxy-windows"}},
	v1alpha1.EC2Auto:       {onEC2, []string{nodes}},
	v1alpha1.FargateLinux:  {bySession, []string{bootstrappers, nodes, "system:node-proxier"}},
	v1alpha1.HybridLinux:   {bySession, []string{bootstrappers, nodes}},
	v1alpha1.HyperPodLinux: {bySession, []string{bootstrappers, nodes}},
}

const (
	onEC2         = "system:node:{{EC2PrivateDNSName}}"
	bySession     = "system:node:{{SessionName}}"
	nodes         = "system:nodes"
	bootstrappers = "system:bootstrappers"
)

var (
	ownPrefix  = lazyregexp.New(`^(system|eks|aws|amazon|iam):`)
	unguarded  = lazyregexp.New(`^[^:]*\{\{SessionName(Raw)?\}\}`)
	serviceARN = ":role/aws-service-role/"
)

// entryFlaw is what EKS would refuse in an entry (spec authenticator §7.2).
func entryFlaw(spec *v1alpha1.AccessEntrySpec) (text, hint string) {
	_, isNode := nodeTypes[spec.Type]
	arn := strings.ToLower(spec.Principal.ARN)
	switch {
	case !isNode && spec.Type != v1alpha1.StandardEntry && spec.Type != "":
		return "type " + string(spec.Type) + " is not known", ""
	case spec.Principal.ARN == "" && spec.Principal.PermissionSet == "":
		return "an access entry is about a role, a user or a permission set", ""
	case strings.Contains(arn, serviceARN):
		return "a service-linked role cannot have an access entry", "Use an IdentityMapping or aws-auth."
	case arn != "" && (!strings.Contains(arn, ":iam:") || strings.HasSuffix(arn, ":root")):
		return "an access entry is about a role or user, not a session, the root or a federated user", ""
	case isNode && !strings.Contains(arn, ":role/"):
		return "the principal of a node type is a role", ""
	case isNode && (spec.Username != "" || len(spec.KubernetesGroups) > 0):
		return "username and kubernetesGroups of node types are fixed", "Leave them out."
	case isNode && len(spec.AccessPolicies) > 0:
		return "only entries of type STANDARD have access policies", ""
	case ownPrefix.MatchString(spec.Username):
		return "username must not begin with system:, eks:, aws:, amazon: or iam:", ""
	case unguarded.MatchString(spec.Username):
		return "a colon must be somewhere before {{SessionName}}, so that no session can take another user's name",
			"Write username: " + "sso:" + spec.Username
	}
	if i := slices.IndexFunc(spec.KubernetesGroups, isSystem); i >= 0 {
		return "the kubernetes group name " + spec.KubernetesGroups[i] + " is invalid, it cannot start with system:",
			"Give the entry an access policy, such as AmazonEKSClusterAdminPolicy."
	}
	return "", ""
}

func isSystem(group string) bool { return strings.HasPrefix(group, "system:") }
