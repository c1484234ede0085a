package publication

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/lazyregexp"
)

// Style is how a bucket stands in a URL (spec issuer-and-sts §5.1). Each makes
// another issuer: it must not be changed in place.
type Style string

// The styles that are generated.
const (
	VirtualHost Style = "virtual"
	Path        Style = "path"
	DualStack   Style = "dualstack"
)

// Partition returns the AWS partition of a region and the suffix of its host
// names.
func Partition(region string) (partition, suffix string) {
	partition = arn.PartitionOf(region)
	return partition, arn.Suffix(partition)
}

// S3URL returns the issuer URL of a prefix in a bucket. An empty style is
// VirtualHost, or Path where a virtual host cannot be: for names with dots, which
// S3's certificates do not cover, and in China.
func S3URL(style Style, bucket, region, prefix string) (string, error) {
	_, suffix := Partition(region)
	dotted := strings.Contains(bucket, ".")
	if style == "" {
		style = VirtualHost
		if dotted || strings.HasPrefix(region, "cn-") {
			style = Path
		}
	}
	if dotted && style == VirtualHost {
		return "", fmt.Errorf("bucket %q: S3's certificate covers no name with dots as a virtual host; use style %s", bucket, Path)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix = "/" + prefix
	}
	switch style {
	case VirtualHost:
		return "https://" + bucket + ".s3." + region + "." + suffix + prefix, nil
	case Path:
		return "https://s3." + region + "." + suffix + "/" + bucket + prefix, nil
	case DualStack:
		return "https://s3.dualstack." + region + "." + suffix + "/" + bucket + prefix, nil
	}
	return "", fmt.Errorf("style %q: want %s, %s or %s", style, VirtualHost, Path, DualStack)
}

// BucketPolicy lets anybody read exactly the named objects, and nobody list the
// bucket (spec issuer-and-sts §5.2).
func BucketPolicy(region, bucket string, objects []string) ([]byte, error) {
	partition, _ := Partition(region)
	type statement struct {
		Sid       string
		Effect    string
		Principal string
		Action    string
		Resource  []string
	}
	s := statement{Sid: "PublicIssuerDocuments", Effect: "Allow", Principal: "*", Action: "s3:GetObject"}
	for _, object := range objects {
		s.Resource = append(s.Resource, "arn:"+partition+":s3:::"+bucket+"/"+object)
	}
	return json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{s}})
}

// ProviderARN is that of the issuer's OIDC provider in an account. A port 443
// is not part of it.
func ProviderARN(partition, account, issuer string) string {
	return arn.OIDCProvider(partition, account, issuer).String()
}

// s3Host is S3's own host names, a bucket's before them if it is a virtual host.
var s3Host = lazyregexp.New(`^(?:([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?s3(?:\.dualstack)?(?:[.-][a-z0-9-]+)?\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`)

// S3Bucket returns the bucket that stands in a URL of S3's own, in any style. It
// is not found where something else, as CloudFront, stands before the bucket.
func S3Bucket(url string) (bucket string, found bool) {
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	parts := s3Host.FindStringSubmatch(strings.TrimSuffix(host, ":443"))
	if parts == nil {
		return "", false
	}
	if bucket = parts[1]; bucket == "" {
		bucket, _, _ = strings.Cut(path, "/")
	}
	return bucket, bucket != ""
}

// Invalidation is the AWS CLI's command that makes CloudFront forget both
// documents of an issuer. The distribution is found by its name, in the shell.
func Invalidation(documents Documents) string {
	host, path, _ := strings.Cut(strings.TrimPrefix(documents.Issuer, "https://"), "/")
	if path = strings.TrimSuffix(path, "/"); path != "" {
		path = "/" + path
	}
	return fmt.Sprintf("aws cloudfront create-invalidation --region us-east-1 --distribution-id \"$(aws cloudfront list-distributions --region us-east-1 --query \"DistributionList.Items[?DomainName=='%[1]s' || contains(not_null(Aliases.Items, \\`[]\\`), '%[1]s')].Id\" --output text)\" --paths '%[2]s/%[3]s' '%[2]s/%[4]s'",
		host, path, documents.JWKS.Name, documents.Discovery.Name)
}
