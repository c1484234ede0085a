package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RoleGrant says which service accounts may use which IAM roles. Without any
// grant in the cluster every service account may use every role, as without
// Rolecall, unless --require-grants says that nobody may use any; with one, only
// what a grant allows is injected and brokered.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=rolecall
// +kubebuilder:printcolumn:name="Namespaces",type=string,JSONPath=".spec.subjects[*].namespace"
// +kubebuilder:printcolumn:name="Roles",type=string,JSONPath=".spec.roles"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type RoleGrant struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec RoleGrantSpec `json:"spec"`
}

// RoleGrantSpec is who may use what. Every subject may use every role of the
// grant.
type RoleGrantSpec struct {
	// Subjects are the service accounts.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Subjects []GrantSubject `json:"subjects"`
	// Roles are patterns of role ARNs: * stands for any characters, ? for one, over
	// the whole ARN. A pattern without either must be a valid role ARN.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:Pattern=`^(\*|arn:.*[*?].*|arn:aws[a-z0-9-]*:iam::\d{12}:role/([\w+=,.@-]+/)*[\w+=,.@-]{1,64})$`
	// +kubebuilder:validation:items:XValidation:rule="self.contains('*') || self.contains('?') || self.lastIndexOf('/') - self.indexOf('/') < 512",message="the path of a role has at most 512 characters"
	Roles []string `json:"roles"`
	// Modes are those by which the roles may be assumed for associations; all that
	// the operator allows if empty. They do not limit roles of annotations, which
	// no association gives.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=3
	Modes []AssociationMode `json:"modes,omitempty"`
	// ExternalIDs are patterns of the external ids that associations of the
	// subjects may name for these roles in mode BrokerRole, beside that of their
	// service account: * stands for any characters, ? for one. If empty, they may
	// name one only if the operator lets all associations do so.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1224
	// +kubebuilder:validation:items:Pattern=`^[\w+=,.@:/*?-]*$`
	ExternalIDs []string `json:"externalIDs,omitempty"`
}

// GrantSubject names service accounts.
type GrantSubject struct {
	// Namespace is a pattern of namespace names: * stands for any characters,
	// ? for one.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9*?]([a-z0-9*?-]*[a-z0-9*?])?$`
	Namespace string `json:"namespace"`
	// ServiceAccount is a pattern of account names; all accounts of the
	// namespace if empty.
	//
	// +optional
	// +kubebuilder:default="*"
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9*?]([a-z0-9.*?-]*[a-z0-9*?])?$`
	ServiceAccount string `json:"serviceAccount,omitempty"`
}

// RoleGrantList is a list of grants.
//
// +kubebuilder:object:root=true
type RoleGrantList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RoleGrant `json:"items"`
}
