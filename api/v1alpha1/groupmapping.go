package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GroupMapping gives the members of an IAM group Kubernetes groups. IAM groups are no
// principals, and STS never tells them: who is in one is read from IAM, again and
// again (spec authenticator §9).
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=gm,categories=rolecall
// +kubebuilder:printcolumn:name="IAMGroup",type=string,JSONPath=".spec.iamGroup"
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=".spec.account"
// +kubebuilder:printcolumn:name="Groups",type=string,JSONPath=".spec.groups"
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=".status.memberCount"
// +kubebuilder:printcolumn:name="Synced",type=date,JSONPath=".status.lastSyncTime"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=".status.conditions[?(@.type=='Ready')].status"
type GroupMapping struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec GroupMappingSpec `json:"spec"`
	// +optional
	Status GroupMappingStatus `json:"status,omitempty"`
}

// GroupMappingSpec is whose members get what.
type GroupMappingSpec struct {
	// IAMGroup is the name of the IAM group, without path.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[\w+=,.@-]+$`
	IAMGroup string `json:"iamGroup"`
	// Account is where the group is; the controller's own if empty. In another one its
	// members are read with the role that the operator named for that account.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^\d{12}$`
	Account string `json:"account,omitempty"`
	// Groups are the Kubernetes groups of its members.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('access-entry:')",message="names that begin with access-entry: stand for access policies"
	Groups []string `json:"groups"`
	// Username is a template of the members' names: {{UserName}} stands for the name of
	// the IAM user, {{AccountID}} for its account. A member of several groups has the name
	// that the first of their mappings gives, by the mappings' names.
	//
	// +optional
	// +kubebuilder:default="{{UserName}}"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('access-entry:') && !self.startsWith('system:')",message="names that begin with system: or access-entry: cannot be given"
	Username string `json:"username,omitempty"`
	// Merge gives the groups to members whom another mapping names too, beside theirs.
	// Otherwise that mapping alone counts.
	//
	// +optional
	Merge bool `json:"merge,omitempty"`
}

// GroupMappingStatus is who the members were when IAM was last asked.
type GroupMappingStatus struct {
	// GroupARN is that of the group whose members these are. Of a spec that names
	// another group they are not members.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	GroupARN string `json:"groupARN,omitempty"`
	// GroupID is IAM's unique id of that group (AGPA…).
	//
	// +optional
	// +kubebuilder:validation:MaxLength=128
	GroupID string `json:"groupID,omitempty"`
	// Members are the users of the group, each by its id once. What is here counts at
	// logins: nobody but the controller may write it.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5000
	Members []GroupMember `json:"members,omitempty"`
	// MemberCount is how many there are.
	//
	// +optional
	MemberCount int32 `json:"memberCount"`
	// LastSyncTime is when IAM last told all of them; while nothing changes it is
	// written every ten minutes, so that watchers are not woken at each read.
	//
	// +optional
	LastSyncTime *metav1.Time `json:"lastSyncTime,omitempty"`
	// ObservedGeneration is the generation that members and conditions are about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions are Ready and RemovalsHeld.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GroupMember is one IAM user.
type GroupMember struct {
	// UserID is IAM's unique id (AIDA…), which no later user of the name has.
	//
	// +required
	// +kubebuilder:validation:Pattern=`^A[A-Z0-9]{15,127}$`
	UserID string `json:"userID"`
	// ARN is the user's, with its path.
	//
	// +required
	// +kubebuilder:validation:MaxLength=2048
	ARN string `json:"arn"`
	// MissingSince is when IAM first no longer named it. It still counts until further
	// reads agree.
	//
	// +optional
	MissingSince *metav1.Time `json:"missingSince,omitempty"`
}

// GroupMappingList is a list of group mappings.
//
// +kubebuilder:object:root=true
type GroupMappingList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GroupMapping `json:"items"`
}
