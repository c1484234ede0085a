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

// domains are all partitions: the domains in which their host names end, those of
// their endpoints with IPv6, and how the names of their regions are built. All are
// those of the SDK's partitions.json.
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

// IsPartition reports whether AWS has a partition of that name.
func IsPartition(name string) bool {
	return slices.ContainsFunc(domains, func(d domain) bool { return d.partition == name })
}

// HasRegion reports whether a partition may have a region of that name, whether
// or not AWS has it. No name fits two partitions.
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

// regionName is how all names of regions are built; a new region fits, a slip in
// one mostly does not.
var regionName = lazyregexp.New(`^[a-z]{2,4}(?:-[a-z]+)?-(?:central|north|south|east|west|northeast|northwest|southeast|southwest)-[0-9]{1,2}$`)

// IsRegion reports whether a text is built as the name of a region, whether or
// not AWS has it.
func IsRegion(text string) bool { return regionName.MatchString(text) }

// PartitionOfHost returns the partition that a host of AWS's own is in, by its
// region or else its domain; empty for hosts of others, of which nothing is known.
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
