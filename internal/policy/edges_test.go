package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/finding"
	"github.com/rolecall/rolecall/internal/policy"
)

func TestSizeCountsNoBlanks(t *testing.T) {
	t.Parallel()
	if got := policy.Size(" a\tb\r\né "); got != 3 {
		t.Errorf("%d characters, want 3", got)
	}
}

// TestLongestDocuments: as much as may be stored, and as much as is read, is.
func TestLongestDocuments(t *testing.T) {
	t.Parallel()
	good := doc(`{'Effect':'Allow','Action':'*','Resource':'*'}`)
	pad := func(length int) []byte { return []byte(good + strings.Repeat(" ", length-len(good))) }
	for length, stored := range map[int]bool{131072: true, 131073: false} {
		if _, err := policy.ParseParameter(policy.Identity, "p", pad(length)); (err == nil) != stored {
			t.Errorf("%d characters to be stored: %v", length, err)
		}
	}
	for length, read := range map[int]bool{1 << 20: true, 1<<20 + 1: false} {
		if _, err := policy.Parse(policy.Identity, "p", pad(length)); (err == nil) != read {
			t.Errorf("%d bytes to be read: %v", length, err)
		}
	}
}

// TestEveryFaultIsFound: one fault hides no other of its list.
func TestEveryFaultIsFound(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		kind policy.Kind
		text string // ' for "
		want []string
	}{
		{
			"two statements, one of them a text", policy.Identity,
			`{'Statement':['x',{'Effect':'Permit','Action':'*','Resource':'*'}]}`,
			[]string{"a statement is an object", `"Permit"`},
		},
		{
			"two values, one of them an object", policy.Identity,
			doc(`{'Effect':'Allow','Action':'*','Resource':'*','Condition':{'NumericEquals':{'a':[{},'ten']}}}`),
			[]string{"not an object", `"ten"`},
		},
		{
			"another version, with unusual dashes", policy.Identity,
			"{'Version':'2012\u201310\u201318','Statement':[" + `{'Effect':'Allow','Action':'*','Resource':'*'}]}`,
			[]string{"EN DASH", "Version must be"},
		},
		{
			"no list of resources", policy.Identity,
			doc(`{'Effect':'Allow','Action':'*','Resource':null}`),
			[]string{"not null"},
		},
		{
			"a number in a list of resources", policy.Identity,
			doc(`{'Effect':'Allow','Action':'*','Resource':['*',1]}`),
			[]string{"not a number"},
		},
		{
			"a Deny in lower case denies", policy.RCP,
			doc(`{'Effect':'deny','Principal':'*','Action':'s3:*','Resource':'*'}`),
			[]string{"must be written Deny"},
		},
		{
			"an Allow in lower case allows", policy.RCP,
			doc(`{'Effect':'allow','Principal':'*','Action':'s3:*','Resource':'*'}`),
			[]string{"must be written Allow", "can only Deny"},
		},
	} {
		var faults []string
		for _, one := range policy.Lint(row.kind, "p", []byte(strings.ReplaceAll(row.text, "'", `"`)),
			policy.LintOptions{}) {
			if one.Severity == finding.Error {
				faults = append(faults, one.Message)
			}
		}
		missing := slices.DeleteFunc(slices.Clone(row.want), func(part string) bool {
			return slices.ContainsFunc(faults, func(fault string) bool { return strings.Contains(fault, part) })
		})
		if len(missing) > 0 || len(faults) != len(row.want) {
			t.Errorf("%s: found %q, want one each about %q", row.name, faults, row.want)
		}
	}
}

// TestWhatIsNotStoredIsEvaluated: the grammar of resource control policies is for
// those that are stored; other faults are refused all the same.
func TestWhatIsNotStoredIsEvaluated(t *testing.T) {
	t.Parallel()
	text := doc(
		`{'Effect':'Deny','Principal':'*','NotAction':'s3:*','Resource':'*'}`,
		`{'Effect':'Permit','Principal':'*','Action':'s3:*','Resource':'*'}`,
	)
	if _, err := policy.Parse(policy.RCP, "p", []byte(text)); err == nil {
		t.Error("an invalid Effect is evaluated")
	}
	if _, err := policy.Parse(policy.RCP, "p", []byte(strings.Replace(text, "Permit", "Deny", 1))); err != nil {
		t.Errorf("a NotAction is not evaluated: %v", err)
	}
}

// TestSimilarOperators: what a misspelt operator may mean is suggested, the first of
// the alphabet if two are as near, and nothing that is far.
func TestSimilarOperators(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"StringEqual":                 "did you mean StringEquals?",
		"StringEqu":                   "did you mean StringEquals?",
		"ForAllValues:stringlik":      "did you mean StringLike?",
		"Bul":                         "did you mean Bool?",
		"Xyzzyfrobnicate":             "want StringEquals, StringLike",
		"ForAnyValue:Xyzzyfrobnicate": "want StringEquals, StringLike",
	} {
		_, err := policy.Parse(policy.Identity, "p", []byte(condition(`'`+name+`':{'a':'b'}`)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	// AWS lets an empty one pass, if it has one colon at most.
	if _, err := policy.Parse(policy.Identity, "p", []byte(condition(`'ForAnyValue:NoOperator':{}`))); err != nil {
		t.Errorf("an empty operator with a prefix: %v", err)
	}
}

// TestRootUsers need nobody's leave in their account, and a trust policy's to do
// what assumes a role.
func TestRootUsers(t *testing.T) {
	t.Parallel()
	root := policy.Principal{
		Kind:    policy.Root,
		ARN:     "arn:aws:iam::111122223333:root",
		Account: "111122223333",
		UserID:  "111122223333",
	}
	for _, row := range []struct {
		name, action, resource string
		policies               policy.Policies
		effect                 policy.Effect
		reason                 string
	}{
		{"in its account", "s3:GetObject", "arn:aws:s3:::b/k", policy.Policies{}, policy.Allowed, "allowed-direct"},
		{
			"a role that does not trust it", "sts:TagSession", roleT,
			policy.Policies{
				Trust: parse(t, policy.Trust, roleTrust(`{'Service':'ec2.amazonaws.com'}`)),
			},
			policy.ImplicitDeny, "no-trust-match",
		},
	} {
		got := policy.Decide(&policy.Request{
			Principal: root,
			Action:    row.action,
			Resource:  row.resource,
		}, &row.policies)
		if got.Effect != row.effect || got.Reason != row.reason {
			t.Errorf("%s: %s (%s), want %s (%s)", row.name, got.Effect, got.Reason, row.effect, row.reason)
		}
	}
}
