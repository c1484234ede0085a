package iam

// others returns the operations that IAM has and that are not emulated. A call
// of one is decided by policies; any other name is an InvalidAction.
func others() []string {
	return []string{
		"AcceptDelegationRequest", "AcquireRole", "AssociateDelegationRequest", "ChangePassword", "CreateAccountAlias",
		"CreateDelegationRequest", "CreateLoginProfile", "CreateSAMLProvider", "CreateServiceLinkedRole",
		"CreateServiceSpecificCredential", "CreateVirtualMFADevice", "DeactivateMFADevice", "DeleteAccountAlias",
		"DeleteAccountPasswordPolicy", "DeleteLoginProfile", "DeleteSAMLProvider", "DeleteSSHPublicKey",
		"DeleteServerCertificate", "DeleteServiceLinkedRole", "DeleteServiceSpecificCredential", "DeleteSigningCertificate",
		"DeleteVirtualMFADevice", "DisableOrganizationsRootCredentialsManagement", "DisableOrganizationsRootSessions",
		"DisableOutboundWebIdentityFederation", "EnableMFADevice", "EnableOrganizationsRootCredentialsManagement",
		"EnableOrganizationsRootSessions", "EnableOutboundWebIdentityFederation", "GenerateCredentialReport",
		"GenerateOrganizationsAccessReport", "GenerateServiceLastAccessedDetails", "GetAccessKeyLastUsed",
		"GetAccountAuthorizationDetails", "GetAccountPasswordPolicy", "GetAccountProperties", "GetAccountSummary",
		"GetCredentialReport", "GetDelegationRequest",
		"GetHumanReadableSummary", "GetLoginProfile", "GetMFADevice", "GetOrganizationsAccessReport",
		"GetOutboundWebIdentityFederationInfo", "GetRoleTemplateVersion", "GetSAMLProvider", "GetSSHPublicKey",
		"GetServerCertificate", "GetServiceLastAccessedDetails", "GetServiceLastAccessedDetailsWithEntities",
		"GetServiceLinkedRoleDeletionStatus", "ListAccountAliases", "ListDelegationRequests", "ListMFADeviceTags",
		"ListMFADevices", "ListOrganizationsFeatures", "ListPoliciesGrantingServiceAccess", "ListSAMLProviderTags",
		"ListSAMLProviders", "ListSSHPublicKeys", "ListServerCertificateTags", "ListServerCertificates",
		"ListServiceSpecificCredentials", "ListSigningCertificates", "ListVirtualMFADevices", "PutAccountProperties",
		"RejectDelegationRequest", "ResetServiceSpecificCredential", "ResyncMFADevice", "SendDelegationToken",
		"SetSecurityTokenServicePreferences", "TagMFADevice",
		"TagSAMLProvider", "TagServerCertificate", "UntagMFADevice", "UntagSAMLProvider", "UntagServerCertificate",
		"UpdateAccountPasswordPolicy", "UpdateDelegationRequest", "UpdateLoginProfile", "UpdateRoleDescription",
		"UpdateSAMLProvider", "UpdateSSHPublicKey", "UpdateServerCertificate", "UpdateServiceSpecificCredential",
		"UpdateSigningCertificate", "UploadSSHPublicKey", "UploadServerCertificate", "UploadSigningCertificate",
	}
}
