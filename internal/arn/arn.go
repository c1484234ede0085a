// Package arn is the one home of AWS's names: it says which texts name a role,
// region, partition, account, cluster, bucket, session or tag, and takes Amazon
// Resource Names apart. Flags, annotations, associations, grants and the
// definitions in api/v1alpha1 all follow these rules, and the fuzz tests of this
// package compare the definitions' patterns with the functions.
//
// A valid name may still belong to nothing: this package does not ask AWS. It
// matches no patterns, which is the task of packages glob and policy, and checks
// no names of Kubernetes. Local AWS has rules of its own: it must accept and
// refuse what AWS does, in AWS's words, where the product may be stricter.
package arn

import (
	"fmt"
	"strings"
)

// ARN is a parsed name of six parts. Parts may be empty, except the partition,
// service and resource. The source of the form is the AWS General Reference,
// "Amazon Resource Names (ARNs)".
type ARN struct {
	Partition string // aws, aws-cn, aws-us-gov, …
	Service   string // iam, sts, s3, …
	Region    string // empty for global services
	Account   string // 12 digits, empty for resources without account
	Resource  string // everything after the fifth colon
}

// Parse splits text. The resource keeps any further colons.
func Parse(text string) (ARN, error) {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" || parts[5] == "" {
		return ARN{}, fmt.Errorf("%q is not an ARN: want arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE", text)
	}
	return ARN{parts[1], parts[2], parts[3], parts[4], parts[5]}, nil
}

// String puts the parts together again; Parse and String are inverse.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// IsZero reports whether a is the zero value, which names nothing.
func (a ARN) IsZero() bool { return a == ARN{} }

// OIDCProvider returns the ARN of the IAM OIDC provider for an issuer URL or
// its form without scheme. Case and a trailing slash are kept; the port 443,
// being the default, is dropped as IAM does (spec issuer-and-sts §4.2).
func OIDCProvider(partition, account, issuer string) ARN {
	return ARN{Partition: partition, Service: "iam", Account: account, Resource: "oidc-provider/" + IssuerID(issuer)}
}

// IssuerID returns an issuer without its scheme and without the port 443: what
// follows oidc-provider/ in the provider's ARN and stands before the colon in
// its condition keys.
func IssuerID(issuer string) string {
	id := strings.TrimPrefix(issuer, "https://")
	host, path, hasPath := strings.Cut(id, "/")
	host = strings.TrimSuffix(host, ":443")
	if hasPath {
		return host + "/" + path
	}
	return host
}
