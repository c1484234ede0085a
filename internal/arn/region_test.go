package arn_test

import (
	"testing"

	"github.com/rolecall/rolecall/internal/arn"
)

func TestPartitionOf(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{
		"eu-west-1":       "aws",
		"":                "aws",
		"cn-north-1":      "aws-cn",
		"us-gov-west-1":   "aws-us-gov",
		"us-iso-east-1":   "aws-iso",
		"us-isob-east-1":  "aws-iso-b",
		"us-isof-south-1": "aws-iso-f",
		"eu-isoe-west-1":  "aws-iso-e",
		"eusc-de-east-1":  "aws-eusc",
	} {
		if got := arn.PartitionOf(region); got != want {
			t.Errorf("%s: %s, want %s", region, got, want)
		}
	}
}

func TestPartitionOfHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"oidc.eks.eu-west-1.amazonaws.com":                 "aws",
		"oidc.eks.cn-north-1.amazonaws.com.cn":             "aws-cn",
		"oidc.eks.us-gov-west-1.amazonaws.com":             "aws-us-gov",
		"oidc.eks.us-iso-east-1.c2s.ic.gov":                "aws-iso",
		"oidc.eks.us-isob-east-1.sc2s.sgov.gov":            "aws-iso-b",
		"oidc.eks.eu-isoe-west-1.cloud.adc-e.uk":           "aws-iso-e",
		"oidc.eks.us-isof-south-1.csp.hci.ic.gov":          "aws-iso-f",
		"oidc.eks.eusc-de-east-1.amazonaws.eu":             "aws-eusc",
		"oidc-eks.us-gov-east-1.api.aws":                   "aws-us-gov",
		"oidc-eks.cn-north-1.api.amazonwebservices.com.cn": "aws-cn",
		"oidc.eks.us-isof-east-1.api.aws.hci.ic.gov":       "aws-iso-f",
		"bucket.s3.cn-northwest-1.amazonaws.com.cn":        "aws-cn",
		"s3-us-gov-west-1.amazonaws.com":                   "aws-us-gov",
		"bucket.s3.amazonaws.com":                          "aws",
		"oidc.example.com":                                 "",
		"notamazonaws.com":                                 "",
		"oidc.eks.cn-north-1.example.com":                  "",
		"":                                                 "",
	} {
		if got := arn.PartitionOfHost(host); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

func TestIsRegion(t *testing.T) {
	t.Parallel()
	for _, region := range []string{
		"eu-west-1", "us-east-2", "ap-southeast-7", "ca-central-1", "cn-northwest-1", "us-gov-east-1", "us-isob-east-1",
		"eusc-de-east-1", "mx-central-1",
	} {
		if !arn.IsRegion(region) {
			t.Errorf("%s is a region", region)
		}
	}
	for _, text := range []string{
		"", "-", "REGION", "<REGION>", "eu-wst-1", "eu-west", "euwest1", "eu-west-", "eu-west-1a", "EU-WEST-1",
		"eu_west_1",
		"us-west-1.x", "eu-west-1\n",
	} {
		if arn.IsRegion(text) {
			t.Errorf("%q is not a region", text)
		}
	}
}

func TestSuffix(t *testing.T) {
	t.Parallel()
	for partition, want := range map[string]string{
		"aws":        "amazonaws.com",
		"aws-us-gov": "amazonaws.com",
		"aws-cn":     "amazonaws.com.cn",
		"aws-eusc":   "amazonaws.eu",
		"":           "amazonaws.com",
	} {
		if got := arn.Suffix(partition); got != want {
			t.Errorf("%s: %s, want %s", partition, got, want)
		}
	}
}

func TestRegionsOfPartitions(t *testing.T) {
	t.Parallel()
	of := map[string]string{
		"eu-west-1":       "aws",
		"us-east-1":       "aws",
		"il-central-1":    "aws",
		"mx-central-1":    "aws",
		"cn-northwest-1":  "aws-cn",
		"us-gov-east-1":   "aws-us-gov",
		"us-iso-west-1":   "aws-iso",
		"us-isob-east-1":  "aws-iso-b",
		"eu-isoe-west-1":  "aws-iso-e",
		"us-isof-south-1": "aws-iso-f",
		"eusc-de-east-1":  "aws-eusc",
		"s3":              "",
		"s3-us-west-2":    "",
		"US-EAST-1":       "",
		"us-east-1a":      "",
		"us-east":         "",
		"":                "",
		"not-a-region":    "",
		"x.us-east-1":     "",
		"us-east-1\n":     "",
	}
	for _, partition := range append(arn.Partitions(), "aws-other", "") {
		if got, want := arn.IsPartition(partition), partition != "aws-other" && partition != ""; got != want {
			t.Errorf("%q is a partition: %v", partition, got)
		}
		for region, want := range of {
			if got := arn.HasRegion(partition, region); got != (partition != "" && partition == want) {
				t.Errorf("%s has %q: %v", partition, region, got)
			}
		}
	}
}

func TestDualStackSuffix(t *testing.T) {
	t.Parallel()
	for partition, want := range map[string]string{
		"aws":        "api.aws",
		"aws-us-gov": "api.aws",
		"aws-cn":     "api.amazonwebservices.com.cn",
		"aws-iso-b":  "api.aws.scloud",
		"":           "api.aws",
	} {
		if got := arn.DualStackSuffix(partition); got != want {
			t.Errorf("%s: %s, want %s", partition, got, want)
		}
	}
}
