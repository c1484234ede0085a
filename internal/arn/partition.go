package arn

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
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

// domains of partitions whose host names do not end in amazonaws.com, and the
// domains of their endpoints with IPv6. All are those of the SDK's partitions.json.
var domains = []struct{ partition, suffix, dualStack string }{
	{"aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"aws-iso", "c2s.ic.gov", "api.aws.ic.gov"},
	{"aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud"},
	{"aws-iso-e", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"aws-iso-f", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"", "amazonaws.com", "api.aws"}, // two partitions: the region decides
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
var regionName = regexp.MustCompile(`^[a-z]{2,4}(?:-[a-z]+)?-(?:central|north|south|east|west|northeast|northwest|southeast|southwest)-[0-9]{1,2}$`)

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
		return cmp.Or(d.partition, "aws")
	}
	return ""
}
