package arn_test

import (
	"regexp"
	"testing"

	"github.com/rolecall/rolecall/internal/arn"
)

// TestEachCharacter goes through all bytes: each kind of name takes those of its
// alphabet, from the first letter to the last, and no other.
func TestEachCharacter(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::111122223333:role/"
	for _, row := range []struct {
		name          string
		is            func(string) bool
		before, after string
		alphabet      string
	}{
		{"account", arn.IsAccount, "11112222333", "", `[0-9]`},
		{"cluster name", arn.IsClusterName, "a", "", `[0-9A-Za-z_-]`},
		{"the first of a cluster name", arn.IsClusterName, "", "a", `[0-9A-Za-z]`},
		{"bucket", arn.IsBucket, "a", "a", `[0-9a-z.-]`},
		{"the first of a bucket", arn.IsBucket, "", "aa", `[0-9a-z]`},
		{"the last of a bucket", arn.IsBucket, "aa", "", `[0-9a-z]`},
		{"session name", arn.IsSessionName, "a", "", `[0-9A-Za-z_+=,.@-]`},
		{"external id", arn.IsExternalID, "a", "", `[0-9A-Za-z_+=,.@:/-]`},
		{"region label", arn.IsRegionLabel, "a", "a", `[0-9a-z-]`},
		{"the last of a region label", arn.IsRegionLabel, "a", "", `[0-9a-z]`},
		{"partition of a role", arn.IsRole, "arn:aws", role[len("arn:aws"):] + "a", `[0-9a-z-]`},
		{"name of a role", arn.IsRole, role + "a", "", `[0-9A-Za-z_+=,.@-]`},
		{"path of a role", arn.IsRole, role + "a", "b/c", `[0-9A-Za-z_+=,.@/-]`},
	} {
		alphabet := regexp.MustCompile(`^` + row.alphabet + `$`)
		for c := range 256 {
			one := string([]byte{byte(c)})
			text := row.before + one + row.after
			if got, want := row.is(text), alphabet.MatchString(one); got != want {
				t.Errorf("%s: %q is taken: %t, want %t", row.name, text, got, want)
			}
		}
	}
}

// TestZeroNamesNothing: the zero value is told from every name.
func TestZeroNamesNothing(t *testing.T) {
	t.Parallel()
	if !(arn.ARN{}).IsZero() {
		t.Error("the zero value names something")
	}
	if named, err := arn.Parse("arn:aws:s3:::bucket"); err != nil || named.IsZero() {
		t.Errorf("%s names nothing, or %v", named, err)
	}
}

// TestOIDCProvider: the provider's ARN has what IAM makes of the issuer.
func TestOIDCProvider(t *testing.T) {
	t.Parallel()
	const want = "arn:aws-cn:iam::111122223333:oidc-provider/oidc.example.com/Prod/"
	if got := arn.OIDCProvider("aws-cn", "111122223333", "https://oidc.example.com:443/Prod/").String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
