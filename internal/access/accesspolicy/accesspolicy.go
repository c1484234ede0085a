// Package accesspolicy answers what an access policy of EKS allows, as rules of RBAC,
// and which objects of RBAC a set of access entries asks for in a set of namespaces
// (spec authenticator §7.4).
//
// It makes no objects, asks no cluster, and does not decide whose entry counts.
package accesspolicy

import (
	"slices"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/api/v1alpha1"
)

// ObjectPrefix begins the name of every object of RBAC that is made of access
// policies; the policy's name follows.
const ObjectPrefix = "access-policy:"

// Flavor says whose rules a policy's name stands for.
type Flavor string

// The flavors. Builtin has Kubernetes' own cluster roles, which know custom resources
// by aggregation, where there is one that corresponds.
const (
	EKS     Flavor = "eks"
	Builtin Flavor = "builtin"
)

// Flavors are all of them.
func Flavors() []string { return []string{string(EKS), string(Builtin)} }

// builtin are Kubernetes' own counterparts.
var builtin = map[v1alpha1.AccessPolicyName]string{
	"AmazonEKSAdminPolicy":        "admin",
	"AmazonEKSClusterAdminPolicy": "cluster-admin",
	"AmazonEKSEditPolicy":         "edit",
	"AmazonEKSViewPolicy":         "view",
}

// RoleOf is the name of the ClusterRole that has a policy's rules, and whether it is
// one that has to be made.
func RoleOf(policy v1alpha1.AccessPolicyName, flavor Flavor) (name string, own bool) {
	if role, there := builtin[policy]; there && flavor == Builtin {
		return role, false
	}
	return ObjectName(policy), true
}

// ObjectName is the name of a policy's ClusterRole and of all its bindings.
func ObjectName(policy v1alpha1.AccessPolicyName) string { return ObjectPrefix + string(policy) }

// Rule is one rule of RBAC: of resources, or of URLs.
type Rule struct {
	APIGroups, Resources, URLs, Verbs []string
}

// Policy is what EKS publishes of one access policy.
type Policy struct {
	Name v1alpha1.AccessPolicyName
	// About says in a few words what for.
	About string
	Rules []Rule
	// Source is where EKS says it, Date the day of the text that was read.
	Source, Date string
}

// Policies are those that people can have, by name.
func Policies() []Policy { return published() }

// Names are the names of all policies.
func Names() []string {
	var names []string
	for _, p := range published() {
		names = append(names, string(p.Name))
	}
	return names
}

// Lookup finds a policy by its name.
func Lookup(name v1alpha1.AccessPolicyName) (Policy, bool) {
	all := published()
	i := slices.IndexFunc(all, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return Policy{}, false
	}
	return all[i], true
}

const (
	guide     = "Amazon EKS User Guide, Review access policy permissions"
	guideDate = "2024-12-18"
	// The newest policy is younger than that text; this is when it was introduced.
	newerDate = "2025-11"
)

var (
	read  = []string{"get", "list", "watch"}
	write = []string{"create", "delete", "deletecollection", "patch", "update"}
)

// rule is one of resources, whose names have spaces between them.
func rule(group string, verbs []string, things string) Rule {
	return Rule{APIGroups: []string{group}, Resources: strings.Fields(things), Verbs: verbs}
}

// published is the table. What a policy adds to another one is said once.
var published = sync.OnceValue(func() []Policy {
	all := func(parts ...[]Rule) []Rule { return slices.Concat(parts...) }
	policy := func(name v1alpha1.AccessPolicyName, about string, rules []Rule) Policy {
		return Policy{Name: name, About: about, Rules: rules, Source: guide, Date: guideDate}
	}
	view := []Rule{
		rule("apps", read, "controllerrevisions daemonsets daemonsets/status deployments deployments/scale "+
			"deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale "+
			"statefulsets/status"),
		rule("autoscaling", read, "horizontalpodautoscalers horizontalpodautoscalers/status"),
		rule("batch", read, "cronjobs cronjobs/status jobs jobs/status"),
		rule("discovery.k8s.io", read, "endpointslices"),
		rule("extensions", read, "daemonsets daemonsets/status deployments deployments/scale deployments/status "+
			"ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status "+
			"replicationcontrollers/scale"),
		rule("networking.k8s.io", read, "ingresses ingresses/status networkpolicies"),
		rule("policy", read, "poddisruptionbudgets poddisruptionbudgets/status"),
		rule("", read, "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "+
			"replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status"),
		rule("", read, "bindings events limitranges namespaces/status pods/log pods/status "+
			"replicationcontrollers/status resourcequotas resourcequotas/status"),
		rule("", read, "namespaces"),
	}
	edit := []Rule{
		rule("apps", write, "daemonsets deployments deployments/rollback deployments/scale replicasets "+
			"replicasets/scale statefulsets statefulsets/scale"),
		rule("autoscaling", write, "horizontalpodautoscalers"),
		rule("batch", write, "cronjobs jobs"),
		rule("extensions", write, "daemonsets deployments deployments/rollback deployments/scale ingresses "+
			"networkpolicies replicasets replicasets/scale replicationcontrollers/scale"),
		rule("networking.k8s.io", write, "ingresses networkpolicies"),
		rule("policy", write, "poddisruptionbudgets"),
		rule("", read, "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
		rule("", []string{"impersonate"}, "serviceaccounts"),
		rule("", write, "pods pods/attach pods/exec pods/portforward pods/proxy"),
		rule("", write, "configmaps events persistentvolumeclaims replicationcontrollers "+
			"replicationcontrollers/scale secrets serviceaccounts services services/proxy"),
	}
	admin := []Rule{
		rule("authorization.k8s.io", []string{"create"}, "localsubjectaccessreviews"),
		rule("rbac.authorization.k8s.io", []string{
			"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
		}, "rolebindings roles"),
	}
	secretReader := policy("AmazonEKSSecretReaderPolicy", "read Secrets", []Rule{rule("", read, "secrets")})
	secretReader.Date = newerDate
	return []Policy{
		policy("AmazonEKSAdminPolicy", "most of a namespace, its roles and bindings too", all(view, edit, admin)),
		policy("AmazonEKSAdminViewPolicy", "read everything, Secrets too", []Rule{rule("*", read, "*")}),
		policy("AmazonEKSClusterAdminPolicy", "everything", []Rule{
			rule("*", []string{"*"}, "*"), {URLs: []string{"*"}, Verbs: []string{"*"}},
		}),
		policy("AmazonEKSEditPolicy", "change most of a namespace", all(view, edit)),
		secretReader,
		policy("AmazonEKSViewPolicy", "read most of a namespace, not Secrets", view),
	}
})
