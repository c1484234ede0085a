package association_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/policy"
)

// looks are letters that some folding takes for the one that they stand by.
var looks = map[rune]string{
	's': "sS\u017f\uff53\uff33", 'k': "kK\u212a\uff4b", 'i': "iI\uff49", 'e': "eE\uff25", '-': "-\uff0d", 'a': "aA\uff21\u1d43",
	'n': "nN", 'w': "wW", ':': ":\uff1a",
}

// disguised is a key in letters of other foldings, perhaps with blanks around it.
func disguised(random *rand.Rand, key string) string {
	var b strings.Builder
	for _, c := range key {
		if others := []rune(looks[c]); len(others) > 0 && random.IntN(2) == 0 {
			c = others[random.IntN(len(others))]
		}
		b.WriteRune(c)
	}
	blanks := []string{"", "", "", " ", "\u00a0", "\u3000", "\u2003 "}
	return blanks[random.IntN(len(blanks))] + b.String() + blanks[random.IntN(len(blanks))]
}

// TestKeysAreFoldedAlike: of two keys in all letters, everything that compares keys says
// the same: the engine's context, conditions, variables and tags, and STS's rules for
// tags; and associations admit neither twice what is one key to any of them, nor what looks
// like a key of the plane's own.
func TestKeysAreFoldedAlike(t *testing.T) {
	t.Parallel()
	bases := append(association.DefaultTags(), "costs", "task", "aws:kinesis", "team")
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // the same cases each time
		a := disguised(random, bases[random.IntN(len(bases))])
		b := disguised(random, bases[random.IntN(len(bases))])
		same := arn.SameKey(a, b)
		for what, got := range map[string]bool{
			"the context":          inContext(a, b),
			"a condition on a tag": denied(t, a, b),
			"tags set twice":       (&policy.Taking{Tags: []policy.Tag{{Key: a}, {Key: b}}}).Check() != nil,
			"an inherited tag": (&policy.Taking{
				Tags: []policy.Tag{{Key: b}}, Inherited: policy.Inheritance{TransitiveTags: []policy.Tag{{Key: a}}},
			}).Check() != nil,
			"a transitive key": (&policy.Taking{Tags: []policy.Tag{{Key: a}}, TransitiveKeys: []string{b}}).Check() == nil,
			"a session's tags": len((&policy.Taking{Tags: []policy.Tag{{Key: a}}}).SessionTags([]policy.Tag{{Key: b}})) == 1,
		} {
			if strings.HasPrefix(arn.FoldKey(a), "aws:") || strings.HasPrefix(arn.FoldKey(b), "aws:") {
				continue // refused for another reason
			}
			if got != same {
				t.Errorf("seed %d, %q and %q: %s: one key %t, and by arn.SameKey %t", seed, a, b, what, got, same)
			}
		}
		if same && association.LookOfKey(a) != association.LookOfKey(b) {
			t.Errorf("seed %d: %q and %q are one key and do not look like one", seed, a, b)
		}
		for _, key := range []string{a, b} {
			checkReserved(t, seed, key)
		}
		if err := written(map[string]string{a: "x", b: "y"}); err == nil && a != b &&
			association.LookOfKey(a) == association.LookOfKey(b) {
			t.Errorf("seed %d: %q and %q are admitted together", seed, a, b)
		}
	}
}

func written(tags map[string]string) error {
	return association.Validate(&v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec: v1alpha1.PodIdentityAssociationSpec{
			ServiceAccountName: "cart", RoleARN: "arn:aws:iam::111122223333:role/r", SessionTags: tags,
		},
	}, false)
}

// checkReserved: what was one of the plane's keys before it was disguised is refused.
func checkReserved(t *testing.T, seed uint64, key string) {
	t.Helper()
	plain := strings.TrimSpace(strings.Map(func(c rune) rune {
		for base, letters := range looks {
			if strings.ContainsRune(letters, c) {
				return base
			}
		}
		return c
	}, key))
	reserved := strings.HasPrefix(plain, "aws:")
	for _, one := range association.DefaultTags() {
		reserved = reserved || plain == one
	}
	if err := written(map[string]string{key: "x"}); association.IsReservedKey(key) != reserved || reserved && err == nil {
		t.Errorf("seed %d: %q, which is %q: reserved %t, written: %v", seed, key, plain, association.IsReservedKey(key), err)
	}
}

func inContext(a, b string) bool {
	_, found := policy.NewContext().Set("aws:RequestTag/"+a, "x").Get("aws:RequestTag/" + b)
	return found
}

// denied: a Deny by the tag a applies to a principal with the tag b.
func denied(t *testing.T, a, b string) bool {
	t.Helper()
	parsed, err := policy.Parse(policy.Identity, "p", []byte(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny",`+
			`"Action":"*","Resource":"*","Condition":{"StringEquals":{`+strconv.QuoteToASCII("aws:PrincipalTag/"+a)+`:"red"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request := &policy.Request{
		Principal: policy.Principal{
			Kind: policy.RoleSession, ARN: "arn:aws:sts::111122223333:assumed-role/r/s",
			RoleARN: "arn:aws:iam::111122223333:role/r", Account: "111122223333", Tags: map[string]string{b: "red"},
		},
		Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: "111122223333", Context: policy.NewContext(),
	}
	decision, _ := policy.DecideAll(request, []string{"s3:GetObject"}, &policy.Policies{Identity: []*policy.Policy{parsed}})
	return decision.Effect == policy.ExplicitDeny
}

// TestInvisibleLetters: letters that show nothing make no other key, wherever they stand.
func TestInvisibleLetters(t *testing.T) {
	t.Parallel()
	for _, invisible := range []string{"\u115f", "\u1160", "\u3164", "\uffa0", "\u034f", "\u17b4", "\u200b", "\u00ad", "\ufe0f"} {
		for _, key := range association.DefaultTags() {
			for _, disguise := range []string{key + invisible, invisible + key, key[:3] + invisible + key[3:], key + " " + invisible} {
				if !association.IsReservedKey(disguise) {
					t.Errorf("%+q is not reserved", disguise)
				}
			}
		}
	}
}
