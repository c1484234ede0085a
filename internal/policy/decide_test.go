package policy_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

// The rows of spec iam-policy §10, and many more, are data, which TestCorpus
// decides. Here is what that form cannot say.

// TestEntityIDs: IAM stores the unique ids of users and roles; a role that was
// deleted and made again is another one.
func TestEntityIDs(t *testing.T) {
	t.Parallel()
	trust := parse(t, policy.Trust, roleTrust(`{'AWS':['`+roleR+`','arn:aws:iam::111122223333:root']}`))
	bound := trust.Bind(map[string]string{roleR: session.EntityID})
	again := session
	again.EntityID = "AROAAGAINAGAINAGAIN12"
	for _, row := range []struct {
		name  string
		trust *policy.Policy
		who   policy.Principal
		want  policy.Effect
	}{
		{"by ARN", trust, session, policy.Allowed},
		{"by id", bound, session, policy.Allowed},
		{"made again", bound, again, policy.ImplicitDeny},
		{"an id", parse(t, policy.Trust, roleTrust(`{'AWS':'`+alice.EntityID+`'}`)), alice, policy.Allowed},
		{
			name:  "an id of nobody",
			trust: parse(t, policy.Trust, roleTrust(`{'AWS':'AIDANOBODYNOBODY1234'}`)),
			who:   alice,
			want:  policy.ImplicitDeny,
		},
	} {
		request := policy.Request{Principal: row.who, Action: "sts:AssumeRole", Resource: roleT}
		if got := policy.Decide(&request, &policy.Policies{Trust: row.trust}); got.Effect != row.want {
			t.Errorf("%s: %s (%s), want %s", row.name, got.Effect, got.Reason, row.want)
		}
	}
	if got := trust.Entities(); len(got) != 1 || got[0] != roleR {
		t.Errorf("entities %v, want the role only", got)
	}
}

func TestSummaryNamesTheCause(t *testing.T) {
	t.Parallel()
	eks := "oidc.eks.us-east-1.amazonaws.com/id/D539"
	who := policy.Principal{
		Kind:    policy.WebIdentity,
		ARN:     "arn:aws:iam::111122223333:oidc-provider/" + eks,
		Account: "111122223333",
	}
	context := policy.NewContext().Set(eks+":sub", reader).Set(eks+":aud", "test")
	trust := func(issuer, subject string) string {
		return doc(`{'Effect':'Allow','Principal':{'Federated':'arn:aws:iam::111122223333:oidc-provider/` + issuer +
			`'},'Action':'sts:AssumeRoleWithWebIdentity','Condition':{'StringEquals':{'` + issuer + `:sub':'` +
			subject + `'}}}`)
	}
	for _, row := range []struct {
		name, trust, reason string
		want                []string
	}{
		{
			name:   "other subject",
			trust:  trust(eks, "system:serviceaccount:default:x"),
			reason: "trust-condition-failed",
			want: []string{
				"StringEquals " + eks + ":sub",
				`wants "system:serviceaccount:default:x"`,
				`got "` + reader + `"`,
			},
		},
		{
			name:   "region order and id",
			trust:  trust("oidc.us-east-1.eks.amazonaws.com/D539", reader),
			reason: "no-trust-match",
			want:   []string{"the region comes before eks", "/id/ is missing"},
		},
		{
			name:   "wildcard under StringEquals",
			trust:  trust(eks, "system:serviceaccount:default:*"),
			reason: "trust-condition-failed",
			want:   []string{"use StringLike"},
		},
		{
			name:   "case",
			trust:  trust(eks, "System:serviceaccount:default:s3-reader"),
			reason: "trust-condition-failed",
			want:   []string{"letter case"},
		},
		{
			name:   "AssumeRole",
			trust:  strings.Replace(trust(eks, reader), "WithWebIdentity", "", 1),
			reason: "trust-wrong-action",
			want:   []string{"does not cover"},
		},
		{"slash", trust(eks+"/", reader), "no-trust-match", []string{"trailing slash"}},
	} {
		e := policy.Explain(&policy.Request{
			Principal: who,
			Action:    "sts:AssumeRoleWithWebIdentity",
			Resource:  roleT,
			Context:   context,
		},
			&policy.Policies{Trust: parse(t, policy.Trust, row.trust)})
		if e.Reason != row.reason {
			t.Errorf("%s: reason %q, want %q", row.name, e.Reason, row.reason)
		}
		for _, want := range row.want {
			if !strings.Contains(e.Summary(), want) {
				t.Errorf("%s: %q lacks %q", row.name, e.Summary(), want)
			}
		}
	}
}
