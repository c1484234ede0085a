// Package v1alpha1 holds the Kubernetes kinds of Rolecall, group rolecall.io. It is
// data only and does not decide: rules about it live in the rooms that use it.
//
// +kubebuilder:object:generate=true
// +groupName=rolecall.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of all kinds here.
var GroupVersion = schema.GroupVersion{Group: "rolecall.io", Version: "v1alpha1"}

// AddToScheme makes the kinds known to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &RoleGrant{}, &RoleGrantList{}, &Issuer{}, &IssuerList{},
		&PodIdentityAssociation{}, &PodIdentityAssociationList{}, &IdentityMapping{}, &IdentityMappingList{},
		&AccessEntry{}, &AccessEntryList{}, &GroupMapping{}, &GroupMappingList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
