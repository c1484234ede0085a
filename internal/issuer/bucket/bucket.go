// Package bucket has the rules for an S3 bucket that an issuer publishes in: its URL, whether
// anybody may read its documents, and the one statement that opens them (spec
// issuer-and-sts §5).
//
// It calls no S3, and does not know what is published.
package bucket

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

// URL returns the issuer URL of a prefix in a bucket. An empty style is
// VirtualHost, or Path where a virtual host cannot be: for names with dots, which
// S3's certificates do not cover, and in China.
func URL(style Style, name, region, prefix string) (string, error) {
	suffix := arn.Suffix(arn.PartitionOf(region))
	dotted := strings.Contains(name, ".")
	if style == "" {
		style = VirtualHost
		if dotted || strings.HasPrefix(region, "cn-") {
			style = Path
		}
	}
	if dotted && style == VirtualHost {
		return "", fmt.Errorf("bucket %q: S3's certificate covers no name with dots as a virtual host; use style %s",
			name, Path)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix = "/" + prefix
	}
	switch style {
	case VirtualHost:
		return "https://" + name + ".s3." + region + "." + suffix + prefix, nil
	case Path:
		return "https://s3." + region + "." + suffix + "/" + name + prefix, nil
	case DualStack:
		return "https://s3.dualstack." + region + "." + suffix + "/" + name + prefix, nil
	}
	return "", fmt.Errorf("style %q: want %s, %s or %s", style, VirtualHost, Path, DualStack)
}

// Policy lets anybody read exactly the named objects, and nobody list the bucket (spec
// issuer-and-sts §5.2).
func Policy(region, name string, objects []string) ([]byte, error) {
	type statement struct {
		Sid       string
		Effect    string
		Principal string
		Action    string
		Resource  []string
	}
	s := statement{Sid: "PublicIssuerDocuments", Effect: "Allow", Principal: "*", Action: "s3:GetObject"}
	for _, object := range objects {
		s.Resource = append(s.Resource, "arn:"+arn.PartitionOf(region)+":s3:::"+name+"/"+object)
	}
	return json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{s}})
}

// s3Host is S3's own host names, a bucket's before them if it is a virtual host.
var s3Host = lazyregexp.New(`^(?:([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?` +
	`s3(?:\.dualstack)?(?:[.-][a-z0-9-]+)?\.` +
	`(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`)

// Of returns the bucket that stands in a URL of S3's own, in any style. It
// is not found where something else, as CloudFront, stands before the bucket.
func Of(url string) (name string, found bool) {
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	parts := s3Host.FindStringSubmatch(strings.TrimSuffix(host, ":443"))
	if parts == nil {
		return "", false
	}
	if name = parts[1]; name == "" {
		name, _, _ = strings.Cut(path, "/")
	}
	return name, name != ""
}

// Invalidation is the AWS CLI's command that makes CloudFront forget documents of an
// issuer, by their names below its URL. The distribution is found by its name, in the
// shell.
func Invalidation(issuer string, names ...string) string {
	host, path, _ := strings.Cut(strings.TrimPrefix(issuer, "https://"), "/")
	if path = strings.TrimSuffix(path, "/"); path != "" {
		path = "/" + path
	}
	var paths strings.Builder
	for _, name := range names {
		paths.WriteString(" '" + path + "/" + name + "'")
	}
	return fmt.Sprintf("aws cloudfront create-invalidation --region us-east-1 --distribution-id "+
		"\"$(aws cloudfront list-distributions --region us-east-1 --query "+
		"\"DistributionList.Items[?DomainName=='%[1]s' || contains(not_null(Aliases.Items, \\`[]\\`), '%[1]s')].Id\" "+
		"--output text)\" --paths%[2]s", host, paths.String())
}
