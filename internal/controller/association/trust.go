package association

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/policycase"
	"github.com/rolecall/rolecall/internal/sessionplan"
)

// verdict is what a condition says.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(reason, message string) verdict { return verdict{metav1.ConditionTrue, reason, message} }

func no(reason, message string) verdict { return verdict{metav1.ConditionFalse, reason, message} }

func unknown(reason, message string) verdict {
	return verdict{metav1.ConditionUnknown, reason, message}
}

// judged is a call of a plan, as a policy sees it.
type judged struct {
	policy.Taking
	principal policy.Principal
	context   *policy.Context
	// open are condition keys, in lower case, whose values differ between pods or
	// moments.
	open map[string]bool
	// known are beginnings of the condition keys, in lower case, that are the same
	// for every pod unless they are open; all others depend on the pod or on the
	// moment.
	known []string
	// statement says what a trust policy needs.
	statement string
}

// trust judges the trust policy of an association's role.
func (r *Reconciler) trust(a *v1alpha1.PodIdentityAssociation, role arn.Role, text string) verdict {
	plan, undecided := r.plan(a)
	if undecided != nil {
		return *undecided
	}
	call, missing := judge(&r.Plane, &plan.Role, role)
	if missing != "" {
		return unknown("NotConfigured", missing)
	}
	return call.by(role, text)
}

// targetTrust judges that of the target role, for a session of the first one. It
// does not know what the first role's own policies say (spec podidentity §14.4).
func (r *Reconciler) targetTrust(a *v1alpha1.PodIdentityAssociation, role, target arn.Role, text string) verdict {
	plan, undecided := r.plan(a)
	if undecided != nil {
		return *undecided
	}
	first, missing := judge(&r.Plane, &plan.Role, role)
	if missing != "" {
		return unknown("NotConfigured", missing)
	}
	call, missing := judge(&r.Plane, plan.Target, target)
	if missing != "" {
		return unknown("NotConfigured", missing)
	}
	call.Inherited = first.Inheritance()
	if call.Inherited.SourceIdentity != "" && first.open[sourceIdentityKey] {
		call.open[sourceIdentityKey] = true
	}
	if len(call.Inherited.TransitiveTags) > 0 {
		call.statement = "sts:AssumeRole and sts:TagSession for " + plan.Target.Caller.ARN
	}
	return call.by(target, text)
}

// plan is that of any pod; undecided is the verdict if there is none.
func (r *Reconciler) plan(a *v1alpha1.PodIdentityAssociation) (plan *sessionplan.Plan, undecided *verdict) {
	if association.IsPattern(a) {
		v := unknown("Pattern", "it is decided for each service account")
		return nil, &v
	}
	plan, err := r.Plane.Plan(a, sessionplan.AnyPod(a.Namespace, a.Spec.ServiceAccountName), "")
	if err != nil {
		v := no("Invalid", err.Error())
		return nil, &v
	}
	return plan, nil
}

// by asks the policy of a role about the call.
func (t *judged) by(role arn.Role, text string) verdict {
	document, err := policy.Parse(policy.Trust, role.Name, []byte(text))
	if err != nil {
		return unknown("Unread", fmt.Sprintf("the trust policy of %s is not understood%s", role.ARN(), place(err)))
	}
	for _, statement := range document.Outline() {
		for _, key := range statement.Keys {
			if !t.knows(key) {
				return unknown(
					"DependsOnPod",
					fmt.Sprintf(
						"the trust policy of %s asks for %s, which is known only when a pod asks", role.ARN(), t.shown(key),
					),
				)
			}
		}
	}
	policies := &policy.Policies{Trust: document}
	if t.principal.Kind == policy.RoleSession || t.principal.Kind == policy.User {
		// What the caller's own policies say is not asked here.
		policies.Identity = []*policy.Policy{policy.Everything()}
	}
	t.AddContext(t.context)
	request := &policy.Request{
		Principal:       t.principal,
		Resource:        role.ARN().String(),
		ResourceAccount: role.Account,
		Context:         t.context,
	}
	explained := policy.ExplainAll(request, t.Actions(), policies)
	if explained.Decision == policy.Allowed.String() {
		return yes("Allows", "the trust policy of "+role.ARN().String()+" allows the association's sessions")
	}
	return no("Refuses", fmt.Sprintf("the trust policy of %s refuses: %s. It needs %s: `rolecall trust generate` prints it",
		role.ARN(), t.why(request, policies, explained), t.statement))
}

// place says where a document is wrong, and nothing that it says.
func place(err error) string {
	if wrong, ok := errors.AsType[*policy.SyntaxError](err); ok && wrong.Line > 0 {
		return fmt.Sprintf(" (line %d, column %d)", wrong.Line, wrong.Column)
	}
	return ""
}

// why says what keeps the call out, in words of the call alone. Anybody who reads
// associations reads it, and must not learn from it what else a trust policy says: which
// external id it wants, or who else is trusted.
func (t *judged) why(request *policy.Request, policies *policy.Policies, all *policy.Explanation) string {
	if all.Decision == policy.ExplicitDeny.String() {
		return "a statement denies it"
	}
	for _, action := range t.Actions() {
		one := policy.ExplainAll(request, []string{action}, policies)
		if one.Decision == policy.Allowed.String() {
			continue
		}
		if key, missed := t.onlyMissed(one); missed {
			return fmt.Sprintf("a statement that would allow %s to it has another condition on %s", action, key)
		}
		return "no statement allows " + action + " to it"
	}
	return "no statement allows all of it"
}

// onlyMissed is the one condition that keeps a statement from allowing the call.
func (t *judged) onlyMissed(explained *policy.Explanation) (key string, missed bool) {
	for _, miss := range explained.NearMisses {
		if miss.Element != "Condition" {
			continue
		}
		for i := range explained.Documents {
			document := &explained.Documents[i]
			if document.Source != miss.Source || miss.Index >= len(document.Statements) {
				continue
			}
			for _, condition := range document.Statements[miss.Index].Conditions {
				if !condition.Matched {
					return t.shown(condition.Key), true
				}
			}
		}
	}
	return "", false
}

// shown is a condition key as it may be shown: with what the call says for it, but
// without names that only the policy knows, as of tags and of other issuers' claims.
func (t *judged) shown(key string) string {
	if value, has := t.context.Get(key); has && !t.open[arn.FoldKey(key)] {
		return fmt.Sprintf("%s, which is %q here", key, value)
	}
	space, _, _ := strings.Cut(key, ":")
	family, tag, isTag := strings.Cut(key, "/")
	switch {
	case !strings.EqualFold(space, "aws") && !strings.EqualFold(space, "sts"):
		if claim := key[strings.LastIndexByte(key, ':')+1:]; t.knows(key) && (claim == "sub" || claim == "aud") {
			return key
		}
		return "a claim that only some tokens have"
	case isTag && !slices.ContainsFunc(association.DefaultTags(), func(one string) bool { return arn.SameKey(one, tag) }) &&
		!slices.ContainsFunc(t.Tags, func(one policy.Tag) bool { return arn.SameKey(one.Key, tag) }):
		return family + "/…"
	}
	return key
}

func (t *judged) knows(key string) bool {
	key = arn.FoldKey(key)
	return !t.open[key] && slices.ContainsFunc(
		t.known, func(known string) bool { return strings.HasPrefix(key, known) },
	)
}

const (
	requestTagKeys    = "aws:requesttag/"
	sessionNameKey    = "sts:rolesessionname"
	sourceIdentityKey = "sts:sourceidentity"
)

// judge is a planned call as a policy sees it; missing says what is not configured.
func judge(plane *sessionplan.Plane, call *sessionplan.Call, role arn.Role) (t *judged, missing string) {
	t = &judged{
		Taking: policy.Taking{
			Action:         "sts:" + string(call.Operation),
			SessionName:    call.Name.Value,
			ExternalID:     call.ExternalID,
			SourceIdentity: call.SourceIdentity.Value,
		},
		context: policy.NewContext().
			Set(
				"aws:RequestedRegion", plane.Cluster.Region,
			).Set("aws:SecureTransport", "true").Set("aws:ResourceAccount", role.Account),
		open: map[string]bool{sessionNameKey: call.Name.Open, sourceIdentityKey: call.SourceIdentity.Open},
		known: []string{
			requestTagKeys, "aws:tagkeys", "sts:transitivetagkeys", "sts:externalid", sessionNameKey, sourceIdentityKey,
			"sts:roleauthorizedbyidp",
			"aws:sourcearn", "aws:sourceaccount", "aws:requestedregion", "aws:securetransport", "aws:resourceaccount",
		},
	}
	for _, tag := range call.Tags {
		t.Tags = append(t.Tags, policy.Tag{Key: tag.Key, Value: tag.Value})
		if !call.Local {
			t.TransitiveKeys = append(t.TransitiveKeys, tag.Key)
		}
		if tag.Open {
			t.open[requestTagKeys+arn.FoldKey(tag.Key)] = true
		}
		if tag.Optional { // so that which keys there are differs, too
			t.open["aws:tagkeys"], t.open["sts:transitivetagkeys"] = true, true
		}
	}
	if missing := t.calledBy(plane, &call.Caller, role); missing != "" {
		return nil, missing
	}
	tagging := ""
	if len(t.Tags) > 0 {
		tagging = " and sts:TagSession"
	}
	t.statement = t.Action + tagging + " for " + t.statement
	return t, ""
}

// calledBy adds who calls; missing says what is not configured.
func (t *judged) calledBy(plane *sessionplan.Plane, caller *sessionplan.Caller, role arn.Role) (missing string) {
	t.statement = caller.ARN
	switch caller.Kind {
	case sessionplan.EKSService:
		t.principal = policy.Principal{Kind: policy.Service, ARN: caller.ARN}
		t.context.Set("aws:SourceArn", plane.Cluster.ARN()).Set("aws:SourceAccount", plane.Cluster.Account)
		t.statement = "the service " + caller.ARN
	case sessionplan.BrokerRole, sessionplan.FirstRole:
		principal, err := policycase.PrincipalOf(caller.ARN)
		if err != nil {
			return "the broker's own role is not known here: --broker-role-arn says it"
		}
		t.principal, t.known = principal, append(t.known, "aws:principalarn", "aws:principalaccount")
	case sessionplan.MintedToken, sessionplan.PodToken:
		if caller.Issuer == "" {
			return "the issuer of the tokens is not known here: --issuer says it"
		}
		id, provider := arn.IssuerID(caller.Issuer), arn.OIDCProvider(
			role.Partition, role.Account, caller.Issuer,
		).String()
		t.principal = policy.Principal{Kind: policy.WebIdentity, ARN: provider, UserID: provider, Account: role.Account}
		t.context.Set(id+":sub", caller.Subject).Set(id+":aud", caller.Audience)
		// A minted token names the one role that it is for.
		t.context.Set("sts:RoleAuthorizedByIdp", fmt.Sprint(caller.Kind == sessionplan.MintedToken))
		t.known = append(t.known, arn.FoldKey(id)+":")
		t.statement = provider
	}
	return ""
}
