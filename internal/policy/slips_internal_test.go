package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// levenshtein is the definition, in exponential time.
func levenshtein(a, b string) int {
	switch {
	case a == "" || b == "":
		return len(a) + len(b)
	case a[0] == b[0]:
		return levenshtein(a[1:], b[1:])
	}
	return 1 + min(levenshtein(a[1:], b), levenshtein(a, b[1:]), levenshtein(a[1:], b[1:]))
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	text := func() string {
		letters := make([]byte, random.IntN(8))
		for i := range letters {
			letters[i] = "ab"[random.IntN(2)]
		}
		return string(letters)
	}
	for range 5000 {
		a, b, limit := text(), text(), 1+random.IntN(3)
		if got, want := editDistance(a, b, limit), min(levenshtein(a, b), limit+1); got != want {
			t.Fatalf("%q to %q within %d: %d, want %d", a, b, limit, got, want)
		}
	}
	// The whole table would have 10¹² fields.
	long := strings.Repeat("a", 1<<20)
	if got := editDistance("b"+long, long+"c", 3); got != 2 {
		t.Errorf("long texts: %d", got)
	}
}

// TestSlips: what looks like a slip is named, and nothing else.
func TestSlips(t *testing.T) {
	t.Parallel()
	const eks = "oidc.eks.eu-west-1.amazonaws.com"
	for _, row := range []struct{ got, wanted, want string }{
		{"a", "a", ""},
		{" a", "a", "blanks at an end differ"},
		{"a", "a ", "blanks at an end differ"},
		{" a", "a ", "blanks at an end differ"},
		{" a", "b", ""},
		{"A", "a", "letter case differs"},
		{"a/", "a", "a trailing slash differs"},
		{"https://a", "a", "the scheme https:// does not belong here"},
		{" https://a", "a", "blanks at an end differ, the scheme https:// does not belong here"},
		{"abcdefgh", "abcdefgx", ""},
		{"abcdefghi", "abcdefghx", "1 character differs"},
		{"a", "https://a", "the scheme https:// is missing"},
		{"a", "HTTPS://a", "the scheme HTTPS:// is missing"},
		{"http://a", "a", "the scheme http:// does not belong here"},
		{"http://a", "https://a", "the scheme is http://, want https://"},
		{"HTTPS://a", "https://a", "letter case differs"},
		{"https://A", "a", "the scheme https:// does not belong here, letter case differs"},
		{"https://a/", "a", "the scheme https:// does not belong here, a trailing slash differs"},
		{
			"arn:aws:iam::1:oidc-provider/https://h", "arn:aws:iam::1:oidc-provider/h",
			"the scheme https:// does not belong here",
		},
		{"arn:aws:iam::1:oidc-provider/h", "arn:aws:iam::1:oidc-provider/https://h", "the scheme https:// is missing"},
		{eks + "/id/A1", eks + "/A1", `in "` + eks + `/A1" /id/ is missing`},
		{"https://b", "a", ""},
		{"abcdefghi", "abcdefxyz", "3 characters differ"},
		{"abcdefghi", "abcdewxyz", ""},
		{eks + "/A1", eks + "/id/A1", "/id/ is missing"},
		{"oidc.eu-west-1.eks.amazonaws.com/id/A1", eks + "/id/A1", "the region comes before eks, want " + eks},
	} {
		if got := nearMiss(row.got, row.wanted); got != row.want {
			t.Errorf("%q for %q: %q, want %q", row.got, row.wanted, got, row.want)
		}
	}
}

// TestMendedIssuers: only the issuers of EKS are corrected, and only as far as it is
// sure what was meant.
func TestMendedIssuers(t *testing.T) {
	t.Parallel()
	const eks = "oidc.eks.eu-west-1.amazonaws.com"
	for text, want := range map[string]string{
		eks + "/id/A1":      eks + "/id/A1",
		eks:                 eks,
		eks + "/A1":         eks + "/id/A1",
		"oidc.example/A1":   "oidc.example/A1",
		"oidc.x.eks":        "oidc.x.eks",
		"oidc.eks":          "oidc.eks",
		"eu-west-1/A1":      "eu-west-1/A1",
		"eu-west-1.a.eks/x": "eu-west-1.a.eks/x",
		"oidcc.eks.eu-west-1.amazonaws.com/id/A1":                eks + "/id/A1",
		"oidccc.eks.eu-west-1.amazonaws.co/id/A1":                eks + "/id/A1",
		"oidcccc.eks.eu-west-1.amazonaws.co/id/A1":               "oidcccc.eks.eu-west-1.amazonaws.co/id/A1",
		"oidc.eks.eu-west-1.amazonawsxyz.com/id/A1":              eks + "/id/A1",
		"oidc.eks.eu-west-1.amazonawswxyz.com/id/A1":             "oidc.eks.eu-west-1.amazonawswxyz.com/id/A1",
		"oidc.eu-west-1.eks.amazonaws.com/A1":                    eks + "/id/A1",
		eks + "/id/A1/":                                          eks + "/id/A1",
		eks + "/A1//":                                            eks + "/id/A1",
		"oidc.example/A1/":                                       "oidc.example/A1/",
		"oidc-eks.eu-west-1.api.aws/id/A1":                       eks + "/id/A1",
		"oidc-eks.eu-west-1.api.aws.example/id/A1":               "oidc-eks.eu-west-1.api.aws.example/id/A1",
		"oidc-eks.us-gov-west-1.api.aws/id/A1":                   "oidc.eks.us-gov-west-1.amazonaws.com/id/A1",
		"oidc-eks.cn-north-1.api.amazonwebservices.com.cn/id/A1": "oidc.eks.cn-north-1.amazonaws.com.cn/id/A1",
		"oidc.eks.cn-north-1.amazonaws.com/id/A1":                "oidc.eks.cn-north-1.amazonaws.com.cn/id/A1",
		"arn:aws:iam::1:oidc-provider/" + eks + "/A1":            "arn:aws:iam::1:oidc-provider/" + eks + "/id/A1",
		"arn:aws:iam::1:oidc-provider/" + eks + "/id/":           "arn:aws:iam::1:oidc-provider/" + eks + "/id/",
	} {
		if got := normalIssuer(text, func(string) {}); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	for host, want := range map[string]string{
		"eu-west-1":     eks,
		"a.eu-west-1.b": eks,
		"a.b":           "",
		"":              "",
	} {
		if got := eksHost(host); got != want {
			t.Errorf("the issuers of %q are on %q, want %q", host, got, want)
		}
	}
}
