package arn_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/api/crds"
	"github.com/rolecall/rolecall/internal/arn"
)

// rule is what a definition in api/crds says of one text, as an API server applies
// it.
type rule struct {
	MinLength   int    `json:"minLength"`
	MaxLength   *int   `json:"maxLength"`
	Pattern     string `json:"pattern"`
	Validations []struct {
		Rule string `json:"rule"`
	} `json:"x-kubernetes-validations"`

	pattern *regexp.Regexp
}

// The rules in CEL that are known here, as functions.
var celRules = map[string]func(text string) bool{
	"self.lastIndexOf('/') - self.indexOf('/') < 512": hasShortPath,
	"self.contains('*') || self.contains('?') || self.lastIndexOf('/') - self.indexOf('/') < 512": func(text string) bool {
		return strings.ContainsAny(text, "*?") || hasShortPath(text)
	},
}

func hasShortPath(text string) bool {
	return strings.LastIndex(text, "/")-strings.Index(text, "/") < 512
}

// accepts reports whether an API server accepts the text, in which CEL counts
// and finds characters; an ARN that gets this far is ASCII.
func (r *rule) accepts(text string) bool {
	length := utf8.RuneCountInString(text)
	if length < r.MinLength || r.MaxLength != nil && length > *r.MaxLength || !r.pattern.MatchString(text) {
		return false
	}
	for _, one := range r.Validations {
		if !celRules[one.Rule](text) {
			return false
		}
	}
	return true
}

// definition returns the rule at a path of members below the schema of a kind.
func definition(tb testing.TB, file string, path ...string) *rule {
	tb.Helper()
	text, err := crds.Files.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					Root map[string]any `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		tb.Fatal(err)
	}
	node := crd.Spec.Versions[0].Schema.Root
	for _, member := range path {
		next, found := node["properties"].(map[string]any)[member].(map[string]any)
		if !found {
			tb.Fatalf("%s: there is no member %s of %v", file, member, path)
		}
		if items, isList := next["items"].(map[string]any); isList {
			next = items
		}
		node = next
	}
	again, err := yaml.Marshal(node)
	if err != nil {
		tb.Fatal(err)
	}
	found := &rule{}
	if err := yaml.Unmarshal(again, found); err != nil {
		tb.Fatal(err)
	}
	if found.Pattern == "" {
		tb.Fatalf("%s: %v has no pattern", file, path)
	}
	found.pattern = regexp.MustCompile(found.Pattern)
	for _, one := range found.Validations {
		if celRules[one.Rule] == nil {
			tb.Fatalf("%s: %v has a rule that this test does not know: %s", file, path, one.Rule)
		}
	}
	return found
}

const (
	associations = "rolecall.io_podidentityassociations.yaml"
	roleGrants   = "rolecall.io_rolegrants.yaml"
	issuers      = "rolecall.io_issuers.yaml"
)

// held is a definition, and the function that must agree about every text.
type held struct {
	name string
	rule *rule
	is   func(string) bool
}

func definitions(tb testing.TB) []held {
	tb.Helper()
	return []held{
		{"spec.roleARN of an association", definition(tb, associations, "spec", "roleARN"), arn.IsRole},
		{"spec.targetRoleARN of an association", definition(tb, associations, "spec", "targetRoleARN"), arn.IsRole},
		{"spec.externalID of an association", definition(tb, associations, "spec", "externalID"), arn.IsExternalID},
		{"spec.roles of a grant", definition(tb, roleGrants, "spec", "roles"), isGrantRole},
		{
			name: "spec.publish.s3.region of an issuer",
			rule: definition(tb, issuers, "spec", "publish", "s3", "region"),
			is:   arn.IsRegion,
		},
		{
			name: "spec.publish.s3.bucket of an issuer",
			rule: definition(tb, issuers, "spec", "publish", "s3", "bucket"),
			is:   arn.IsBucket,
		},
	}
}

// isGrantRole: patterns are ARNs with a wildcard, or a star alone; without one it
// is a role.
func isGrantRole(text string) bool {
	if !strings.ContainsAny(text, "*?") {
		return arn.IsRole(text)
	}
	isOneLine := utf8.RuneCountInString(text) <= arn.MaxARN && !strings.Contains(text, "\n")
	return isOneLine && (text == "*" || strings.HasPrefix(text, "arn:"))
}

func (h *held) check(tb testing.TB, text string) (accepted bool) {
	tb.Helper()
	accepted = h.is(text)
	if defined := h.rule.accepts(text); defined != accepted {
		tb.Errorf("%s: %q: the definition says %t, the function %t", h.name, text, defined, accepted)
	}
	return accepted
}

// boundaries are texts on both sides of each limit, in no order.
func boundaries() []string {
	const account = "arn:aws:iam::111122223333:role/"
	path := func(length int) string { // with the slash before it, which is part of role/
		return strings.Repeat("p/", (length-1)/2) + strings.Repeat("q", (length-1)%2)
	}
	texts := []string{
		"", " ", "\n", "*", "**", "?", "arn:", "arn:*", "arn:aws:iam::*:role/x", "arn:aws:iam::*:role/\nx", "x*", "*\n",
		account, account + "a", account + "a/", account + "/a", account + "a//b", account + "a/b", account + "//", account + "a ",
		account + "a\n", account + "\na", "\n" + account + "a", account + "é", account + "a/é/b", account + "a!/b", account + "${a}",
		account + "a*", account + "a?/b", account + "a+=,.@-_", account + "a+=,.@-_/b", account + "a:b", account + `a\b`,
		account + strings.Repeat("n", 64), account + strings.Repeat("n", 65), account + "p/" + strings.Repeat("n", 65),
		account + strings.Repeat("n", 64) + "\n", "arn:aws:iam::111122223333:role", "arn:aws:iam::111122223333:roles/a",
		"arn:aws:iam::111122223333:user/a", "arn:aws:iam::111122223333:root", "arn:aws:sts::111122223333:assumed-role/a/b",
		"arn:aws:iam:eu-west-1:111122223333:role/a", "arn:aws:iam::11112222333:role/a", "arn:aws:iam::1111222233334:role/a",
		"arn:aws:iam:::role/a", "arn:aws:iam::11112222333x:role/a", "arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:role/a", "arn:aws:iam::１11122223333:role/a",
		"arn::iam::111122223333:role/a", "arn:aws-:iam::111122223333:role/a", "arn:aws-cn:iam::111122223333:role/a",
		"arn:aws-us-gov:iam::111122223333:role/a", "arn:aws-iso-b:iam::111122223333:role/a", "arn:awsx:iam::111122223333:role/a",
		"arn:AWS:iam::111122223333:role/a", "arn:aws_x:iam::111122223333:role/a", "arn:gcp:iam::111122223333:role/a",
		"ARN:aws:iam::111122223333:role/a", "arn:aws:iam::111122223333:role/a:b", "arn:aws::iam::111122223333:role/a",
		"arn:aws:s3::111122223333:role/a", "arn:aws:iam::111122223333", "a", "ab", "a\xff", "ab\xff", "a/b:c@d", "a b", "ab\n",
		strings.Repeat("x", 1224), strings.Repeat("x", 1225), "eu-west-1", "eu-west-1\n", "eu-west-", "eu-west-100", "eu-wst-1", "-",
		"us-gov-east-1", "us-isob-east-1", "eusc-de-east-1", "euscx-de-east-1", "a-b-c-west-1", "eu--west-1", "EU-west-1", "eu-west-１",
		"b", "abc", "a.c", "a-c", ".bc", "ab-", "-bc", "a_c", "Abc", "a..b", "192.168.0.1", strings.Repeat("b", 63), strings.Repeat("b", 64),
	}
	for _, length := range []int{509, 510, 511, 512, 513, 514, 515} {
		for _, name := range []string{"n", strings.Repeat("n", 64), strings.Repeat("n", 65)} {
			texts = append(texts, account+strings.TrimSuffix(path(length-1), "/")+"/"+name, account+path(length)+name)
		}
		texts = append(texts, account+strings.Repeat("p", length-2)+"/n", account+strings.Repeat("p", length-2)+"/*")
	}
	for _, length := range []int{2047, 2048, 2049} { // by a long partition, as no other part can be so long
		rest := ":iam::111122223333:role/n"
		texts = append(texts, "arn:aws"+strings.Repeat("x", length-len("arn:aws")-len(rest))+rest,
			"arn:"+strings.Repeat("*", length-len("arn:")))
	}
	return texts
}

// TestDefinitionsSayTheSame: an API server accepts what the program accepts, for
// every text near a limit, and for texts made of pieces of such.
func TestDefinitionsSayTheSame(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(11, 1)) //nolint:gosec // the same texts each time
	for _, one := range definitions(t) {
		t.Run(one.name, func(t *testing.T) {
			accepted, refused := 0, 0
			count := func(text string) {
				if one.check(t, text) {
					accepted++
				} else {
					refused++
				}
			}
			for _, text := range boundaries() {
				count(text)
			}
			for range 20_000 {
				count(pieced(random))
			}
			if accepted < 4 || refused < 100 {
				t.Errorf("%d texts are accepted, %d refused: the texts are not near the limits", accepted, refused)
			}
		})
	}
}

// pieced is an ARN, or nearly one, or a name.
func pieced(random *rand.Rand) string {
	pick := func(of ...string) string {
		if random.IntN(3) > 0 {
			return of[0]
		}
		return of[random.IntN(len(of))]
	}
	name := func() string {
		return pick("app", "a", "", "A_b+c=d,e.f@g-h", strings.Repeat("n", 60+random.IntN(8)), "*", "é", "٣", "a b",
			"x\n", "{", "%2f")
	}
	var resource strings.Builder
	resource.WriteString(pick("role", "role", "user", "roles", ""))
	for range random.IntN(4) {
		resource.WriteString("/" + pick("team", "a", "", "p+", "?", "!", strings.Repeat("p", 120+random.IntN(140))))
	}
	resource.WriteString(pick("/", "/", "", "//") + name() + pick("", "", "/", "\n", " "))
	switch random.IntN(6) {
	case 0:
		return name()
	case 1:
		return pick("eu", "us", "eusc", "EU", "e", "") + pick("", "-gov", "-de", "-") + "-" +
			pick("west", "northeast", "wst", "central", "") + "-" + pick("1", "12", "123", "", "x", "1\n")
	}
	return fmt.Sprintf("%s:%s:%s:%s:%s:%s", pick("arn", "ARN",
		""), pick("aws", "aws-cn", "aws-", "awsé", "aw", "aws\n", ""),
		pick("iam", "sts",
			""), pick("", "",
			"us-east-1"), pick("111122223333", "11112222333", "1111222233334", "１11122223333", ""), resource.String())
}

// FuzzDefinitions looks for a text about which a definition and its function
// disagree.
func FuzzDefinitions(f *testing.F) {
	for _, text := range boundaries() {
		f.Add(text)
	}
	all := definitions(f)
	f.Fuzz(func(t *testing.T, text string) {
		for i := range all {
			all[i].check(t, text)
		}
	})
}

// TestAcceptedRolesAreTheirParts: a role's parts make the ARN they came from, and
// are what IAM's own pages allow.
func TestAcceptedRolesAreTheirParts(t *testing.T) {
	t.Parallel()
	path := regexp.MustCompile(`^(/|/[!-~]+/)$`)
	name := regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	random := rand.New(rand.NewPCG(11, 2)) //nolint:gosec // the same texts each time
	texts := boundaries()
	for range 20_000 {
		texts = append(texts, pieced(random))
	}
	for _, text := range slices.Compact(texts) {
		role, err := arn.ParseRole(text)
		if err != nil {
			if !strings.Contains(err.Error(), "is not a role ARN: ") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if role.ARN().String() != text || !path.MatchString(role.Path) || len(role.Path) > 512 ||
			!name.MatchString(role.Name) {
			t.Errorf("%q: %+v", text, role)
		}
	}
}
