package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AccessEntry is an access entry of EKS, on any cluster: an IAM principal, the
// Kubernetes user that it is, and the access policies that say what it may do. Its
// policies are made RBAC (spec authenticator §7).
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ae,categories=rolecall
// +kubebuilder:printcolumn:name="Principal",type=string,JSONPath=".status.principal"
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=".spec.type"
// +kubebuilder:printcolumn:name="Policies",type=string,JSONPath=".spec.accessPolicies[*].policy"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type AccessEntry struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec AccessEntrySpec `json:"spec"`
	// +optional
	Status AccessStatus `json:"status,omitempty"`
}

// AccessEntrySpec is who enters, as whom, and what it may do.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'STANDARD' || (!has(self.username) && (!has(self.kubernetesGroups) || size(self.kubernetesGroups) == 0))",message="username and kubernetesGroups of node types are fixed: only entries of type STANDARD have their own"
// +kubebuilder:validation:XValidation:rule="self.type == 'STANDARD' || !has(self.accessPolicies) || size(self.accessPolicies) == 0",message="only entries of type STANDARD have access policies"
// +kubebuilder:validation:XValidation:rule="self.type == 'STANDARD' || (has(self.principal.arn) && self.principal.arn.contains(':role/'))",message="the principal of a node type is a role"
// +kubebuilder:validation:XValidation:rule="self.principal == oldSelf.principal && self.type == oldSelf.type",message="principal and type cannot be changed: delete the entry and create another"
type AccessEntrySpec struct {
	// Principal is who enters.
	//
	// +required
	// +kubebuilder:validation:XValidation:rule="has(self.arn) || has(self.permissionSet)",message="an access entry is about a role, a user or a permission set"
	// +kubebuilder:validation:XValidation:rule="!has(self.arn) || !self.arn.contains(':role/aws-service-role/')",message="a service-linked role cannot have an access entry: use an IdentityMapping or aws-auth"
	Principal Principal `json:"principal"`
	// Type is what the principal is: STANDARD for people and pipelines, the others for
	// nodes.
	//
	// +optional
	// +kubebuilder:default=STANDARD
	Type AccessEntryType `json:"type,omitempty"`
	// Username is a template of the user's name, with the placeholders of an
	// IdentityMapping. If empty it is a user's ARN, and for a role
	// arn:PARTITION:sts::ACCOUNT:assumed-role/ROLE/{{SessionName}}.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.matches('^(system|eks|aws|amazon|iam|access-entry):')",message="username must not begin with system:, eks:, aws:, amazon:, iam: or access-entry:"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[^:]*[{][{]SessionName(Raw)?[}][}]')",message="a colon must be somewhere before {{SessionName}}, so that no session can take another user's name"
	Username string `json:"username,omitempty"`
	// KubernetesGroups are the user's groups. They need not exist.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('system:') && !self.startsWith('access-entry:')",message="a group cannot start with system: or access-entry:"
	KubernetesGroups []string `json:"kubernetesGroups,omitempty"`
	// AccessPolicies are what the principal may do beside the rights of its groups.
	//
	// +optional
	// +listType=map
	// +listMapKey=policy
	// +kubebuilder:validation:MaxItems=20
	AccessPolicies []AccessPolicy `json:"accessPolicies,omitempty"`
}

// AccessEntryType is what kind of principal an entry is about.
//
// +kubebuilder:validation:Enum=STANDARD;EC2_LINUX;EC2_WINDOWS;FARGATE_LINUX;HYBRID_LINUX;HYPERPOD_LINUX;EC2
type AccessEntryType string

// The types of spec authenticator §7.2.
const (
	StandardEntry AccessEntryType = "STANDARD"
	EC2Linux      AccessEntryType = "EC2_LINUX"
	EC2Windows    AccessEntryType = "EC2_WINDOWS"
	FargateLinux  AccessEntryType = "FARGATE_LINUX"
	HybridLinux   AccessEntryType = "HYBRID_LINUX"
	HyperPodLinux AccessEntryType = "HYPERPOD_LINUX"
	EC2Auto       AccessEntryType = "EC2"
)

// AccessPolicy is one access policy of EKS, and where it counts. That is always said, so
// that a misspelt key cannot make a namespace the whole cluster.
//
// +kubebuilder:validation:XValidation:rule="(has(self.scope) && self.scope == 'cluster') != has(self.namespaces)",message="say where the policy counts: scope: cluster, or namespaces with at least one name"
type AccessPolicy struct {
	// Policy is its name, such as AmazonEKSViewPolicy.
	//
	// +required
	Policy AccessPolicyName `json:"policy"`
	// Scope is cluster, or namespace, which namespaces say by themselves.
	//
	// +optional
	Scope AccessScope `json:"scope,omitempty"`
	// Namespaces are those it counts in, or patterns that end in a star. They need not
	// exist yet.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^([a-z0-9]([a-z0-9-]*[a-z0-9])?|[a-z0-9][a-z0-9-]*\*)$`
	Namespaces []string `json:"namespaces,omitempty"`
}

// AccessScope is how far an access policy goes.
//
// +kubebuilder:validation:Enum=cluster;namespace
type AccessScope string

// The scopes, in EKS's words.
const (
	ClusterScope   AccessScope = "cluster"
	NamespaceScope AccessScope = "namespace"
)

// AccessPolicyName is the name of an access policy that people can have.
//
// +kubebuilder:validation:Enum=AmazonEKSAdminPolicy;AmazonEKSAdminViewPolicy;AmazonEKSClusterAdminPolicy;AmazonEKSEditPolicy;AmazonEKSSecretReaderPolicy;AmazonEKSViewPolicy
type AccessPolicyName string

// AccessEntryList is a list of access entries.
//
// +kubebuilder:object:root=true
type AccessEntryList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccessEntry `json:"items"`
}
