package token_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/token"
)

// TestDualStackIssuer: EKS's second address of the keys is no issuer, and the issuer is said.
func TestDualStackIssuer(t *testing.T) {
	t.Parallel()
	for issuer, instead := range map[string]string{
		"https://oidc-eks.eu-central-1.api.aws/id/D539":                    "https://oidc.eks.eu-central-1.amazonaws.com/id/D539",
		"https://OIDC-EKS.eu-central-1.api.aws/id/D539":                    "https://oidc.eks.eu-central-1.amazonaws.com/id/D539",
		"https://oidc-eks.eu-central-1.api.aws:443/id/D539":                "https://oidc.eks.eu-central-1.amazonaws.com/id/D539",
		"https://oidc-eks.us-gov-west-1.api.aws/id/D539":                   "https://oidc.eks.us-gov-west-1.amazonaws.com/id/D539",
		"https://oidc-eks.cn-north-1.api.amazonwebservices.com.cn/id/D539": "https://oidc.eks.cn-north-1.amazonaws.com.cn/id/D539",
		"https://oidc.eks.eu-central-1.amazonaws.com/id/D539":              "",
		"https://oidc-eks.example.com/id/D539":                             "",
		"https://s3.dualstack.eu-west-1.amazonaws.com/keys/c1":             "",
		"https://oidc-eks.eu-central-1.api.aws.example.com/id/D539":        "",
		"https://issuer.example/oidc-eks.eu-central-1.api.aws/id/D539":     "",
	} {
		err := token.CheckTokenIssuer(issuer)
		if (err == nil) != (instead == "") || err != nil && !strings.Contains(err.Error(), instead) {
			t.Errorf("%s: %v, want %q", issuer, err, instead)
		}
	}
	if token.CheckTokenIssuer("http://issuer.example") == nil {
		t.Error("what is no issuer is one of tokens")
	}
}
