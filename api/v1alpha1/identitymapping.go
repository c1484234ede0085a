package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IdentityMapping says as which Kubernetes user, in which groups, an IAM principal
// enters the cluster. It is what an entry of the ConfigMap aws-auth is, as an object
// of its own: with a history, an owner and a status.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=idm,categories=rolecall
// +kubebuilder:printcolumn:name="Principal",type=string,JSONPath=".status.principal"
// +kubebuilder:printcolumn:name="Username",type=string,JSONPath=".spec.username"
// +kubebuilder:printcolumn:name="Groups",type=string,JSONPath=".spec.groups"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type IdentityMapping struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec IdentityMappingSpec `json:"spec"`
	// +optional
	Status AccessStatus `json:"status,omitempty"`
}

// IdentityMappingSpec is who enters as whom.
//
// +kubebuilder:validation:XValidation:rule="!has(self.userID) || has(self.principal.arn)",message="userID is the id of one principal: with principal.arn"
type IdentityMappingSpec struct {
	// Principal is who enters.
	//
	// +required
	Principal Principal `json:"principal"`
	// Username is a template of the Kubernetes user's name. {{AccountID}},
	// {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}} and {{EC2PrivateDNSName}} stand
	// for what the caller has; who has none of it does not enter.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('access-entry:')",message="names that begin with access-entry: stand for access policies"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system:') || self == 'system:node:{{EC2PrivateDNSName}}'",message="a username that begins with system: is Kubernetes' own"
	Username string `json:"username"`
	// Groups are templates of the Kubernetes groups, as username is one.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('access-entry:')",message="names that begin with access-entry: stand for access policies"
	Groups []string `json:"groups,omitempty"`
	// UserID is IAM's unique id of the principal (AROA… of a role, AIDA… of a user). If
	// given, a principal that was deleted and made again does not enter.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^A[A-Z0-9]{15,127}$`
	UserID string `json:"userID,omitempty"`
}

// Principal names who may enter a cluster: just one of its forms.
//
// +kubebuilder:validation:XValidation:rule="(has(self.arn) ? 1 : 0) + (has(self.permissionSet) ? 1 : 0) + (has(self.account) && !has(self.permissionSet) ? 1 : 0) == 1",message="give one of arn, permissionSet (with its account), or account"
// +kubebuilder:validation:XValidation:rule="!has(self.permissionSet) || has(self.account)",message="permissionSet needs the account that it is assigned in"
type Principal struct {
	// ARN is that of an IAM role or user. A role's path may be there or not: STS never
	// tells it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^arn:aws[a-z0-9-]*:iam::\d{12}:(role|user)/([\w+=,.@-]+/)*[\w+=,.@-]{1,64}$`
	ARN string `json:"arn,omitempty"`
	// PermissionSet is the name of one of IAM Identity Center: whatever ending AWS
	// gives the name of its role, it is found.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[\w+=,.@-]+$`
	PermissionSet string `json:"permissionSet,omitempty"`
	// Account is that of the permission set. Alone it is everybody of the account whom
	// no other mapping knows.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^\d{12}$`
	Account string `json:"account,omitempty"`
}

// AccessStatus is what Rolecall made of an IdentityMapping or AccessEntry.
type AccessStatus struct {
	// Principal is what logins are compared with.
	//
	// +optional
	Principal string `json:"principal,omitempty"`
	// UserID is the unique id of the principal that counts, if one is known.
	//
	// +optional
	UserID string `json:"userID,omitempty"`
	// ObservedGeneration is the generation the conditions are about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions are Ready, Shadowed, and of an AccessEntry Bound.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IdentityMappingList is a list of mappings.
//
// +kubebuilder:object:root=true
type IdentityMappingList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IdentityMapping `json:"items"`
}
