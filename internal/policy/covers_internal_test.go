package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// coverPieces are what patterns and requests of TestCoversIsTrue are made of: few, so
// that they meet often.
var (
	coverActions = []string{
		"*", "s3:*", "s3:Get*", "S3:get*", "s3:GetObject", "s3:?etObject", "s3:*t", "s3:G*t", "sqs:*", "s3:Get?b*",
	}
	coverResources = []string{
		"*", "*b", "*:b", "arn:*", "arn:aws:s3*", "arn:aws:s3:::b", "arn:aws:s3:::*b", "arn:aws:s3:::b/*", "arn:aws:s3:::?",
		"arn:aws:s3:::*", "arn:aws:s3:::b*", "arn:aws:s3:::*/*", "arn:AWS:S3:::b", "arn:aws:*:::b", "arn:aws:s3:::b/?",
		"arn:aws:s3:::ü", "arn:aws:s3:::😀", "arn:aws:s3:::??", "arn:aws:s3:::b:c:*", "arn:aws:s3:*", "arn:aws:sqs:*:1:b",
		"arn:aws:s3:::${aws:username}", "arn:aws:s3:::${aws:username}/*", "*b*", "a*", "?", "arn:?ws:s3:::b",
	}
	askedActions   = []string{"s3:GetObject", "s3:getObject", "s3:Get", "s3:Getxbt", "s3:Put", "sqs:Get", "ec2:X"}
	askedResources = []string{
		"arn:aws:s3:::b", "arn:aws:s3:::b/x", "arn:aws:s3:::b/", "arn:aws:s3:::xb", "arn:aws:s3:::B", "arn:aws:sqs:r:1:b", "*",
		"arn:aws:s3:::ü", "arn:aws:s3:::😀", "arn:aws:s3:::xx", "arn:aws:s3:::b:c:d", "arn:aws:s3:::u", "arn:aws:s3:::u/x",
		"arn:aws:s3:r:1:b", "arn:aws-cn:s3:::b", "b", "arn:aws:sns:::b", "arn:aws:s3:::x/y", "arn:aws:s3:::bb", "arn",
	}
)

// TestCoversIsTrue: where a statement is said to cover another, the engine applies it
// wherever it applies the other.
func TestCoversIsTrue(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not a secret
	some := func(from []string) string {
		list := []string{from[random.IntN(len(from))]}
		if random.IntN(3) == 0 {
			list = append(list, from[random.IntN(len(from))])
		}
		return `["` + strings.Join(list, `","`) + `"]`
	}
	conditions := []string{
		"", "", "", `,"Condition":{"StringEquals":{"aws:username":"u"}}`, `,"Condition":{"StringEquals":{"aws:username":"v"}}`,
	}
	covering := map[bool]int{}
	for range 20000 {
		kind := []Kind{Identity, SCP, Endpoint}[random.IntN(3)]
		principal := ""
		if kind == Endpoint {
			principal = `"Principal":"*",`
		}
		one := func() string {
			return fmt.Sprintf(`{"Effect":"Allow",%s"Action":%s,"Resource":%s%s}`, principal, some(coverActions),
				some(coverResources), conditions[random.IntN(len(conditions))])
		}
		text := `{"Version":"2012-10-17","Statement":[` + one() + "," + one() + `]}`
		d := &decoder{kind: kind, name: "p", text: []byte(text), limit: maxParameter}
		p := d.decode()
		if p == nil || len(p.statements) != 2 {
			t.Fatal(text)
		}
		a, b := &p.statements[0], &p.statements[1]
		covers := a.covers(b)
		covering[covers]++
		if !covers {
			continue
		}
		for _, asked := range askedActions {
			for _, resource := range askedResources {
				r := &Request{
					Principal: Principal{
						Kind: User, ARN: "arn:aws:iam::1:user/u", UserName: "u", Account: "1",
					},
					Action: asked, Resource: resource, Context: NewContext(),
				}
				e := newEvaluation(r, &Policies{})
				if e.applies(b) && !e.applies(a) {
					t.Fatalf("%s: the first is said to cover the second, but not for %s on %s", text, asked, resource)
				}
			}
		}
	}
	if covering[true] < 500 || covering[false] < 500 {
		t.Errorf("%v: the statements are all alike", covering)
	}
}

// TestCoversFinds: what is covered is found, so that the property is not kept by silence.
func TestCoversFinds(t *testing.T) {
	t.Parallel()
	ops := func(text string) []op { return compilePattern(text, true, false).ops }
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"*", "", true},
		{"*", "a*b?", true},
		{"a*", "a", true},
		{"a*c", "abbc", true},
		{"a*c", "a*bc", true},
		{"a?c", "abc", true},
		{"a?c", "a?c", true},
		{"a?c", "a*c", false},
		{"a?", "aü", false},
		{"a*", "ba", false},
		{"*b", "ab*", false},
		{"ab", "aB", false},
	} {
		if got := opsCover(ops(row.a), ops(row.b), false); got != row.want {
			t.Errorf("%s covers %s: %t, want %t", row.a, row.b, got, row.want)
		}
	}
	if !opsCover(ops("g*"), ops("GET"), true) {
		t.Error("letters of actions are compared with their case")
	}
}

// TestAllCoveredStatements: each superfluous statement is reported, not the first alone.
func TestAllCoveredStatements(t *testing.T) {
	t.Parallel()
	statement := func(action, resource string) string {
		return `{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`
	}
	const bucket, object = "arn:aws:s3:::b", "arn:aws:s3:::b/*"
	for _, row := range []struct {
		statements []string
		want       []string
	}{
		{
			[]string{statement("s3:*", "*"), statement("s3:Put*", object), statement("s3:Get*", object), statement("s3:*", bucket)},
			[]string{"statement 1 covers this one", "statement 1 covers this one", "statement 1 covers this one"},
		},
		{
			[]string{statement("s3:Get*", object), statement("s3:Put*", object), statement("s3:*", "*")},
			[]string{"statement 3 covers this one", "statement 3 covers this one"},
		},
		{
			[]string{statement("s3:*", object), statement("s3:*", object), statement("s3:*", object)},
			[]string{"statement 1 says the same as this one", "statement 1 says the same as this one"},
		},
		{[]string{statement("s3:*", bucket), statement("s3:*", "*b")}, nil},
		{[]string{statement("s3:*", "*b"), statement("s3:*", bucket)}, nil},
	} {
		text := `{"Version":"2012-10-17","Statement":[` + strings.Join(row.statements, ",") + `]}`
		var got []string
		for _, f := range Lint(Endpoint, "p", []byte(strings.ReplaceAll(text, `"Effect"`, `"Principal":"*","Effect"`)),
			LintOptions{}) {
			if f.Rule == "covered-statement" || f.Rule == "duplicate-statement" {
				got = append(got, f.Message)
			}
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: got %q, want %q", text, got, row.want)
		}
	}
}
