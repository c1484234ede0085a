package access

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	rbacapply "k8s.io/client-go/applyconfigurations/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access/accesspolicy"
)

// binding is a ClusterRoleBinding, or a RoleBinding.
type binding struct {
	object   client.Object
	role     *rbacv1.RoleRef
	subjects *[]rbacv1.Subject
}

func ofClusterRoleBinding(b *rbacv1.ClusterRoleBinding) *binding {
	return &binding{b, &b.RoleRef, &b.Subjects}
}

func ofRoleBinding(b *rbacv1.RoleBinding) *binding { return &binding{b, &b.RoleRef, &b.Subjects} }

// place is where the policy counts that the binding is named after, if it is.
func (b *binding) place() (accesspolicy.Place, bool) {
	policy, named := strings.CutPrefix(b.object.GetName(), accesspolicy.ObjectPrefix)
	return accesspolicy.Place{Policy: v1alpha1.AccessPolicyName(policy), Namespace: b.object.GetNamespace()}, named
}

// isOurs reports whether an object bears our labels.
func isOurs(object client.Object) bool {
	for key, value := range Labels() {
		if object.GetLabels()[key] != value {
			return false
		}
	}
	return true
}

func roleRef(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

func subjectsOf(groups []string) []rbacv1.Subject {
	subjects := make([]rbacv1.Subject, 0, len(groups))
	for _, group := range groups {
		subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group})
	}
	return subjects
}

// is reports whether it binds just these subjects.
func (b *binding) is(subjects []rbacv1.Subject) bool { return slices.Equal(*b.subjects, subjects) }

// bindingToMake is one as it is applied: by its name, so that a permission for names is
// enough to create it.
func bindingToMake(place accesspolicy.Place, role string, subjects []rbacv1.Subject) runtime.ApplyConfiguration {
	name, ref := accesspolicy.ObjectName(place.Policy), roleRef(role)
	reference := rbacapply.RoleRef().WithAPIGroup(ref.APIGroup).WithKind(ref.Kind).WithName(ref.Name)
	var applied []*rbacapply.SubjectApplyConfiguration
	for _, s := range subjects {
		applied = append(applied, rbacapply.Subject().WithAPIGroup(s.APIGroup).WithKind(s.Kind).WithName(s.Name))
	}
	if place.Namespace == "" {
		return rbacapply.ClusterRoleBinding(name).WithLabels(Labels()).WithRoleRef(reference).WithSubjects(applied...)
	}
	return rbacapply.RoleBinding(name, place.Namespace).WithLabels(Labels()).WithRoleRef(reference).
		WithSubjects(applied...)
}

// roleToMake is a ClusterRole as it is applied.
func roleToMake(policy accesspolicy.Policy) runtime.ApplyConfiguration {
	role := rbacapply.ClusterRole(accesspolicy.ObjectName(policy.Name)).WithLabels(Labels())
	for _, rule := range policy.Rules {
		role = role.WithRules(rbacapply.PolicyRule().WithAPIGroups(rule.APIGroups...).WithResources(rule.Resources...).
			WithNonResourceURLs(rule.URLs...).WithVerbs(rule.Verbs...))
	}
	return role
}

// rulesOf are a policy's rules as a ClusterRole has them.
func rulesOf(policy accesspolicy.Policy) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for _, rule := range policy.Rules {
		rules = append(rules, rbacv1.PolicyRule{
			APIGroups: rule.APIGroups, Resources: rule.Resources, NonResourceURLs: rule.URLs, Verbs: rule.Verbs,
		})
	}
	return rules
}

// hasRules reports whether a ClusterRole has just these rules.
func hasRules(role *rbacv1.ClusterRole, rules []rbacv1.PolicyRule) bool {
	return role.AggregationRule == nil && equality.Semantic.DeepEqual(role.Rules, rules)
}

// only is a precondition: just this object, as it was read.
func only(object client.Object) client.Preconditions {
	uid, version := object.GetUID(), object.GetResourceVersion()
	return client.Preconditions{UID: &uid, ResourceVersion: &version}
}
