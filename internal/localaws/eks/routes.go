package eks

import "github.com/rolecall/rolecall/internal/localaws/rest"

// routes are all operations of the service, emulated or not: a call of one that
// is not is decided by its own name.
var routes = rest.NewRoutes(`
GET /access-policies ListAccessPolicies
GET /addons/configuration-schemas DescribeAddonConfiguration
GET /addons/supported-versions DescribeAddonVersions
POST /cluster-registrations RegisterCluster
DELETE /cluster-registrations/{name} DeregisterCluster
GET /cluster-versions DescribeClusterVersions
GET /clusters ListClusters
POST /clusters CreateCluster
DELETE /clusters/{name} DeleteCluster
GET /clusters/{name} DescribeCluster
GET /clusters/{name}/access-entries ListAccessEntries
POST /clusters/{name}/access-entries CreateAccessEntry
DELETE /clusters/{name}/access-entries/{principalArn} DeleteAccessEntry
GET /clusters/{name}/access-entries/{principalArn} DescribeAccessEntry
POST /clusters/{name}/access-entries/{principalArn} UpdateAccessEntry
GET /clusters/{name}/access-entries/{principalArn}/access-policies ListAssociatedAccessPolicies
POST /clusters/{name}/access-entries/{principalArn}/access-policies AssociateAccessPolicy
DELETE /clusters/{name}/access-entries/{principalArn}/access-policies/{policyArn} DisassociateAccessPolicy
GET /clusters/{name}/addons ListAddons
POST /clusters/{name}/addons CreateAddon
DELETE /clusters/{name}/addons/{addonName} DeleteAddon
GET /clusters/{name}/addons/{addonName} DescribeAddon
POST /clusters/{name}/addons/{addonName}/update UpdateAddon
GET /clusters/{name}/capabilities ListCapabilities
POST /clusters/{name}/capabilities CreateCapability
DELETE /clusters/{name}/capabilities/{capabilityName} DeleteCapability
GET /clusters/{name}/capabilities/{capabilityName} DescribeCapability
POST /clusters/{name}/capabilities/{capabilityName} UpdateCapability
POST /clusters/{name}/encryption-config/associate AssociateEncryptionConfig
GET /clusters/{name}/fargate-profiles ListFargateProfiles
POST /clusters/{name}/fargate-profiles CreateFargateProfile
DELETE /clusters/{name}/fargate-profiles/{fargateProfileName} DeleteFargateProfile
GET /clusters/{name}/fargate-profiles/{fargateProfileName} DescribeFargateProfile
GET /clusters/{name}/identity-provider-configs ListIdentityProviderConfigs
POST /clusters/{name}/identity-provider-configs/associate AssociateIdentityProviderConfig
POST /clusters/{name}/identity-provider-configs/describe DescribeIdentityProviderConfig
POST /clusters/{name}/identity-provider-configs/disassociate DisassociateIdentityProviderConfig
POST /clusters/{name}/insights ListInsights
GET /clusters/{name}/insights-refresh DescribeInsightsRefresh
POST /clusters/{name}/insights-refresh StartInsightsRefresh
GET /clusters/{name}/insights/{id} DescribeInsight
GET /clusters/{name}/node-groups ListNodegroups
POST /clusters/{name}/node-groups CreateNodegroup
DELETE /clusters/{name}/node-groups/{nodegroupName} DeleteNodegroup
GET /clusters/{name}/node-groups/{nodegroupName} DescribeNodegroup
POST /clusters/{name}/node-groups/{nodegroupName}/update-config UpdateNodegroupConfig
POST /clusters/{name}/node-groups/{nodegroupName}/update-version UpdateNodegroupVersion
GET /clusters/{name}/pod-identity-associations ListPodIdentityAssociations
POST /clusters/{name}/pod-identity-associations CreatePodIdentityAssociation
DELETE /clusters/{name}/pod-identity-associations/{associationId} DeletePodIdentityAssociation
GET /clusters/{name}/pod-identity-associations/{associationId} DescribePodIdentityAssociation
POST /clusters/{name}/pod-identity-associations/{associationId} UpdatePodIdentityAssociation
POST /clusters/{name}/update-config UpdateClusterConfig
GET /clusters/{name}/updates ListUpdates
POST /clusters/{name}/updates UpdateClusterVersion
GET /clusters/{name}/updates/{updateId} DescribeUpdate
GET /eks-anywhere-subscriptions ListEksAnywhereSubscriptions
POST /eks-anywhere-subscriptions CreateEksAnywhereSubscription
DELETE /eks-anywhere-subscriptions/{id} DeleteEksAnywhereSubscription
GET /eks-anywhere-subscriptions/{id} DescribeEksAnywhereSubscription
POST /eks-anywhere-subscriptions/{id} UpdateEksAnywhereSubscription
DELETE /tags/{resourceArn} UntagResource
GET /tags/{resourceArn} ListTagsForResource
POST /tags/{resourceArn} TagResource
`)
