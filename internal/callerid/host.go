package callerid

import (
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
)

// The one host of STS without a region, and what counts as its region.
const (
	globalHost   = "sts.amazonaws.com"
	globalRegion = "global"
)

// regionOf is check 7, the allow-list of spec authenticator §3.1: it returns the
// region of a host of STS in the partition. Names are compared unchanged.
func (p Policy) regionOf(host string) (string, error) {
	if host == globalHost {
		if p.Partition != "aws" {
			return "", malformed("global endpoint unsupported in partition %s", p.Partition)
		}
		return globalRegion, nil
	}
	service, rest, _ := strings.Cut(host, ".")
	region, domain, _ := strings.Cut(rest, ".")
	switch {
	case service != "sts" && service != "sts-fips", !isLabel(region), domain == "":
		return "", malformed(
			"could not parse region for pre-signed URL %s, invalid host format: %s",
			shown(host),
			shown(host),
		)
	case !arn.IsPartition(p.Partition):
		return "", malformed("partition {%s} is not known", p.Partition)
	case domain != arn.Suffix(p.Partition) && domain != arn.DualStackSuffix(p.Partition):
		return "", malformed("unexpected hostname %s in pre-signed URL", quoted(host))
	}
	isConfigured := service == "sts" && slices.Contains(p.Regions, region)
	// In GovCloud the ordinary endpoint is the FIPS one.
	isFIPS := service == "sts-fips" && p.Partition == "aws-us-gov" && domain == arn.Suffix(p.Partition)
	if !isConfigured && (isFIPS || !arn.HasRegion(p.Partition, region) && !p.isAnyRegion(region)) {
		return "", malformed("partition {%s} does not support hostname %s", p.Partition, shown(host))
	}
	return region, nil
}

// isAnyRegion reports whether a region that the partition does not have may be one.
// Names of other partitions' regions are never, nor those behind which anybody may
// have a bucket called sts. Nor is any outside partition aws: there the peer knows its
// regions, too.
func (p Policy) isAnyRegion(region string) bool {
	return p.AnyRegion && p.Partition == "aws" && !strings.HasPrefix(lower(region), "s3") && region == lower(region) &&
		!slices.ContainsFunc(arn.Partitions(), func(other string) bool { return arn.HasRegion(other, region) })
}

// isLabel reports whether a text is one label of a host name. Upper case passes here:
// it makes the host refused later.
func isLabel(text string) bool {
	for i := range len(text) {
		c := text[i]
		isAlphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !isAlphanumeric && (c != '-' || i == 0 || i == len(text)-1) {
			return false
		}
	}
	return text != ""
}

// maxShown is how much of a token's own text errors repeat: a host name.
const maxShown = 253

func quoted(text string) string { return strconv.QuoteToASCII(text[:min(len(text), maxShown)]) }

// shown is text without quotes if it is nothing but a host name.
func shown(host string) string {
	if strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != "" ||
		len(host) > maxShown {
		return quoted(host)
	}
	return host
}
