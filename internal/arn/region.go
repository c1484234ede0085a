package arn

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// partitions of regions, by how their names begin.
var partitions = []struct{ region, partition string }{
	{"cn-", "aws-cn"},
	{"us-gov-", "aws-us-gov"},
	{"us-isob-", "aws-iso-b"},
	{"us-isof-", "aws-iso-f"},
	{"us-iso-", "aws-iso"},
	{"eu-isoe-", "aws-iso-e"},
	{"eusc-", "aws-eusc"},
}

// PartitionOf returns the partition that a region belongs to.
func PartitionOf(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.region) {
			return p.partition
		}
	}
	return "aws"
}

type domain struct {
	partition, suffix, dualStack string
	region                       *lazyregexp.Regexp
}

// domains lists all partitions: the domains in which their host names end, those
// of their endpoints with IPv6, and the form of their regions' names, all as in
// the SDK's partitions.json.
var domains = []domain{
	{"aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn", lazyregexp.New(`^cn-[a-z]+-[0-9]+$`)},
	{"aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu", lazyregexp.New(`^eusc-de-[a-z]+-[0-9]+$`)},
	{"aws-iso", "c2s.ic.gov", "api.aws.ic.gov", lazyregexp.New(`^us-iso-[a-z]+-[0-9]+$`)},
	{"aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud", lazyregexp.New(`^us-isob-[a-z]+-[0-9]+$`)},
	{"aws-iso-e", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", lazyregexp.New(`^eu-isoe-[a-z]+-[0-9]+$`)},
	{"aws-iso-f", "csp.hci.ic.gov", "api.aws.hci.ic.gov", lazyregexp.New(`^us-isof-[a-z]+-[0-9]+$`)},
	// Two partitions share their domains: the region decides.
	{"aws", "amazonaws.com", "api.aws", lazyregexp.New(`^(?:us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-[0-9]+$`)},
	{"aws-us-gov", "amazonaws.com", "api.aws", lazyregexp.New(`^us-gov-[a-z]+-[0-9]+$`)},
}

// Partitions returns the names of all partitions, aws first (AWS General
// Reference, "Partitions"; the SDK's partitions.json).
func Partitions() []string {
	return []string{"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"}
}

// IsPartition reports whether AWS has a partition of that name.
func IsPartition(name string) bool {
	return slices.ContainsFunc(domains, func(d domain) bool { return d.partition == name })
}

// HasRegion reports whether a partition may have a region of that name, whether
// or not AWS has it, by the expressions of the SDK's partitions.json: it is for
// hosts that are trusted because they are AWS's. No name fits two partitions.
func HasRegion(partition, region string) bool {
	for _, d := range domains {
		if d.partition == partition {
			return d.region.MatchString(region)
		}
	}
	return false
}

// DualStackSuffix returns the domain in which the names of a partition's endpoints
// with IPv6 end.
func DualStackSuffix(partition string) string {
	for _, d := range domains {
		if d.partition == partition {
			return d.dualStack
		}
	}
	return "api.aws"
}

// Suffix returns the domain in which a partition's host names end.
func Suffix(partition string) string {
	for _, d := range domains {
		if d.partition == partition {
			return d.suffix
		}
	}
	return "amazonaws.com"
}

// regionName is the form of all regions' names; a new region matches, most slips
// do not.
var regionName = lazyregexp.New(`^[a-z]{2,4}(?:-[a-z]+)?-` +
	`(?:central|north|south|east|west|northeast|northwest|southeast|southwest)-[0-9]{1,2}$`)

// IsRegion reports whether a text has the form of the names of AWS's regions,
// whether or not AWS has it (AWS General Reference, "AWS Regions"; the SDK's
// partitions.json): a part of the world, a direction and a number, as eu-west-1. The
// pattern of region in api/v1alpha1 is the same rule.
func IsRegion(text string) bool { return regionName.MatchString(text) }

// maxRegionLabel is more than any region's name has.
const maxRegionLabel = 40

// IsRegionLabel reports whether SDKs accept a text as a region: they write it
// into host names, so it must be a label of one (RFC 1123, section 2.1). It is
// for regions that are not AWS's, as other object stores and emulators name
// theirs; for AWS, use IsRegion.
func IsRegionLabel(text string) bool {
	return text != "" && len(text) <= maxRegionLabel && text[0] != '-' && text[len(text)-1] != '-' &&
		consistsOf(text, func(c byte) bool { return 'a' <= c && c <= 'z' || isDigit(c) || c == '-' })
}

// PartitionOfHost returns the partition that a host of AWS's own is in, by its
// region or else its domain; empty for other hosts, about which nothing is known.
func PartitionOfHost(host string) string {
	for _, d := range domains {
		name, isSuffix := strings.CutSuffix(host, "."+d.suffix)
		if !isSuffix {
			if name, isSuffix = strings.CutSuffix(host, "."+d.dualStack); !isSuffix {
				continue
			}
		}
		labels := strings.Split(name, ".")
		for i := range labels { // s3-us-gov-west-1 is an old name of S3
			labels[i] = strings.TrimPrefix(labels[i], "s3-")
		}
		if i := slices.IndexFunc(labels, IsRegion); i >= 0 {
			return PartitionOf(labels[i])
		}
		return d.partition
	}
	return ""
}
