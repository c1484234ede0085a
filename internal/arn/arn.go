// Package arn parses Amazon Resource Names and answers what they name.
//
// It does not match patterns: wildcards are the policy engine's.
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

// IsZero reports whether a is no ARN at all.
func (a ARN) IsZero() bool { return a == ARN{} }

// Role is an IAM role's name taken out of its ARN.
type Role struct {
	Partition string
	Account   string
	Path      string // begins and ends with "/"
	Name      string
}

// ParseRole accepts arn:PARTITION:iam::ACCOUNT:role/[PATH/]NAME, the account
// being 12 digits.
func ParseRole(text string) (Role, error) {
	a, err := Parse(text)
	if err != nil {
		return Role{}, err
	}
	rest, isRole := strings.CutPrefix(a.Resource, "role/")
	if a.Service != "iam" || a.Region != "" || !isRole || !IsAccount(a.Account) {
		return Role{}, fmt.Errorf("%q is not a role's ARN: want arn:PARTITION:iam::ACCOUNT:role/NAME", text)
	}
	path, name := splitPath(rest)
	if name == "" {
		return Role{}, fmt.Errorf("%q names no role after role/", text)
	}
	return Role{Partition: a.Partition, Account: a.Account, Path: path, Name: name}, nil
}

// ARN returns the role's ARN with its path.
func (r Role) ARN() ARN {
	return ARN{Partition: r.Partition, Service: "iam", Account: r.Account, Resource: "role" + r.Path + r.Name}
}

// Session returns the ARN of a session of the role. The path is not part of
// it, as in every answer of STS.
func (r Role) Session(name string) ARN {
	return ARN{Partition: r.Partition, Service: "sts", Account: r.Account, Resource: "assumed-role/" + r.Name + "/" + name}
}

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

// IsAccount reports whether text is an account number: 12 ASCII digits.
func IsAccount(text string) bool {
	if len(text) != 12 {
		return false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

func splitPath(text string) (path, name string) {
	i := strings.LastIndexByte(text, '/')
	return "/" + text[:i+1], text[i+1:]
}
