package arn

import (
	"fmt"
	"strings"
)

// IsAccount reports whether text is an account number: 12 ASCII digits (AWS
// Account Management Reference, "View AWS account identifiers").
func IsAccount(text string) bool { return len(text) == 12 && consistsOf(text, isDigit) }

// MaxClusterName is the most characters of a cluster's name.
const MaxClusterName = 100

// IsClusterName reports whether an EKS cluster can have this name: 1 to 100
// letters, digits, - and _, beginning with a letter or digit (EKS API Reference,
// CreateCluster: name; spec podidentity §12.1). It holds for clusters elsewhere
// too: their names occur in the same ARNs, tags and paths, and must not change
// the meaning of these.
func IsClusterName(text string) bool {
	return text != "" && len(text) <= MaxClusterName && isAlphanumeric(text[0]) &&
		consistsOf(text, func(c byte) bool { return isAlphanumeric(c) || c == '-' || c == '_' })
}

// Cluster is a cluster's name taken out of its ARN.
type Cluster struct{ Partition, Region, Account, Name string }

// ParseCluster accepts arn:PARTITION:eks:REGION:ACCOUNT:cluster/NAME (Service
// Authorization Reference, Amazon EKS: resource types), of a known partition.
func ParseCluster(text string) (Cluster, error) {
	a, err := Parse(text)
	name, isCluster := strings.CutPrefix(a.Resource, "cluster/")
	if err != nil || a.Service != "eks" || !isCluster || !IsClusterName(name) || !IsRegion(a.Region) ||
		!IsAccount(a.Account) || !IsPartition(a.Partition) {
		return Cluster{}, fmt.Errorf("%.200q is not a cluster ARN: want arn:PARTITION:eks:REGION:ACCOUNT:cluster/NAME", text)
	}
	return Cluster{a.Partition, a.Region, a.Account, name}, nil
}

// ARN returns the cluster's ARN.
func (c Cluster) ARN() ARN {
	return ARN{Partition: c.Partition, Service: "eks", Region: c.Region, Account: c.Account, Resource: "cluster/" + c.Name}
}

// Limits of a bucket's name.
const (
	minBucket = 3
	maxBucket = 63
)

// IsBucket reports whether an S3 bucket can have this name: 3 to 63 of a-z, 0-9,
// - and ., beginning and ending with a letter or digit (S3 User Guide, "General
// purpose bucket naming rules"). The guide's rules on adjacent dots, IP addresses
// and reserved prefixes are left to S3. The pattern of bucket in api/v1alpha1 is
// the same rule.
func IsBucket(text string) bool {
	if len(text) < minBucket || len(text) > maxBucket {
		return false
	}
	isEnd := func(c byte) bool { return 'a' <= c && c <= 'z' || isDigit(c) }
	return isEnd(text[0]) && isEnd(text[len(text)-1]) &&
		consistsOf(text, func(c byte) bool { return isEnd(c) || c == '.' || c == '-' })
}

// Limits of session names and source identities.
const (
	MinSessionName = 2
	MaxSessionName = 64
)

// IsSessionName reports whether STS accepts text as RoleSessionName, or as
// SourceIdentity: 2 to 64 letters, digits and _+=,.@- (STS API Reference,
// AssumeRole).
func IsSessionName(text string) bool {
	return len(text) >= MinSessionName && len(text) <= MaxSessionName && consistsOf(text, isNameByte)
}

// SessionName turns any text into one that STS accepts, unless it is too short:
// each character that STS does not accept becomes a hyphen, and what is too long
// is cut off.
func SessionName(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < 0x80 && isNameByte(byte(c)) {
			return c
		}
		return '-'
	}, text)
	return text[:min(len(text), MaxSessionName)]
}

// Limits of external ids.
const (
	MinExternalID = 2
	MaxExternalID = 1224
)

// IsExternalID reports whether STS accepts text as ExternalId: 2 to 1,224
// letters, digits and _+=,.@:/- (STS API Reference, AssumeRole). The pattern and
// the limits of externalID in api/v1alpha1 are the same rule.
func IsExternalID(text string) bool {
	return len(text) >= MinExternalID && len(text) <= MaxExternalID &&
		consistsOf(text, func(c byte) bool { return isNameByte(c) || c == ':' || c == '/' })
}
