package policy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
)

// TestKnowledge: the table of actions can be read, and is whole.
func TestKnowledge(t *testing.T) {
	t.Parallel()
	actions := 0
	for name, s := range knownServices() {
		if !slices.Contains(services(), name) {
			t.Errorf("%s is no service", name)
		}
		if len(s.names) != len(s.actions) || len(s.names) == 0 {
			t.Errorf("%s: %d names, %d actions", name, len(s.names), len(s.actions))
		}
		actions += len(s.names)
		for _, a := range s.actions {
			if slices.Contains(a.kinds, nil) {
				t.Errorf("%s:%s is about a kind that is not written down", name, a.name)
			}
			for _, kind := range a.kinds {
				if slices.ContainsFunc(kind.ops[:1], func(part []op) bool { return len(part) == 0 }) {
					t.Errorf("%s:%s: %q names no service", name, a.name, kind.form)
				}
			}
		}
	}
	if len(knownServices()) < 15 || actions < 1500 {
		t.Errorf("%d services with %d actions: that is not all", len(knownServices()), actions)
	}
	for call, needed := range calls {
		service, name, _ := strings.Cut(call, ":")
		if knownServices()[service].actions[name] != nil {
			t.Errorf("%s is an action", call)
		}
		for _, one := range needed {
			if _, name, _ := strings.Cut(one, ":"); knownServices()[service].actions[lowerText(name)] == nil {
				t.Errorf("%s needs %s, which is not one", call, one)
			}
		}
	}
}

// filled makes ARNs of a kind's form: with short texts, and with what the patterns have.
func filled(kind *resourceKind, fillings []string, random *rand.Rand) string {
	var out strings.Builder
	some := func(strict bool) string {
		for range 8 {
			text := fillings[random.IntN(len(fillings))]
			if text != "" && (!strict || !strings.ContainsAny(text, ":/*?")) {
				return text
			}
		}
		return "x"
	}
	for i, part := range strings.SplitN("arn:aws:"+kind.form, ":", 6) {
		if i > 0 {
			out.WriteByte(':')
		}
		for _, char := range []byte(part) {
			switch char {
			case '+', '*':
				text := some(false)
				if i < 5 {
					text = strings.ReplaceAll(text, ":", "x")
				}
				out.WriteString(text)
			case '~':
				out.WriteString(some(true))
			case '?':
				out.WriteByte('x')
			default:
				out.WriteByte(char)
			}
		}
	}
	return out.String()
}

// TestImpossibleIsTrue: what is said to be in vain, the engine allows for no resource that
// the action is about.
func TestImpossibleIsTrue(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // not a secret
	actions := []string{
		"s3:ListBucket", "s3:GetObject", "s3:Put*", "s3:*", "sqs:SendMessage", "sns:Publish", "kms:Decrypt", "kms:*",
		"dynamodb:GetItem", "dynamodb:Query", "ssm:GetParameter", "iam:PassRole", "sts:AssumeRole", "ecr:BatchGetImage",
		"lambda:InvokeFunction", "logs:PutLogEvents", "eks:DescribeNodegroup", "route53:GetChange", "ec2:StartInstances",
	}
	heads := []string{"arn:aws:", "arn:aws:", "arn:*:", "arn:", "*"}
	parts := []string{
		"s3:::", "s3:", "sqs:*:*:", "sns:r:1:", "kms:r:1:", "dynamodb:*:1:table/", "ssm:*:*:parameter/", "iam::1:role/",
		"ecr:r:1:repository/", "lambda:*:*:function:", "logs:*:*:log-group:", "eks:r:1:", "route53:::", "ec2:*:*:", "*", "s?:::",
		"S3:::", "sqs:r::",
	}
	tails := []string{
		"", "*", "b", "b/*", "b*", "?", "key/*", "alias/a", "b/index/*", "/b", "cluster/b", "nodegroup/*", "b:*",
		"change/b", "instance/*", "*/*", "b/", "role/b",
	}
	said := map[bool]int{}
	found := false
	for range 1200 {
		written := actions[random.IntN(len(actions))]
		part := parts[random.IntN(len(parts))]
		service, _, _ := strings.Cut(written, ":")
		own := slices.IndexFunc(parts, func(p string) bool { return strings.HasPrefix(p, service+":") })
		if own >= 0 && random.IntN(3) > 0 {
			part = parts[own]
		}
		resource := heads[random.IntN(len(heads))] + part + tails[random.IntN(len(tails))]
		text := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + written + `","Resource":"` + resource +
			`"}}`
		p, err := Parse(Identity, "p", []byte(text))
		if err != nil {
			continue
		}
		vain := slices.ContainsFunc(Lint(Identity, "p", []byte(text), LintOptions{}), func(f finding.Finding) bool {
			return f.Rule == "action-on-wrong-resource"
		})
		said[vain]++
		allowed := ""
		fillings := []string{"x", "1", "r", "b", "b/x", "a", "/b", "b:x", "x/y/z", "bb", "index"}
		fillings = append(fillings, strings.FieldsFunc(strings.NewReplacer("*", "x", "?", "x").Replace(resource),
			func(c rune) bool { return c == '/' || c == ':' })...)
		if i := strings.LastIndexByte(resource, ':'); i >= 0 {
			fillings = append(fillings, strings.ReplaceAll(resource[i+1:], "*", "x"))
		}
		for _, a := range knownServices()[p.statements[0].action.patterns[0].prefix].matching(&p.statements[0].action.patterns[0]) {
			for _, kind := range a.kinds {
				for i := 0; i < 60 && allowed == ""; i++ {
					r := &Request{
						Principal: Principal{Kind: User, ARN: "arn:aws:iam::1:user/u", Account: "1"}, Action: a.service + ":" + a.name,
						Resource: filled(kind, fillings, random), ResourceAccount: "1", Context: NewContext(),
					}
					if Decide(r, &Policies{Identity: []*Policy{p}}).Effect == Allowed {
						allowed = r.Action + " on " + r.Resource
					}
				}
			}
		}
		if vain && allowed != "" {
			t.Errorf("%s: said to be in vain, and allows %s", text, allowed)
		}
		found = found || allowed != ""
	}
	if said[true] < 100 || said[false] < 100 || !found {
		t.Errorf("%v: the cases are one-sided", said)
	}
}

// TestFormMeets: a pattern and a form have a text in common.
func TestFormMeets(t *testing.T) {
	t.Parallel()
	form := func(text string) []op { return newResourceKind("", ":::"+text).ops[3] }
	for _, row := range []struct {
		pattern, form string
		want          bool
	}{
		{"*", "~", true},
		{"", "+", false},
		{"", "*", true},
		{"a", "~", true},
		{"a/b", "~", false},
		{"a/b", "+", true},
		{"a/*", "~", false},
		{"a*", "~/+", true},
		{"a/", "~/+", false},
		{"a/b/c", "~/+", true},
		{"??????", "*-??????", false},
		{"???????", "*-??????", true},
		{"db-?????", "*-??????", false},
		{"db-*", "*-??????", true},
		{"db", "*-??????", false},
		{"/a", "?*", false},
		{"a/b", "?*", true},
		{"ü", "~", true},
		{"?", "~", true},
		{"table/*", "table/~/index/~", true},
		{"table/t", "table/~/index/~", false},
		{"t*x*y", "+z+", true},
		{"tx", "+z+", false},
	} {
		ops := compilePattern(row.pattern, true, false).ops
		if got := formMeets(ops, form(row.form), false); got != row.want {
			t.Errorf("%q and %q: %t, want %t", row.pattern, row.form, got, row.want)
		}
	}
	if !formMeets([]op{'S', '3'}, []op{'s', '3'}, true) || formMeets([]op{'S', '3'}, []op{'s', '3'}, false) {
		t.Error("letter case counts where it must not, or does not where it must")
	}
}
