package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/policy"
)

func TestTakingActions(t *testing.T) {
	t.Parallel()
	tag := []policy.Tag{{Key: "team", Value: "red"}}
	for _, row := range []struct {
		name   string
		taking policy.Taking
		want   string
	}{
		{"plain", policy.Taking{}, "sts:AssumeRole"},
		{"tags", policy.Taking{Tags: tag}, "sts:AssumeRole sts:TagSession"},
		{
			name:   "inherited tags",
			taking: policy.Taking{Inherited: policy.Inheritance{TransitiveTags: tag}},
			want:   "sts:AssumeRole sts:TagSession",
		},
		{"source identity", policy.Taking{SourceIdentity: "alice"}, "sts:AssumeRole sts:SetSourceIdentity"},
		{
			name:   "inherited source identity",
			taking: policy.Taking{Inherited: policy.Inheritance{SourceIdentity: "alice"}},
			want:   "sts:AssumeRole sts:SetSourceIdentity",
		},
		{
			name:   "everything",
			taking: policy.Taking{Tags: tag, SourceIdentity: "alice", HasContexts: true},
			want:   "sts:AssumeRole sts:TagSession sts:SetSourceIdentity sts:SetContext",
		},
	} {
		row.taking.Action = "sts:AssumeRole"
		if got := strings.Join(row.taking.Actions(), " "); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

// TestTakingRefused is role chaining: spec iam-policy §4.4 and §1.4.
func TestTakingRefused(t *testing.T) {
	t.Parallel()
	var many []policy.Tag
	for i := range 51 {
		many = append(many, policy.Tag{Key: fmt.Sprint("k", i)})
	}
	inherited := policy.Inheritance{TransitiveTags: []policy.Tag{{Key: "Team", Value: "red"}}}
	for _, row := range []struct {
		name   string
		taking policy.Taking
		want   string
	}{
		{"nothing", policy.Taking{}, ""},
		{
			name: "tags and keys",
			taking: policy.Taking{
				Tags:           []policy.Tag{{Key: "a"}, {Key: "b", Value: strings.Repeat("v", 256)}},
				TransitiveKeys: []string{"A"},
			},
		},
		{
			name:   "twice",
			taking: policy.Taking{Tags: []policy.Tag{{Key: "a"}, {Key: "A"}}},
			want:   "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
		},
		{
			name:   "a transitive tag again",
			taking: policy.Taking{Tags: []policy.Tag{{Key: "team"}}, Inherited: inherited},
			want: "One of the specified transitive tag keys can't be set because it conflicts with a transitive " +
				"tag key from the calling session.",
		},
		{
			name:   "a key without tag",
			taking: policy.Taking{TransitiveKeys: []string{"a"}},
			want:   "The specified transitive tag key must be included in the requested tags.",
		},
		{"no key", policy.Taking{Tags: []policy.Tag{{}}}, "1 validation error detected"},
		{
			name:   "a long key",
			taking: policy.Taking{Tags: []policy.Tag{{Key: strings.Repeat("k", 129)}}},
			want:   "1 validation error detected",
		},
		{
			name:   "a long value",
			taking: policy.Taking{Tags: []policy.Tag{{Key: "k", Value: strings.Repeat("v", 257)}}},
			want:   "1 validation error detected",
		},
		{
			name:   "AWS's own",
			taking: policy.Taking{Tags: []policy.Tag{{Key: "AWS:x"}}},
			want:   "Tag keys that begin with aws: are reserved for internal use.",
		},
		{"too many", policy.Taking{Tags: many}, "1 validation error detected"},
	} {
		got := row.taking.Check()
		if (got == nil) != (row.want == "") || (got != nil && !strings.HasPrefix(got.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.name, got, row.want)
		}
	}
}

func TestTakingContext(t *testing.T) {
	t.Parallel()
	absent := []string{
		"sts:RoleSessionName", "sts:ExternalId", "sts:SourceIdentity", "aws:TagKeys", "sts:TransitiveTagKeys",
		"aws:RequestTag/team",
	}
	empty := policy.NewContext()
	(&policy.Taking{}).AddContext(empty)
	full := policy.NewContext()
	(&policy.Taking{
		SessionName: "s", ExternalID: "e", SourceIdentity: "i", Tags: []policy.Tag{{
			Key:   "team",
			Value: "red",
		}}, TransitiveKeys: []string{"team"},
	}).AddContext(full)
	for _, key := range absent {
		null := mustParse(t, policy.Identity, "p", condition(`'Null':{'`+key+`':'true'}`))
		for _, row := range []struct {
			context *policy.Context
			want    policy.Effect
		}{{empty, policy.Allowed}, {full, policy.ImplicitDeny}} {
			request := &policy.Request{Principal: alice, Action: "s3:GetObject", Resource: "*", Context: row.context}
			if got := policy.Decide(request, &policy.Policies{Identity: []*policy.Policy{
				null,
			}}); got.Effect != row.want {
				t.Errorf("%s absent: %s, want %s", key, got.Effect, row.want)
			}
		}
	}
	for key, want := range map[string]string{
		"sts:RoleSessionName": "s",
		"sts:ExternalId":      "e",
		"sts:SourceIdentity":  "i",
		"aws:RequestTag/team": "red",
	} {
		if got, _ := full.Get(key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

// TestPrincipalTags: letter case does not count, and of tags that differ in case
// only the last in byte order does.
func TestPrincipalTags(t *testing.T) {
	t.Parallel()
	who := alice
	who.Tags = map[string]string{"Team": "red", "team": "blue", "other": "green"}
	for text, want := range map[string]policy.Effect{
		"blue":  policy.Allowed,
		"red":   policy.ImplicitDeny,
		"green": policy.ImplicitDeny,
	} {
		identity := mustParse(t, policy.Identity, "p", condition(`'StringEquals':{'aws:PrincipalTag/TEAM':'`+text+`'}`))
		request := &policy.Request{Principal: who, Action: "s3:GetObject", Resource: "*"}
		if got := policy.Decide(request, &policy.Policies{Identity: []*policy.Policy{identity}}); got.Effect != want {
			t.Errorf("team %s: %s, want %s", text, got.Effect, want)
		}
	}
}

func TestSessionTags(t *testing.T) {
	t.Parallel()
	taking := policy.Taking{
		Tags:           []policy.Tag{{Key: "Team", Value: "red"}, {Key: "env", Value: "prod"}},
		TransitiveKeys: []string{"ENV"},
		SourceIdentity: "bob",
		Inherited: policy.Inheritance{
			TransitiveTags: []policy.Tag{{Key: "cluster", Value: "a"}},
			SourceIdentity: "alice",
		},
	}
	role := []policy.Tag{{Key: "team", Value: "blue"}, {Key: "CLUSTER", Value: "b"}, {Key: "cost", Value: "1"}}
	if diff := cmp.Diff([]policy.Tag{
		{"Team", "red"},
		{"cluster", "a"},
		{"cost", "1"},
		{"env", "prod"},
	}, taking.SessionTags(role)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	want := policy.Inheritance{TransitiveTags: []policy.Tag{{"cluster", "a"}, {"env", "prod"}}, SourceIdentity: "alice"}
	if diff := cmp.Diff(want, taking.Inheritance()); diff != "" {
		t.Errorf("inheritance (-want +got):\n%s", diff)
	}
}

// TestChain: a session whose tags are transitive needs sts:TagSession on both
// sides of the next role, and its tag stands for the role's own in the trust.
func TestChain(t *testing.T) {
	t.Parallel()
	taking := policy.Taking{
		Action:      "sts:AssumeRole",
		SessionName: "next",
		Inherited:   policy.Inheritance{TransitiveTags: []policy.Tag{{"team", "red"}}},
	}
	trustText := `{'Effect':'Allow','Principal':{'AWS':'` + roleR +
		`'},'Action':%s,'Condition':{'StringEquals':{'aws:ResourceTag/team':'red'}}}`
	identity := []*policy.Policy{
		mustParse(t, policy.Identity, "p", allow(`'Action':['sts:AssumeRole','sts:TagSession'],'Resource':'*'`)),
	}
	silent := []*policy.Policy{mustParse(t, policy.Identity, "p", allow(`'Action':'sts:AssumeRole','Resource':'*'`))}
	for _, row := range []struct {
		name, actions string
		identity      []*policy.Policy
		want          string
	}{
		{"both sides", `['sts:AssumeRole','sts:TagSession']`, identity, "allowed-both"},
		{"trust without", `'sts:AssumeRole'`, identity, "tag-session-missing:trust"},
		{"identity without", `['sts:AssumeRole','sts:TagSession']`, silent, "tag-session-missing:identity"},
	} {
		request := &policy.Request{
			Principal: session,
			Resource:  roleTB,
			Context:   policy.NewContext().Set("aws:ResourceTag/team", "blue"),
		}
		taking.AddContext(request.Context)
		policies := &policy.Policies{
			Identity: row.identity,
			Trust:    mustParse(t, policy.Trust, "p", doc(fmt.Sprintf(trustText, row.actions))),
		}
		decision, _ := policy.DecideAll(request, taking.Actions(), policies)
		if got := policy.ExplainAll(request, taking.Actions(), policies); decision.Reason != row.want ||
			got.Reason != row.want {
			t.Errorf("%s: %s, explained as %s, want %s", row.name, decision.Reason, got.Reason, row.want)
		}
	}
}
