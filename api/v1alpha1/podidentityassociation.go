package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PodIdentityAssociation gives the pods of a service account of its namespace an
// IAM role by Pod Identity. It has the name of the service account, so that the
// API server itself refuses a second one. The service account need not exist.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=pia,categories=rolecall
// +kubebuilder:printcolumn:name="ServiceAccount",type=string,JSONPath=".spec.serviceAccountName"
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=".spec.roleARN"
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=".spec.targetRoleARN",priority=1
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=".status.associationID"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="LastUsed",type=date,JSONPath=".status.lastUsedTime",priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule="self.spec.serviceAccountName.endsWith('*') || self.metadata.name == self.spec.serviceAccountName",message="metadata.name must be spec.serviceAccountName: the name prevents a second association of the account"
type PodIdentityAssociation struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec PodIdentityAssociationSpec `json:"spec"`
	// +optional
	Status PodIdentityAssociationStatus `json:"status,omitempty"`
}

// PodIdentityAssociationSpec is what is wanted.
//
// +kubebuilder:validation:XValidation:rule="has(self.allowPatterns) && self.allowPatterns || !self.serviceAccountName.endsWith('*')",message="serviceAccountName is a name; patterns need allowPatterns: true"
// +kubebuilder:validation:XValidation:rule="!has(self.externalID) || has(self.targetRoleARN) || (has(self.mode) && self.mode == 'BrokerRole')",message="externalID is sent only with sts:AssumeRole: with targetRoleARN, or in mode BrokerRole"
// +kubebuilder:validation:XValidation:rule="!(has(self.disableSessionTags) && self.disableSessionTags) || (!has(self.sessionTags) && !has(self.omitTags))",message="sessionTags and omitTags have no meaning with disableSessionTags: true"
// +kubebuilder:validation:XValidation:rule="!has(self.sessionTagging) || self.sessionTagging != 'None' || (!has(self.sessionTags) && !has(self.omitTags))",message="sessionTags and omitTags have no meaning with sessionTagging: None"
// +kubebuilder:validation:XValidation:rule="!has(self.sessionTagging) || self.sessionTagging == 'None' || ((!has(self.disableSessionTags) || !self.disableSessionTags) && (!has(self.mode) || self.mode != 'PassThrough'))",message="sessionTagging has no meaning with disableSessionTags: true, nor in mode PassThrough"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'PassThrough' || (!has(self.sessionTags) && !has(self.omitTags) && !has(self.sourceIdentity))",message="mode PassThrough assumes the role with the pod's own token, which can carry neither session tags nor a source identity"
type PodIdentityAssociationSpec struct {
	// ServiceAccountName is the account whose pods get the role. With
	// allowPatterns it may end in a star, or be just a star.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|([a-z0-9][a-z0-9.-]*)?\*)$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="serviceAccountName cannot be changed: delete the association and create another"
	ServiceAccountName string `json:"serviceAccountName"`
	// AllowPatterns admits a star at the end of serviceAccountName. An association
	// with the exact name is preferred, then the longer text before the star.
	//
	// +optional
	AllowPatterns bool `json:"allowPatterns,omitempty"`
	// RoleARN is the role the pods get, or that assumes the target role for
	// them.
	//
	// +required
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^arn:aws[a-z0-9-]*:iam::\d{12}:role/([\w+=,.@-]+/)*[\w+=,.@-]{1,64}$`
	// +kubebuilder:validation:XValidation:rule="self.lastIndexOf('/') - self.indexOf('/') < 512",message="the path of a role has at most 512 characters"
	RoleARN string `json:"roleARN"`
	// TargetRoleARN is a second role, most often of another account, that is
	// assumed with the session of the first.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^arn:aws[a-z0-9-]*:iam::\d{12}:role/([\w+=,.@-]+/)*[\w+=,.@-]{1,64}$`
	// +kubebuilder:validation:XValidation:rule="self.lastIndexOf('/') - self.indexOf('/') < 512",message="the path of a role has at most 512 characters"
	TargetRoleARN string `json:"targetRoleARN,omitempty"`
	// ExternalID is sent with sts:AssumeRole; REGION/ACCOUNT/CLUSTER/NAMESPACE/
	// SERVICEACCOUNT if empty.
	//
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=1224
	// +kubebuilder:validation:Pattern=`^[\w+=,.@:/-]*$`
	ExternalID string `json:"externalID,omitempty"`
	// DisableSessionTags leaves all session tags out, as sessionTagging: None does.
	//
	// +optional
	DisableSessionTags bool `json:"disableSessionTags,omitempty"`
	// SessionTagging is how far session tags go. Transitive tags, the default and
	// what EKS sends, go on to every further role that a session assumes: each of
	// them must allow sts:TagSession, and none may set those keys. Local tags are
	// those of the pod's own session only. With None there are none.
	//
	// +optional
	SessionTagging SessionTagging `json:"sessionTagging,omitempty"`
	// SessionPolicy is an IAM policy, as JSON text, that narrows the session; with
	// a target role that role's session.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	SessionPolicy string `json:"sessionPolicy,omitempty"`
	// DurationSeconds is how long sessions are to last. The limit is what the
	// role allows and, where roles are chained, 3540 seconds.
	//
	// +optional
	// +kubebuilder:default=21600
	// +kubebuilder:validation:Minimum=900
	// +kubebuilder:validation:Maximum=43200
	DurationSeconds int32 `json:"durationSeconds,omitempty"`
	// Tags belong to the association itself, as in the EKS API. They are not
	// session tags.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=50
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) >= 1 && size(k) <= 128 && !k.matches('(?i)^\\\\s*aws:') && size(self[k]) <= 256)",message="tag keys have 1 to 128 characters and do not begin with aws:, values at most 256"
	Tags map[string]string `json:"tags,omitempty"`
	// SessionTags are added to the six that every session carries. Values may use ${namespace}, ${serviceAccount},
	// ${podName}, ${podUid}, ${node} and, of the labels that the broker lists in --pod-labels, ${podLabel:KEY}; a value
	// with a label that the pod does not have leaves its tag out. Keys that differ only in letter case, and characters
	// that STS does not accept, make the association not Ready: checking them costs more than an API server allows a
	// rule.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=44
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) >= 1 && size(k) <= 128 && !k.matches('(?i)^\\\\s*aws:') && size(self[k]) <= 256)",message="tag keys have 1 to 128 characters and do not begin with aws:, values at most 256"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.matches('(?i)^\\\\s*(eks-cluster-(arn|name)|kubernetes-(namespace|service-account|pod-(name|uid)))\\\\s*$'))",message="the six keys that every session carries cannot be set"
	SessionTags map[string]string `json:"sessionTags,omitempty"`
	// OmitTags are those of the six keys to leave out where the packed size of
	// a session is too large.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=6
	// +kubebuilder:validation:items:Enum=eks-cluster-arn;eks-cluster-name;kubernetes-namespace;kubernetes-service-account;kubernetes-pod-name;kubernetes-pod-uid
	OmitTags []string `json:"omitTags,omitempty"`
	// SessionName is a template of the session's name, with the variables of
	// sessionTags and ${uuid}; eks-CLUSTER-POD-UUID if empty.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^([^$]|\$\{(namespace|serviceAccount|podName|podUid|node|uuid|podLabel:([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)\})*$`
	SessionName string `json:"sessionName,omitempty"`
	// SourceIdentity is a template of the session's source identity, with the
	// variables of sessionTags. The trust policy must allow sts:SetSourceIdentity.
	//
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^([\w+=,.@-]|\$\{(namespace|serviceAccount|podName|podUid|node|podLabel:([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)\})+$`
	SourceIdentity string `json:"sourceIdentity,omitempty"`
	// Mode is how the broker assumes the role; the broker's own default if
	// empty.
	//
	// +optional
	Mode AssociationMode `json:"mode,omitempty"`
	// AllowUnboundTokens accepts tokens that are not bound to a pod. Such
	// sessions carry no tags about a pod, and any holder of the token gets
	// them.
	//
	// +optional
	AllowUnboundTokens bool `json:"allowUnboundTokens,omitempty"`
	// OnOversize says what to do when STS finds a session too large.
	//
	// +optional
	// +kubebuilder:default=Fail
	OnOversize Oversize `json:"onOversize,omitempty"`
	// Paused refuses new sessions without deleting the association.
	//
	// +optional
	Paused bool `json:"paused,omitempty"`
}

// AssociationMode is how the broker assumes a role for a pod.
//
// +kubebuilder:validation:Enum=Federated;BrokerRole;PassThrough
type AssociationMode string

// The modes of spec podidentity §19.7.
const (
	// Federated assumes it by web identity with a token that Rolecall's issuer
	// mints for the pod and the role.
	Federated AssociationMode = "Federated"
	// BrokerRole assumes it by sts:AssumeRole with the broker's own AWS
	// identity.
	BrokerRole AssociationMode = "BrokerRole"
	// PassThrough assumes it by web identity with the pod's own token.
	PassThrough AssociationMode = "PassThrough"
)

// SessionTagging is how far session tags go.
//
// +kubebuilder:validation:Enum=Transitive;Local;None
type SessionTagging string

// How far they may go.
const (
	TransitiveTags SessionTagging = "Transitive"
	LocalTags      SessionTagging = "Local"
	NoTags         SessionTagging = "None"
)

// Oversize is what to do with a session that STS finds too large.
//
// +kubebuilder:validation:Enum=Fail;DropPodTags
type Oversize string

// What may be done.
const (
	Fail        Oversize = "Fail"
	DropPodTags Oversize = "DropPodTags"
)

// PodIdentityAssociationStatus is what Rolecall found.
type PodIdentityAssociationStatus struct {
	// AssociationID is the id in the EKS API: a- and 17 characters.
	//
	// +optional
	AssociationID string `json:"associationID,omitempty"`
	// AssociationARN is the ARN in the EKS API.
	//
	// +optional
	AssociationARN string `json:"associationARN,omitempty"`
	// ExternalID is what is sent with sts:AssumeRole; empty if it is not.
	//
	// +optional
	ExternalID string `json:"externalID,omitempty"`
	// ObservedGeneration is the generation the conditions are about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// LastUsedTime is when a session was last handed out, to the hour.
	//
	// +optional
	LastUsedTime *metav1.Time `json:"lastUsedTime,omitempty"`
	// Conditions are Ready, RoleExists, TrustAllows, Granted, Shadowed and
	// TagsAccepted, and PodsInjected where somebody looks at pods.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PodIdentityAssociationList is a list of associations.
//
// +kubebuilder:object:root=true
type PodIdentityAssociationList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PodIdentityAssociation `json:"items"`
}
