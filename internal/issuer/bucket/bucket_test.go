package bucket_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/issuer/bucket"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		style                  bucket.Style
		bucket, region, prefix string
		want                   string
	}{
		{"", "keys", "eu-west-1", "", "https://keys.s3.eu-west-1.amazonaws.com"},
		{"", "keys", "eu-west-1", "/c1/", "https://keys.s3.eu-west-1.amazonaws.com/c1"},
		{"", "my.keys", "eu-west-1", "c1", "https://s3.eu-west-1.amazonaws.com/my.keys/c1"},
		{"path", "keys", "us-gov-west-1", "", "https://s3.us-gov-west-1.amazonaws.com/keys"},
		{"dualstack", "keys", "eu-west-1", "c1", "https://s3.dualstack.eu-west-1.amazonaws.com/keys/c1"},
		{"", "keys", "cn-north-1", "", "https://s3.cn-north-1.amazonaws.com.cn/keys"},
		{"", "keys", "eusc-de-east-1", "", "https://keys.s3.eusc-de-east-1.amazonaws.eu"},
		{"", "keys", "us-isob-east-1", "", "https://keys.s3.us-isob-east-1.sc2s.sgov.gov"},
		{"virtual", "my.keys", "eu-west-1", "", ""},
		{"legacy", "keys", "eu-west-1", "", ""},
	} {
		got, err := bucket.URL(row.style, row.bucket, row.region, row.prefix)
		if got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s %s: %q, %v, want %q", row.style, row.bucket, got, err, row.want)
		}
	}
	policy, err := bucket.Policy("cn-north-1", "keys", []string{"c1/a", "c1/b"})
	want := `{"Version":"2012-10-17","Statement":[{"Sid":"PublicIssuerDocuments","Effect":"Allow",` +
		`"Principal":"*","Action":"s3:GetObject",` +
		`"Resource":["arn:aws-cn:s3:::keys/c1/a","arn:aws-cn:s3:::keys/c1/b"]}]}`
	if string(policy) != want || err != nil {
		t.Errorf("policy %s, %v", policy, err)
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://keys.s3.eu-west-1.amazonaws.com":              "keys",
		"https://a.b.s3.eu-west-1.amazonaws.com/c1":            "a.b",
		"https://keys.s3.dualstack.eu-west-1.amazonaws.com/c1": "keys",
		"https://s3.eu-west-1.amazonaws.com/keys/c1":           "keys",
		"https://s3.dualstack.eu-west-1.amazonaws.com/keys":    "keys",
		"https://s3-eu-west-1.amazonaws.com/keys":              "keys",
		"https://s3.cn-north-1.amazonaws.com.cn/keys":          "keys",
		"https://keys.s3.eusc-de-east-1.amazonaws.eu":          "keys",
		"https://keys.s3.us-isob-east-1.sc2s.sgov.gov":         "keys",
		"https://keys.s3.amazonaws.com":                        "keys",
		"https://s3.eu-west-1.amazonaws.com":                   "",
		"https://d111111abcdef8.cloudfront.net":                "",
		"https://oidc.example.com/s3.amazonaws.com":            "",
		"https://s3.eu-west-1.amazonaws.com.example/keys":      "",
	} {
		if got, found := bucket.Of(url); got != want || found != (want != "") {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

// TestInvalidation: both documents are named as CloudFront has them, by their paths.
func TestInvalidation(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://d1.cloudfront.net":     " --paths '/a' '/b/c'",
		"https://oidc.example.com/c1":   " --paths '/c1/a' '/c1/b/c'",
		"https://oidc.example.com/c/1/": " --paths '/c/1/a' '/c/1/b/c'",
	} {
		if got := bucket.Invalidation(url, "a", "b/c"); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s, want %s at its end", url, got, want)
		}
	}
}
