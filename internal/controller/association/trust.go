package association

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/association"
	"github.com/rolecall/rolecall/internal/policy"
	"github.com/rolecall/rolecall/internal/policycase"
)

// EKS is the mode of a cluster whose roles AWS's own service takes; no
// association can ask for it.
const EKS v1alpha1.AssociationMode = "EKS"

// podPrincipal is the service that takes roles on EKS.
const podPrincipal = "pods.eks.amazonaws.com"

// Plane is how the roles of this cluster's associations are taken.
type Plane struct {
	Cluster association.Cluster
	// Mode is that of associations which name none.
	Mode v1alpha1.AssociationMode
	// Issuer is the URL of the tokens' issuer, for Federated and PassThrough.
	Issuer string
	// BrokerRoleARN is the broker's own identity, for BrokerRole.
	BrokerRoleARN string
}

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

// taking is a call that takes a role for any pod of an account.
type taking struct {
	policy.Taking
	principal policy.Principal
	context   *policy.Context
	// known are beginnings of the condition keys, in lower case, that are the same
	// for every pod; all others depend on the pod or on the moment.
	known []string
	// statement says what a trust policy needs.
	statement string
}

// trust judges the trust policy of an association's role.
func (p *Plane) trust(a *v1alpha1.PodIdentityAssociation, role arn.Role, text string) verdict {
	if association.IsPattern(a) {
		return unknown("Pattern", "it is decided for each service account")
	}
	call, missing := p.taking(a, role)
	if missing != "" {
		return unknown("NotConfigured", missing)
	}
	return call.judge(role, text)
}

// targetTrust judges that of the target role, for a session of the first one. It
// does not know what the first role's own policies say (spec podidentity §14.4).
func (p *Plane) targetTrust(a *v1alpha1.PodIdentityAssociation, role, target arn.Role, text string) verdict {
	first, missing := p.taking(a, role)
	if missing != "" {
		return unknown("NotConfigured", missing)
	}
	session, err := policycase.PrincipalOf(role.ARN().String())
	if err != nil {
		return unknown("Unread", err.Error())
	}
	call := &taking{context: p.context(target), principal: session, known: append(commonKeys(), "aws:principalarn", "aws:principalaccount")}
	call.Action, call.ExternalID = "sts:AssumeRole", p.Cluster.ExternalIDOf(a, p.mode(a), a.Spec.ServiceAccountName)
	call.Inherited = first.Inheritance()
	call.statement = "sts:AssumeRole for " + role.ARN().String()
	if len(call.Inherited.TransitiveTags) > 0 {
		call.statement = "sts:AssumeRole and sts:TagSession for " + role.ARN().String()
	}
	return call.judge(target, text)
}

// judge asks the policy of a role about the call.
func (t *taking) judge(role arn.Role, text string) verdict {
	document, err := policy.Parse(policy.Trust, role.Name, []byte(text))
	if err != nil {
		return unknown("Unread", fmt.Sprintf("the trust policy of %s is not understood: %s", role.ARN(), err))
	}
	for _, statement := range document.Outline() {
		for _, key := range statement.Keys {
			if !t.knows(key) {
				return unknown("DependsOnPod", fmt.Sprintf("the trust policy of %s asks for %s, which is known only when a pod asks", role.ARN(), key))
			}
		}
	}
	policies := &policy.Policies{Trust: document}
	if t.principal.Kind == policy.RoleSession || t.principal.Kind == policy.User {
		// What the caller's own policies say is not asked here.
		all, err := policy.Parse(policy.Identity, "all", []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`))
		if err != nil {
			return unknown("Unread", err.Error())
		}
		policies.Identity = []*policy.Policy{all}
	}
	t.AddContext(t.context)
	request := &policy.Request{Principal: t.principal, Resource: role.ARN().String(), ResourceAccount: role.Account, Context: t.context}
	explained := policy.ExplainAll(request, t.Actions(), policies)
	if explained.Decision == policy.Allowed.String() {
		return yes("Allows", explained.Summary())
	}
	message := explained.Summary()
	if len(explained.NearMisses) > 0 && explained.NearMisses[0].Suggested != nil {
		message += "; " + explained.NearMisses[0].Suggested.Description
	}
	return no("Refuses", message+". It needs "+t.statement+": `rolecall trust generate` prints it")
}

// commonKeys are known of every call.
func commonKeys() []string {
	return []string{
		"aws:requesttag/", "aws:tagkeys", "sts:transitivetagkeys", "sts:externalid", "sts:roleauthorizedbyidp",
		"aws:sourcearn", "aws:sourceaccount", "aws:requestedregion", "aws:securetransport", "aws:resourceaccount",
	}
}

func (p *Plane) context(role arn.Role) *policy.Context {
	return policy.NewContext().Set("aws:RequestedRegion", p.Cluster.Region).Set("aws:SecureTransport", "true").Set("aws:ResourceAccount", role.Account)
}

func (t *taking) knows(key string) bool {
	key = strings.ToLower(key)
	if strings.HasPrefix(key, "aws:requesttag/kubernetes-pod-") {
		return false
	}
	for _, tag := range t.Tags {
		if key == "aws:requesttag/"+strings.ToLower(tag.Key) && strings.Contains(tag.Value, "$") {
			return false
		}
	}
	return slices.ContainsFunc(t.known, func(known string) bool { return strings.HasPrefix(key, known) })
}

func (p *Plane) mode(a *v1alpha1.PodIdentityAssociation) v1alpha1.AssociationMode {
	if a.Spec.Mode != "" && p.Mode != EKS {
		return a.Spec.Mode
	}
	return p.Mode
}

// taking is the call of spec podidentity §19.7 and §14.1; missing says what is
// not configured.
func (p *Plane) taking(a *v1alpha1.PodIdentityAssociation, role arn.Role) (call *taking, missing string) {
	call = &taking{context: p.context(role), known: commonKeys()}
	mode := p.mode(a)
	if !a.Spec.DisableSessionTags && mode != v1alpha1.PassThrough {
		call.Tags = p.tags(a)
		for _, tag := range call.Tags {
			call.TransitiveKeys = append(call.TransitiveKeys, tag.Key)
		}
	}
	tagging := ""
	if len(call.Tags) > 0 {
		tagging = " and sts:TagSession"
	}
	switch mode {
	case EKS:
		call.Action = "sts:AssumeRole"
		call.principal = policy.Principal{Kind: policy.Service, ARN: podPrincipal}
		call.context.Set("aws:SourceArn", p.Cluster.ARN()).Set("aws:SourceAccount", p.Cluster.Account)
		call.statement = "sts:AssumeRole" + tagging + " for the service " + podPrincipal
		return call, ""
	case v1alpha1.BrokerRole:
		principal, err := policycase.PrincipalOf(p.BrokerRoleARN)
		if p.BrokerRoleARN == "" || err != nil {
			return nil, "the broker's own role is not known here: --broker-role-arn says it"
		}
		call.Action, call.principal = "sts:AssumeRole", principal
		call.ExternalID = p.Cluster.ExternalIDOf(a, mode, a.Spec.ServiceAccountName)
		call.known = append(call.known, "aws:principalarn", "aws:principalaccount")
		call.statement = "sts:AssumeRole" + tagging + " for " + p.BrokerRoleARN
		return p.identified(call, a), ""
	case v1alpha1.Federated, v1alpha1.PassThrough:
		if p.Issuer == "" {
			return nil, "the issuer of the tokens is not known here: --issuer says it"
		}
		p.webIdentity(call, a, role, mode)
		call.statement = "sts:AssumeRoleWithWebIdentity" + tagging + " for " + call.principal.ARN
		return p.identified(call, a), ""
	}
	return nil, fmt.Sprintf("mode %q is not known", mode)
}

// webIdentity makes it a call with a token: one that the issuer mints for the
// role, or the pod's own.
func (p *Plane) webIdentity(call *taking, a *v1alpha1.PodIdentityAssociation, role arn.Role, mode v1alpha1.AssociationMode) {
	id, audience := arn.IssuerID(p.Issuer), "sts.amazonaws.com"
	if mode == v1alpha1.PassThrough {
		audience = podPrincipal
	}
	provider := arn.OIDCProvider(role.Partition, role.Account, p.Issuer).String()
	call.Action = "sts:AssumeRoleWithWebIdentity"
	call.principal = policy.Principal{Kind: policy.WebIdentity, ARN: provider, UserID: provider, Account: role.Account}
	call.context.Set(id+":sub", "system:serviceaccount:"+a.Namespace+":"+a.Spec.ServiceAccountName).Set(id+":aud", audience)
	call.context.Set("sts:RoleAuthorizedByIdp", fmt.Sprint(mode != v1alpha1.PassThrough))
	call.known = append(call.known, strings.ToLower(id)+":")
}

func (p *Plane) identified(call *taking, a *v1alpha1.PodIdentityAssociation) *taking {
	if call.SourceIdentity = expand(a.Spec.SourceIdentity, a); !strings.Contains(call.SourceIdentity, "$") {
		call.known = append(call.known, "sts:sourceidentity")
	}
	return call
}

// tags are those of a session; what only a pod has stays a variable.
func (p *Plane) tags(a *v1alpha1.PodIdentityAssociation) []policy.Tag {
	values := map[string]string{
		"eks-cluster-arn": p.Cluster.ARN(), "eks-cluster-name": p.Cluster.Name, "kubernetes-namespace": a.Namespace,
		"kubernetes-service-account": a.Spec.ServiceAccountName, "kubernetes-pod-name": "${podName}", "kubernetes-pod-uid": "${podUid}",
	}
	var tags []policy.Tag
	for _, key := range association.DefaultTags() {
		if !slices.Contains(a.Spec.OmitTags, key) {
			tags = append(tags, policy.Tag{Key: key, Value: values[key]})
		}
	}
	if p.Mode == EKS {
		return tags
	}
	for key, value := range a.Spec.SessionTags {
		tags = append(tags, policy.Tag{Key: key, Value: expand(value, a)})
	}
	slices.SortFunc(tags, func(a, b policy.Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

func expand(template string, a *v1alpha1.PodIdentityAssociation) string {
	return strings.NewReplacer("${namespace}", a.Namespace, "${serviceAccount}", a.Spec.ServiceAccountName).Replace(template)
}
