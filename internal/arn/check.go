package arn

import (
	"fmt"
	"strings"
)

// CheckAccount says why a text is not an account number; nil if it is one. Flags, files
// and requests all say it in these words, after the name of theirs.
func CheckAccount(text string) error {
	if !IsAccount(text) {
		return fmt.Errorf("%.120q: want 12 digits", text)
	}
	return nil
}

// CheckClusterName is CheckAccount for names of clusters.
func CheckClusterName(text string) error {
	if !IsClusterName(text) {
		return fmt.Errorf("%.120q: want up to %d letters, digits, - and _, beginning with a letter or digit", text,
			MaxClusterName)
	}
	return nil
}

// CheckRegion is CheckAccount for regions of AWS.
func CheckRegion(text string) error {
	if !IsRegion(text) {
		return fmt.Errorf("%.120q is not a region: want one such as eu-west-1", text)
	}
	return nil
}

// CheckPartition is CheckAccount for partitions.
func CheckPartition(text string) error {
	if !IsPartition(text) {
		return fmt.Errorf("%.120q is not a partition: want one of %s", text, strings.Join(Partitions(), ", "))
	}
	return nil
}

// Provider is an IAM OIDC provider's name taken out of its ARN.
type Provider struct {
	Partition, Account string
	// Issuer is the issuer's URL without its scheme, as IAM has it.
	Issuer string
}

// ParseProvider accepts arn:PARTITION:iam::ACCOUNT:oidc-provider/HOST[/PATH], of a known
// partition. OIDCProvider is its inverse. Whether the issuer can be one is not asked
// here.
func ParseProvider(text string) (Provider, error) {
	a, err := Parse(text)
	issuer, isProvider := strings.CutPrefix(a.Resource, "oidc-provider/")
	if err != nil || a.Service != "iam" || a.Region != "" || !isProvider || issuer == "" || issuer[0] == '/' ||
		strings.ContainsAny(issuer, "*? ") || !IsAccount(a.Account) || !IsPartition(a.Partition) {
		return Provider{}, fmt.Errorf(
			"%.200q is not the ARN of an OIDC provider: want arn:PARTITION:iam::ACCOUNT:oidc-provider/HOST/PATH", text)
	}
	return Provider{a.Partition, a.Account, issuer}, nil
}
