// Package quickstart embeds the example that `rolecall demo`, `rolecall up` and
// the README walk through: a service account, its pod, its role's trust policy,
// and the same policy with a common typing error.
//
// It does not parse them; they are plain files for plain tools.
package quickstart

import _ "embed"

// What the files say, for code that must name it.
const (
	Account = "111122223333"
	Region  = "us-east-1"
	// Issuer is the URL of the cluster's token issuer; its form is EKS's.
	Issuer   = "https://oidc.eks.us-east-1.amazonaws.com/id/D539D4633E53DE1B716D3041E0D4F2A7"
	Audience = "test"
	Role     = "s3-reader"
	// Cluster is the name of the cluster whose broker and associations these are.
	Cluster = "quickstart"
	// PodIdentityRole is the role of pod-identity.yaml.
	PodIdentityRole = "config-reader"
	// Bucket has one object that the role may read.
	Bucket  = "quickstart-111122223333"
	Object  = "greeting.txt"
	Content = "hello from quickstart\n"
)

// ServiceAccounts is serviceaccount.yaml.
//
//go:embed serviceaccount.yaml
var ServiceAccounts []byte

// PodIdentity is pod-identity.yaml: a service account and its association.
//
//go:embed pod-identity.yaml
var PodIdentity []byte

// AWS is aws.yaml: the roles and the cluster, as local AWS is seeded with them.
//
//go:embed aws.yaml
var AWS []byte

// Pod is pod.yaml.
//
//go:embed pod.yaml
var Pod []byte

// TrustPolicy is trust-policy.json: the role trusts its service account by web
// identity, and the cluster's broker that takes it for the account's pods.
//
//go:embed trust-policy.json
var TrustPolicy []byte

// TrustPolicyTypo is trust-policy-typo.json: the issuer is misspelt as
// oidc.REGION.eks and lacks /id/.
//
//go:embed trust-policy-typo.json
var TrustPolicyTypo []byte
