package association

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grant"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/policycase"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// maxFurther bounds how many further roles of one association are looked at.
const maxFurther = 20

// further judges the roles that the session's own policies lead to by sts:AssumeRole: the
// session's tags are transitive, so that each of them must allow sts:TagSession (spec
// migration row T1). It keeps no pod from its own role.
func (r *Reconciler) further(
	ctx context.Context, a *v1alpha1.PodIdentityAssociation, trusts verdict, grants *grant.Set,
) verdict {
	if trusts.status != metav1.ConditionTrue {
		return unknown(reasonNotForIAM, "further roles are looked at when the association's own role trusts the plane")
	}
	plan, undecided := r.plan(a)
	if undecided != nil {
		return *undecided
	}
	if len(plan.Role.Tags) == 0 || plan.Role.Local {
		return yes("NothingGoesOn", "no session tags go on to further roles")
	}
	role, err := arn.ParseRole(plan.Last().RoleARN)
	if err != nil {
		return no("Invalid", err.Error())
	}
	texts, err := r.Roles.Policies(ctx, role)
	if err != nil {
		return unknown(reasonFurtherNotAsked, "the role's own policies could not be read: "+err.Error())
	}
	var own []*policy.Policy
	var named []string
	for i, text := range texts {
		document, err := policy.Parse(policy.Identity, fmt.Sprintf("policy %d", i+1), []byte(text))
		if err != nil {
			return unknown("Unread", "a policy of the role is not understood"+place(err))
		}
		own, named = append(own, document), append(named, document.Named("sts:AssumeRole")...)
	}
	slices.Sort(named)
	named = slices.Compact(named)
	var refused, unclear []string
	for _, one := range named[:min(len(named), maxFurther)] {
		next, err := arn.ParseRole(one)
		if err != nil || next == role {
			continue
		}
		shown := "a role that its policies name"
		if grants.Allows(a.Namespace, a.Spec.ServiceAccountName, one).Allowed {
			shown = one
		}
		switch takes, known := r.takesTags(ctx, plan, role, next, own); {
		case !known:
			unclear = append(unclear, shown)
		case !takes:
			refused = append(refused, shown)
		}
	}
	switch {
	case len(refused) > 0:
		return no("TagsRefused", listed(refused)+" cannot be assumed with sessions of "+role.ARN().String()+
			": their tags are transitive, and sts:TagSession is not allowed. Allow it in that role's trust policy and in the "+
			"policies of the session's role, or set sessionTagging: Local")
	case len(named) > maxFurther:
		return unknown("TooMany", fmt.Sprintf("%d further roles are named, of which %d are looked at", len(named), maxFurther))
	case len(unclear) > 0:
		return unknown("SomeNotKnown", "whether these further roles take the session's tags is not known: "+listed(unclear))
	}
	return yes("TagsTaken", "the further roles that the session's policies name take its tags")
}

// listed names each once.
func listed(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// takesTags reports whether a role that the session may assume lets it bring its tags. What
// the application chooses is not known: an external id, a session name.
func (r *Reconciler) takesTags(
	ctx context.Context, plan *sessionplan.Plan, role, next arn.Role, own []*policy.Policy,
) (takes, known bool) {
	text, err := r.Roles.Trust(ctx, next)
	if err != nil {
		missing := fault.KindOf(err) == fault.NotFound // nobody can assume what is not there
		return missing, missing
	}
	trust, err := policy.Parse(policy.Trust, next.Name, []byte(text))
	if err != nil {
		return false, false
	}
	principal, err := policycase.PrincipalOf(role.ARN().String())
	if err != nil {
		return false, false
	}
	context := policy.NewContext().Set("aws:RequestedRegion", r.Plane.Cluster.Region).
		Set("aws:SecureTransport", "true").Set("aws:ResourceAccount", next.Account)
	asked := &judged{principal: principal, context: context, open: map[string]bool{}, known: []string{
		"aws:requestedregion", "aws:securetransport", "aws:resourceaccount", "aws:principalarn", "aws:principalaccount",
		"sts:transitivetagkeys", "aws:tagkeys", requestTagKeys,
	}}
	for _, tag := range plan.Role.Tags {
		asked.Inherited.TransitiveTags = append(asked.Inherited.TransitiveTags, policy.Tag{Key: tag.Key, Value: tag.Value})
		asked.open[requestTagKeys+arn.FoldKey(tag.Key)] = tag.Open
	}
	asked.AddContext(context)
	request := &policy.Request{
		Principal: principal, Resource: next.ARN().String(), ResourceAccount: next.Account, Context: context,
	}
	policies := &policy.Policies{Trust: trust, Identity: own}
	allowed := func(action string) bool {
		return policy.ExplainAll(request, []string{action}, policies).Decision == policy.Allowed.String()
	}
	if allowed("sts:TagSession") {
		return true, true
	}
	for _, document := range append([]*policy.Policy{trust}, own...) {
		for _, statement := range document.Outline() {
			if slices.ContainsFunc(statement.Keys, func(key string) bool { return !asked.knows(key) }) {
				return false, false
			}
		}
	}
	// A role that refuses the session in any case is not one that it leads to.
	return !allowed("sts:AssumeRole"), true
}
