package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/policy"
)

func BenchmarkWebIdentityTrust(b *testing.B) {
	policies := &policy.Policies{
		Trust: parse(b, policy.Trust,
			webTrust(`'StringEquals':{'`+keys+`:sub':'`+reader+`','`+keys+`:aud':'sts.amazonaws.com'}`)),
	}
	request := &policy.Request{
		Principal: oidc,
		Action:    "sts:AssumeRoleWithWebIdentity",
		Resource:  roleT,
		Context:   token("sts.amazonaws.com"),
	}
	b.ReportAllocs()
	for b.Loop() {
		if policy.Decide(request, policies).Effect != policy.Allowed {
			b.Fatal("denied")
		}
	}
}

func BenchmarkManyActionsMiss(b *testing.B) {
	var actions []string
	for i := range 3000 {
		actions = append(actions, fmt.Sprintf("'svc%d:Describe*'", i))
	}
	policies := &policy.Policies{Identity: []*policy.Policy{
		parse(b, policy.Identity, doc(`{'Effect':'Allow','Resource':'*','Action':[`+strings.Join(actions, ",")+`]}`)),
	}}
	request := &policy.Request{
		Principal:       alice,
		Action:          "s3:PutObject",
		Resource:        "arn:aws:s3:::b/k",
		ResourceAccount: "111122223333",
	}
	b.ReportAllocs()
	for b.Loop() {
		if policy.Decide(request, policies).Effect == policy.Allowed {
			b.Fatal("allowed")
		}
	}
}
