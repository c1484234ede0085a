package eks

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/rest"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func policyOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"ListAccessPolicies":           {Do: listPolicies},
		"AssociateAccessPolicy":        {Target: policyTarget, Do: associatePolicy},
		"DisassociateAccessPolicy":     {Target: policyTarget, Do: disassociatePolicy},
		"ListAssociatedAccessPolicies": {Target: entryTarget, Do: listAssociated},
	}
}

// assignable are the access policies that anybody may give to a STANDARD entry.
var assignable = []string{
	"AmazonEKSAdminPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSClusterAdminPolicy", "AmazonEKSEditPolicy",
	"AmazonEKSSecretReaderPolicy", "AmazonEKSViewPolicy",
}

// autoNode is the one policy that entries of type EC2 can have.
const autoNode = "AmazonEKSAutoNodePolicy"

// others are access policies that EKS lists and gives only to its own
// components.
var others = []string{
	autoNode, "AIDevOpsAgentAccessPolicy", "AmazonAIOpsAssistantPolicy", "AmazonARCRegionSwitchScalingPolicy",
	"AmazonEKSACKPolicy", "AmazonEKSArgoCDClusterPolicy",
	"AmazonEKSArgoCDPolicy", "AmazonEKSBlockStorageClusterPolicy", "AmazonEKSBlockStoragePolicy",
	"AmazonEKSClusterInsightsPolicy", "AmazonEKSComputeClusterPolicy",
	"AmazonEKSComputePolicy", "AmazonEKSEventPolicy", "AmazonEKSHybridPolicy", "AmazonEKSKROPolicy",
	"AmazonEKSLoadBalancingClusterPolicy", "AmazonEKSLoadBalancingPolicy",
	"AmazonEKSNetworkingClusterPolicy", "AmazonEKSNetworkingPolicy", "AmazonEKSPodIdentityPolicy",
	"AmazonEKSSecretAdminPolicy", "AmazonEMRJobPolicy",
	"AmazonSagemakerHyperpodClusterPolicy", "AmazonSagemakerHyperpodControllerPolicy",
	"AmazonSagemakerHyperpodSpacePolicy", "AmazonSagemakerHyperpodSpaceTemplatePolicy",
	"AmazonSagemakerHyperpodSystemNamespacePolicy", "AmazonSagemakerHyperpodUserClusterPolicy",
}

func policyPrefix(a *account.Account) string {
	return "arn:" + a.Partition + ":eks::aws:cluster-access-policy/"
}

func policyARN(a *account.Account, name string) string { return policyPrefix(a) + name }

type scope struct {
	Type       string   `json:"type"`
	Namespaces []string `json:"namespaces"`
}

type policyInput struct {
	ARN   string `json:"policyArn"`
	Scope *scope `json:"accessScope"`
}

func policyTarget(q *service.Call) (service.Target, error) {
	input, err := rest.Decode[policyInput](q)
	if err != nil {
		return service.Target{}, err
	}
	target, err := entryTarget(q)
	if err != nil {
		return target, err
	}
	if inPath := q.Segments["policyArn"]; inPath != "" {
		input.ARN = inPath
	}
	target.Context["eks:policyArn"] = input.ARN
	if input.Scope != nil {
		target.Context["eks:accessScope"] = input.Scope.Type
		if len(input.Scope.Namespaces) > 0 {
			target.Lists["eks:namespaces"] = input.Scope.Namespaces
		}
	}
	return target, nil
}

func listPolicies(q *service.Call) (any, error) {
	type shown struct {
		Name string `json:"name"`
		ARN  string `json:"arn"`
	}
	var list []shown
	for _, name := range slices.Concat(assignable, others) {
		list = append(list, shown{name, policyARN(q.Account, name)})
	}
	return page(q, "accessPolicies", list, func(s shown) string { return s.Name }, nil)
}

var namespacePattern = lazyregexp.New(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|[a-z0-9-]{0,62}\*)$`)

// CheckScope says what is wrong with a scope.
func CheckScope(kind string, namespaces []string) error {
	switch {
	case kind != "cluster" && kind != "namespace":
		return invalidParameter("The access scope type %s is invalid, it must be one of [cluster, namespace]", kind)
	case kind == "cluster" && len(namespaces) > 0:
		return invalidParameter("The access scope type cluster cannot have namespaces")
	case kind == "namespace" && len(namespaces) == 0:
		return invalidParameter("The access scope type namespace must have at least one namespace")
	}
	for _, one := range namespaces {
		if !namespacePattern.MatchString(one) {
			return invalidParameter("The namespace %s is invalid", one)
		}
	}
	return nil
}

// CheckPolicy says whether an entry of a type can have an access policy.
func CheckPolicy(a *account.Account, entryType, text string) error {
	name, found := strings.CutPrefix(text, policyPrefix(a))
	switch {
	case !found:
		return invalidParameter("The policyArn parameter format is not valid")
	case entryType == "EC2" && name == autoNode:
		return nil
	case entryType != standard:
		return onlyStandard()
	case !slices.Contains(assignable, name):
		return invalidParameter("The specified policyArn is invalid: %s", text).
			Because(
				"it is not an access policy, or one that EKS gives only to its own components; those available are %s",
				strings.Join(assignable, ", "),
			)
	}
	return nil
}

func associatePolicy(q *service.Call) (result any, err error) {
	input, err := rest.Decode[policyInput](q)
	if err != nil {
		return nil, err
	}
	var v rest.Violations
	v.Present("policyArn", input.ARN != "")
	v.Present("accessScope", input.Scope != nil)
	if err := check(v); err != nil {
		return nil, err
	}
	err = changeEntry(q, func(in InCluster, entry *AccessEntry) error {
		if err := CheckPolicy(q.Account, entry.Type, input.ARN); err != nil {
			return err
		}
		if err := CheckScope(input.Scope.Type, input.Scope.Namespaces); err != nil {
			return err
		}
		given := AccessPolicy{
			ARN:        input.ARN,
			Scope:      input.Scope.Type,
			Namespaces: input.Scope.Namespaces,
			Associated: q.Time.UTC(),
			Modified:   q.Time.UTC(),
		}
		at := slices.IndexFunc(entry.Policies, func(p AccessPolicy) bool { return p.ARN == input.ARN })
		if at >= 0 {
			given.Associated = entry.Policies[at].Associated
			entry.Policies[at] = given
		} else {
			entry.Policies = append(entry.Policies, given)
		}
		result = map[string]any{
			"clusterName":            q.Segments["name"],
			"principalArn":           entry.Principal,
			"associatedAccessPolicy": newAssociated(given),
		}
		return in.PutEntry(entry)
	})
	return result, err
}

type associated struct {
	ARN        string         `json:"policyArn"`
	Scope      scope          `json:"accessScope"`
	Associated wire.MilliTime `json:"associatedAt"`
	Modified   wire.MilliTime `json:"modifiedAt"`
}

func newAssociated(p AccessPolicy) associated {
	namespaces := p.Namespaces
	if namespaces == nil {
		namespaces = []string{}
	}
	return associated{p.ARN, scope{p.Scope, namespaces}, wire.MilliTime(p.Associated), wire.MilliTime(p.Modified)}
}

func disassociatePolicy(q *service.Call) (any, error) {
	text := q.Segments["policyArn"]
	return nil, changeEntry(q, func(in InCluster, entry *AccessEntry) error {
		kept := slices.DeleteFunc(slices.Clone(entry.Policies), func(p AccessPolicy) bool { return p.ARN == text })
		if len(kept) == len(entry.Policies) {
			return notFound("The specified policyArn could not be found on the access entry.").
				With("clusterName", q.Segments["name"])
		}
		entry.Policies = kept
		return in.PutEntry(entry)
	})
}

func listAssociated(q *service.Call) (any, error) {
	list := []associated{}
	err := view(q, func(cluster *Cluster, in InCluster) error {
		entry, err := findEntry(cluster, in, q)
		if err != nil {
			return err
		}
		for _, one := range entry.Policies {
			list = append(list, newAssociated(one))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return page(q, "associatedAccessPolicies", list, func(a associated) string { return a.ARN },
		map[string]string{"clusterName": q.Segments["name"], "principalArn": q.Segments["principalArn"]})
}
