package arn_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/arn"
)

// TestChecks: one sentence says what would be right, with the text as it was written.
func TestChecks(t *testing.T) {
	t.Parallel()
	const clusterName = ": want up to 100 letters, digits, - and _, beginning with a letter or digit"
	for _, row := range []struct {
		name  string
		check func(string) error
		text  string
		want  string // empty: it is one
	}{
		{"an account", arn.CheckAccount, "111122223333", ""},
		{"eleven digits", arn.CheckAccount, "11112222333", `"11112222333": want 12 digits`},
		{"no account", arn.CheckAccount, "", `"": want 12 digits`},
		{"a cluster's name", arn.CheckClusterName, "prod-1_a", ""},
		{"a name with a slash", arn.CheckClusterName, "a/b", `"a/b"` + clusterName},
		{"a region", arn.CheckRegion, "eu-west-1", ""},
		{"no region", arn.CheckRegion, "nowhere", `"nowhere" is not a region: want one such as eu-west-1`},
		{"a partition", arn.CheckPartition, "aws-cn", ""},
		{"no partition", arn.CheckPartition, "azure", `"azure" is not a partition: want one of aws, aws-cn`},
	} {
		err := row.check(row.text)
		if (err == nil) != (row.want == "") || err != nil && !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
	if err := arn.CheckAccount(strings.Repeat("1", 1<<20)); err == nil || len(err.Error()) > 200 {
		t.Errorf("a long text makes a long message")
	}
}

func TestParseProvider(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"arn:aws:iam::111122223333:oidc-provider/oidc.example.com",
		"arn:aws-cn:iam::111122223333:oidc-provider/oidc.example.com/id/A1",
		"arn:aws:iam::111122223333:oidc-provider/oidc.example.com:8443/prod/",
	} {
		provider, err := arn.ParseProvider(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if again := arn.OIDCProvider(provider.Partition, provider.Account, provider.Issuer).String(); again != text {
			t.Errorf("%s became %s", text, again)
		}
	}
	for name, text := range map[string]string{
		"no ARN":               "oidc.example.com",
		"a role":               "arn:aws:iam::111122223333:role/oidc-provider/x",
		"a SAML provider":      "arn:aws:iam::111122223333:saml-provider/x",
		"another service":      "arn:aws:sts::111122223333:oidc-provider/oidc.example.com",
		"a region":             "arn:aws:iam:eu-west-1:111122223333:oidc-provider/oidc.example.com",
		"no account":           "arn:aws:iam:::oidc-provider/oidc.example.com",
		"a short account":      "arn:aws:iam::1111:oidc-provider/oidc.example.com",
		"an unknown partition": "arn:awz:iam::111122223333:oidc-provider/oidc.example.com",
		"no issuer":            "arn:aws:iam::111122223333:oidc-provider/",
		"no host":              "arn:aws:iam::111122223333:oidc-provider//prod",
		"a pattern":            "arn:aws:iam::111122223333:oidc-provider/*",
		"a space":              "arn:aws:iam::111122223333:oidc-provider/oidc.example.com /x",
	} {
		if provider, err := arn.ParseProvider(text); err == nil {
			t.Errorf("%s is taken: %+v", name, provider)
		}
	}
}

// FuzzParseProvider: what is taken is written the same again, unless its port is the
// default.
func FuzzParseProvider(f *testing.F) {
	f.Add("arn:aws:iam::111122223333:oidc-provider/oidc.example.com/prod")
	f.Add("arn:aws:iam::111122223333:oidc-provider/oidc.example.com:443/prod")
	f.Fuzz(func(t *testing.T, text string) {
		provider, err := arn.ParseProvider(text)
		if err != nil {
			return
		}
		again := arn.OIDCProvider(provider.Partition, provider.Account, provider.Issuer).String()
		if again != text && arn.IssuerID(provider.Issuer) == provider.Issuer {
			t.Errorf("%q became %q", text, again)
		}
	})
}
