package arn_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/arn"
)

func TestParseRole(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text string
		want arn.Role // zero: an error is wanted
	}{
		{
			"arn:aws:iam::111122223333:role/app",
			arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "app"},
		},
		{
			"arn:aws-cn:iam::111122223333:role/team/x/app",
			arn.Role{Partition: "aws-cn", Account: "111122223333", Path: "/team/x/", Name: "app"},
		},
		{"arn:aws:iam::111122223333:user/app", arn.Role{}},
		{"arn:aws:sts::111122223333:role/app", arn.Role{}},
		{"arn:aws:iam:us-east-1:111122223333:role/app", arn.Role{}},
		{"arn:aws:iam::1111222233:role/app", arn.Role{}},
		{"arn:aws:iam::11112222333x:role/app", arn.Role{}},
		{"arn:aws:iam::111122223333:role/", arn.Role{}},
		{"arn:aws:iam::111122223333:role/team/", arn.Role{}},
		{"app", arn.Role{}},
		{"", arn.Role{}},
	} {
		got, err := arn.ParseRole(row.text)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("ParseRole(%q) (-want +got):\n%s", row.text, diff)
		}
		if (err != nil) != (row.want == arn.Role{}) {
			t.Errorf("ParseRole(%q) error = %v", row.text, err)
		}
		if err == nil && got.ARN().String() != row.text {
			t.Errorf("ParseRole(%q).ARN() = %q", row.text, got.ARN())
		}
	}
}

func TestSessionARNHasNoPath(t *testing.T) {
	t.Parallel()
	role := arn.Role{Partition: "aws", Account: "111122223333", Path: "/team/", Name: "app"}
	if got, want := role.Session("s1").String(), "arn:aws:sts::111122223333:assumed-role/app/s1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestIssuerID(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{
		"https://oidc.eks.us-east-1.amazonaws.com/id/A1": "oidc.eks.us-east-1.amazonaws.com/id/A1",
		"https://h:443/p":  "h/p",
		"https://h:4430/p": "h:4430/p",
		"https://H/P/":     "H/P/",
		"h/p":              "h/p",
		"https://h":        "h",
		"https://h:443":    "h",
	} {
		if got := arn.IssuerID(issuer); got != want {
			t.Errorf("IssuerID(%q) = %q, want %q", issuer, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("arn:aws:iam::111122223333:role/app")
	f.Add("arn:aws:s3:::bucket/a:b")
	f.Add("arn::::::")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := arn.Parse(text)
		if err == nil && a.String() != text {
			t.Errorf("Parse(%q).String() = %q", text, a)
		}
	})
}
