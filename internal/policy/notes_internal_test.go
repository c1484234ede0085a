package policy

import (
	"strings"
	"testing"
)

// TestKeysThatAreNeverPresent: a condition on one of them is explained.
func TestKeysThatAreNeverPresent(t *testing.T) {
	t.Parallel()
	const issuer = "oidc.example/id/a1"
	web := &Request{Principal: Principal{Kind: WebIdentity, ARN: "arn:aws:iam::111122223333:oidc-provider/" + issuer}}
	user := &Request{Principal: Principal{Kind: User, ARN: "arn:aws:iam::111122223333:user/alice"}}
	for _, row := range []struct {
		name, key string
		request   *Request
		want      string // part of the note; empty for none
	}{
		{"a duration", "sts:durationseconds", user, "no AssumeRole call"},
		{"a duration, by token", "sts:durationseconds", web, "no AssumeRole call"},
		{"the caller's ARN", "aws:principalarn", web, "never has this key"},
		{"the caller's name", "aws:username", web, "never has this key"},
		{"an external id", "sts:externalid", web, "never has this key"},
		{"a source ARN", "aws:sourcearn", web, "never has this key"},
		{"a source account", "aws:sourceaccount", web, "never has this key"},
		{"a tag of the caller", "aws:principaltag/team", web, "never has this key"},
		{"the caller's ARN, by a user", "aws:principalarn", user, ""},
		{"an address", "aws:sourceip", web, ""},
		{"a claim that is no key", issuer + ":email_verified", web, "the claim email_verified is not a condition key"},
		{"a claim that is a key", issuer + ":sub", web, ""},
		{"a claim of another issuer", "other.example/id/a1:email_verified", web, ""},
		{"a claim, by a user", issuer + ":email_verified", user, ""},
		{"a service's own key", "pods.eks.amazonaws.com:x", &Request{Principal: Principal{
			Kind: Service, ARN: "pods.eks.amazonaws.com",
		}}, ""},
	} {
		if got := neverPresent(row.key, row.request); !strings.Contains(got, row.want) ||
			(got == "") != (row.want == "") {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestSimilarKeys: a key of the request that a misspelt one may mean is named, the
// first of the alphabet if two are as near.
func TestSimilarKeys(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, wanted string
		has          []string
		want         string
	}{
		{"two letters away", "aws:sorceipp", []string{"aws:SourceIp"}, "aws:SourceIp"},
		{"three letters away", "aws:sorceippp", []string{"aws:SourceIp"}, ""},
		{"a short one", "ab:c", []string{"ab:d"}, ""},
		{"one that is just long enough", "ab:cd", []string{"ab:ce"}, "ab:ce"},
		{"two that are as near", "aws:tagx", []string{"aws:tagb", "aws:taga", "aws:tagc"}, "aws:taga"},
		{"the same claim of another issuer", "a.example:sub", []string{"b.example:sub"}, "b.example:sub"},
		{"another claim of another issuer", "a.example:sub", []string{"b.example:aud"}, ""},
		{"the same word of a service", "aws:sub", []string{"b.example:sub"}, ""},
		{"a claim, and the same word of a service", "b.example:sub", []string{"service:sub"}, ""},
		{"nothing", "aws:sub", nil, ""},
	} {
		context := NewContext()
		for _, key := range row.has {
			context.Set(key, "x")
		}
		x := &explainer{evaluation: evaluation{request: &Request{Context: context}}}
		if got, _ := x.similarKey(row.wanted); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestPrincipalNotes: why an entry that looks like the caller is not.
func TestPrincipalNotes(t *testing.T) {
	t.Parallel()
	const providers = "arn:aws:iam::111122223333:oidc-provider/"
	web := Principal{Kind: WebIdentity, ARN: providers + "h.example/a"}
	session := Principal{
		Kind:    RoleSession,
		ARN:     "arn:aws:sts::111122223333:assumed-role/app/s",
		RoleARN: "arn:aws:iam::111122223333:role/app",
	}
	user := Principal{Kind: User, ARN: "arn:aws:iam::111122223333:user/alice"}
	for _, row := range []struct {
		name, key, text string
		caller          Principal
		want            string
	}{
		{"an id", "AWS", "AIDANOBODYNOBODY1234", user, "the unique id of"},
		{
			name:   "its issuer in another account",
			key:    "Federated",
			text:   "arn:aws:iam::999922223333:oidc-provider/h.example/a",
			caller: web,
			want:   "registered in account 999922223333",
		},
		{"its issuer in this account", "Federated", providers + "h.example/a", web, ""},
		{
			name:   "another issuer in another account",
			key:    "Federated",
			text:   "arn:aws:iam::999922223333:oidc-provider/other.test/b",
			caller: web,
		},
		{
			name:   "its issuer in another account, for a user",
			key:    "Federated",
			text:   "arn:aws:iam::999922223333:oidc-provider/h.example/a",
			caller: user,
		},
		{
			name:   "its issuer in another account, as AWS",
			key:    "AWS",
			text:   "arn:aws:iam::999922223333:oidc-provider/h.example/a",
			caller: web,
		},
		{"anybody, for a token", "AWS", "*", web, "does not admit tokens"},
		{"anybody, for a user", "AWS", "*", user, ""},
		{"its role in capitals", "AWS", "arn:aws:iam::111122223333:role/APP", session, "letter case"},
		{"its session in capitals", "AWS", "arn:aws:sts::111122223333:assumed-role/APP/s", session, "letter case"},
		{"itself in capitals", "AWS", "arn:aws:iam::111122223333:user/ALICE", user, "letter case"},
	} {
		got := principalNote(&principalEntry{key: row.key, text: row.text}, &row.caller)
		if row.want == "" && (strings.Contains(got, "registered in") || strings.Contains(got, "admit tokens")) ||
			!strings.Contains(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestFirstDifferentPart of an ARN is named; partition, service and region are
// compared without letter case.
func TestFirstDifferentPart(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, pattern, resource, part, wanted, got string }{
		{"the resource", "arn:aws:s3:::bkt/a", "arn:aws:s3:::bkt/b", "resource", "bkt/a", "bkt/b"},
		{
			name:     "the account, and the resource",
			pattern:  "arn:aws:sns:*:1*:a",
			resource: "arn:aws:sns:eu-west-1:222233334444:b",
			part:     "account",
			wanted:   "1*",
			got:      "222233334444",
		},
		{
			name:     "the region in capitals",
			pattern:  "arn:aws:sns:EU-WEST-1:1*:a",
			resource: "arn:aws:sns:eu-west-1:111122223333:b",
			part:     "resource",
			wanted:   "a",
			got:      "b",
		},
		{
			name:     "the service in capitals",
			pattern:  "arn:aws:SNS:eu-west-1:1*:a",
			resource: "arn:aws:sns:eu-west-1:111122223333:b",
			part:     "resource",
			wanted:   "a",
			got:      "b",
		},
		{
			name:     "the partition in capitals",
			pattern:  "arn:AWS:sns:eu-west-1:1*:a",
			resource: "arn:aws:sns:eu-west-1:111122223333:b",
			part:     "resource",
			wanted:   "a",
			got:      "b",
		},
		{"the resource in capitals", "arn:aws:sns:*:*:A", "arn:aws:sns:eu-west-1:111122223333:a", "resource", "A", "a"},
		{"the account in capitals", "arn:aws:sns:*:X:a", "arn:aws:sns:eu-west-1:x:a", "account", "X", "x"},
		{"the partition", "arn:aws-cn:s3:::bkt", "arn:aws:s3:::bkt", "partition", "aws-cn", "aws"},
		{"the service, and more", "arn:aws:sqs:::bkt", "arn:aws:s3:::other", "service", "sqs", "s3"},
		{"no ARN", "arn:aws:s3:::bkt", "*", "arn", "arn", "*"},
		{"an ARN that ends early", "arn:aws:s3:::bkt", "arn:aws:s3", "resource", "bkt", ""},
	} {
		x := &explainer{evaluation: evaluation{request: &Request{Resource: row.resource, Context: NewContext()}}}
		p := resourcePattern{whole: compilePattern(row.pattern, true, true)}
		got := x.explainResourcePattern(&p)
		if got.FirstDifferentPart != row.part || got.Wanted != row.wanted || got.Got != row.got || got.Resolved != "" {
			t.Errorf("%s: %+v, want %s: %q and %q", row.name, got, row.part, row.wanted, row.got)
		}
	}
}

func TestASCIILetters(t *testing.T) {
	t.Parallel()
	if isASCII("a\u0080") || isASCII("\x80") || !isASCII("~\x7f") {
		t.Error("what is ASCII ends at 0x7f")
	}
	for b, want := range map[byte]byte{'A': 'a', 'Z': 'z', '@': '@', '[': '[', 'a': 'a'} {
		if got := lowerASCII(b); got != want {
			t.Errorf("%q in lower case is %q", b, got)
		}
	}
}
