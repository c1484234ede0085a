package iam

// others returns the operations that IAM has and that are not emulated. A call
// of one is decided by policies; any other name is an InvalidAction.
func others() []string {
	return []string{
		"AcceptDelegationRequest", "AcquireRole", "AssociateDelegationRequest", "ChangePassword",
		"CreateDelegationRequest", "CreateLoginProfile", "CreateSAMLProvider",
		"CreateServiceSpecificCredential", "CreateVirtualMFADevice", "DeactivateMFADevice",
		"DeleteAccountPasswordPolicy", "DeleteLoginProfile", "DeleteSAMLProvider", "DeleteSSHPublicKey",
		"DeleteServerCertificate", "DeleteServiceSpecificCredential", "DeleteSigningCertificate",
		"DeleteVirtualMFADevice", "DisableOrganizationsRootCredentialsManagement", "DisableOrganizationsRootSessions",
		"DisableOutboundWebIdentityFederation", "EnableMFADevice", "EnableOrganizationsRootCredentialsManagement",
		"EnableOrganizationsRootSessions", "EnableOutboundWebIdentityFederation", "GenerateCredentialReport",
		"GenerateOrganizationsAccessReport", "GenerateServiceLastAccessedDetails",
		"GetAccountPasswordPolicy", "GetAccountProperties",
		"GetCredentialReport", "GetDelegationRequest",
		"GetHumanReadableSummary", "GetLoginProfile", "GetMFADevice", "GetOrganizationsAccessReport",
		"GetOutboundWebIdentityFederationInfo", "GetRoleTemplateVersion", "GetSAMLProvider", "GetSSHPublicKey",
		"GetServerCertificate", "GetServiceLastAccessedDetails", "GetServiceLastAccessedDetailsWithEntities",
		"ListDelegationRequests", "ListMFADeviceTags",
		"ListMFADevices", "ListOrganizationsFeatures", "ListPoliciesGrantingServiceAccess", "ListSAMLProviderTags",
		"ListSAMLProviders", "ListSSHPublicKeys", "ListServerCertificateTags", "ListServerCertificates",
		"ListServiceSpecificCredentials", "ListSigningCertificates", "ListVirtualMFADevices", "PutAccountProperties",
		"RejectDelegationRequest", "ResetServiceSpecificCredential", "ResyncMFADevice", "SendDelegationToken",
		"SetSecurityTokenServicePreferences", "TagMFADevice",
		"TagSAMLProvider", "TagServerCertificate", "UntagMFADevice", "UntagSAMLProvider", "UntagServerCertificate",
		"UpdateAccountPasswordPolicy", "UpdateDelegationRequest", "UpdateLoginProfile",
		"UpdateSAMLProvider", "UpdateSSHPublicKey", "UpdateServerCertificate", "UpdateServiceSpecificCredential",
		"UpdateSigningCertificate", "UploadSSHPublicKey", "UploadServerCertificate", "UploadSigningCertificate",
	}
}
