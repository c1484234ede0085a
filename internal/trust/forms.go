package trust

import (
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/policy"
)

// form is one way to assume the role. Its units, such as service accounts, can
// be spread over several documents.
type form struct {
	// units names who is admitted, for people to read.
	units []string
	// write makes the statements for some of the units, given by their indices.
	write func(units []int) []string
	// mine recognises statements of an existing document that admit the same:
	// they are replaced.
	mine func(policy.Statement) bool
	// probes are those who must be admitted by some of the units, and those who
	// must not.
	probes func(units []int) (allowed, denied []probe)
}

// The actions of the forms.
const (
	assumeRole  = "sts:AssumeRole"
	webIdentity = "sts:AssumeRoleWithWebIdentity"
	tagSession  = "sts:TagSession"
	podService  = "pods.eks.amazonaws.com"
)

// forms lists what was asked for, in the order of the document.
func (r *Request) forms() []form {
	var all []form
	for _, issuer := range r.Issuers {
		all = append(all, r.web(issuer))
	}
	if len(r.EKSClusters) > 0 {
		all = append(all, r.eks())
	}
	if r.Broker != nil {
		all = append(all, r.broker())
	}
	if r.Target != nil {
		all = append(all, r.target())
	}
	return all
}

// providerARN names the provider of the role's account.
func (r *Request) providerARN(issuer string) string {
	return arn.OIDCProvider(r.Partition, r.Account, issuer).String()
}

// web trusts an issuer. Exact names and patterns are in statements of their
// own: under both operators for one key they would have to hold together (spec
// issuer-and-sts §15.2 rules 1 to 3).
func (r *Request) web(issuer string) form {
	provider := r.providerARN(issuer)
	actions := []string{webIdentity}
	if r.Tagged {
		actions = append(actions, tagSession)
	}
	statement := func(operator string, subjects []string) string {
		audience := quote(issuer+":aud") + ":" + quote(r.Audience)
		subject := quote(issuer+":sub") + ":" + values(subjects)
		conditions := `"StringEquals":{` + audience + "," + subject + "}"
		if operator != "StringEquals" {
			conditions = `"StringEquals":{` + audience + `},` + quote(operator) + ":{" + subject + "}"
		}
		return allow("Federated", provider, actions, conditions)
	}
	return form{
		units: r.unitNames(provider),
		write: func(units []int) []string {
			var exact, patterns, statements []string
			for _, i := range units {
				if one := r.ServiceAccounts[i]; one.IsPattern() {
					patterns = append(patterns, one.Subject())
				} else {
					exact = append(exact, one.Subject())
				}
			}
			if len(exact) > 0 {
				statements = append(statements, statement("StringEquals", exact))
			}
			if len(patterns) > 0 {
				statements = append(statements, statement("StringLike", patterns))
			}
			return statements
		},
		mine: func(s policy.Statement) bool { return only(s, "Federated", provider) },
		probes: func(units []int) (allowed, denied []probe) {
			return r.webProbes(issuer, provider, units)
		},
	}
}

func (r *Request) unitNames(where string) []string {
	names := make([]string, len(r.ServiceAccounts))
	for i, one := range r.ServiceAccounts {
		names[i] = one.String() + " by " + where
	}
	return names
}

// eks trusts EKS to assume the role for pods of some clusters (spec podidentity §15).
func (r *Request) eks() form {
	return form{
		units: prefixed("pods with an association in ", r.EKSClusters),
		write: func(units []int) []string {
			var accounts, clusters []string
			for _, i := range units {
				parsed, _ := parseCluster(r.EKSClusters[i]) // check has validated it
				clusters = append(clusters, r.EKSClusters[i])
				if !slices.Contains(accounts, parsed.Account) {
					accounts = append(accounts, parsed.Account)
				}
			}
			return []string{allow(
				"Service",
				podService,
				[]string{assumeRole, tagSession},
				`"StringEquals":{"aws:SourceAccount":`+values(
					accounts,
				)+`},"ArnEquals":{"aws:SourceArn":`+values(
					clusters,
				)+"}",
			)}
		},
		mine: func(s policy.Statement) bool {
			sources := valuesOf(s, "aws:SourceArn")
			return only(s, "Service", podService) && len(sources) > 0 && subset(sources, r.EKSClusters)
		},
		probes: r.eksProbes,
	}
}

// broker trusts a role of ours; what it may say about the pod is fixed, so that
// it cannot be used for another one (spec podidentity §15, §19.7).
func (r *Request) broker() form {
	return form{
		units: r.unitNames(r.Broker.RoleARN),
		write: func(units []int) []string {
			var statements []string
			for _, group := range r.byNamespace(units) {
				statements = append(statements, allow("AWS", r.Broker.RoleARN, []string{assumeRole, tagSession},
					`"StringEquals":{"aws:RequestTag/eks-cluster-arn":`+quote(r.Broker.ClusterARN)+
						`,"aws:RequestTag/kubernetes-namespace":`+quote(group.namespace)+
						`,"aws:RequestTag/kubernetes-service-account":`+values(group.names)+
						`,"sts:ExternalId":`+values(externalIDs(r.Broker.ClusterARN, group.accounts))+"}"))
			}
			return statements
		},
		mine: func(s policy.Statement) bool {
			clusters := valuesOf(s, "aws:RequestTag/eks-cluster-arn")
			return only(s, "AWS", r.Broker.RoleARN) && len(clusters) > 0 &&
				subset(clusters, []string{r.Broker.ClusterARN})
		},
		probes: r.brokerProbes,
	}
}

// target trusts the sessions of an association's own role, which pass the
// external id of their service account (spec podidentity §14.4).
func (r *Request) target() form {
	source, _ := arn.ParseRole(r.Target.SourceRoleARN) // check has validated it
	root := "arn:" + source.Partition + ":iam::" + source.Account + ":root"
	return form{
		units: r.unitNames(r.Target.SourceRoleARN),
		write: func(units []int) []string {
			accounts := make([]ServiceAccount, len(units))
			for i, unit := range units {
				accounts[i] = r.ServiceAccounts[unit]
			}
			return []string{allow(
				"AWS",
				root,
				[]string{assumeRole, tagSession},
				`"ArnEquals":{"aws:PrincipalArn":`+quote(
					r.Target.SourceRoleARN,
				)+`},"StringEquals":{"sts:ExternalId":`+values(
					externalIDs(r.Target.ClusterARN, accounts),
				)+"}",
			)}
		},
		mine: func(s policy.Statement) bool {
			roles := valuesOf(s, "aws:PrincipalArn")
			return (only(s, "AWS", root) || only(s, "AWS", source.Account)) && len(roles) > 0 &&
				subset(roles, []string{r.Target.SourceRoleARN})
		},
		probes: r.targetProbes,
	}
}

// ofNamespace are the service accounts of one namespace.
type ofNamespace struct {
	namespace string
	names     []string
	accounts  []ServiceAccount
}

// byNamespace groups accounts, since a list of namespaces and one of names would
// also admit all other pairs.
func (r *Request) byNamespace(units []int) []ofNamespace {
	var groups []ofNamespace
next:
	for _, unit := range units {
		one := r.ServiceAccounts[unit]
		for i := range groups {
			if groups[i].namespace == one.Namespace {
				groups[i].names = append(groups[i].names, one.Name)
				groups[i].accounts = append(groups[i].accounts, one)
				continue next
			}
		}
		groups = append(groups, ofNamespace{one.Namespace, []string{one.Name}, []ServiceAccount{one}})
	}
	return groups
}

// externalIDs are region/account/cluster/namespace/name (spec podidentity §14.4).
func externalIDs(clusterARN string, accounts []ServiceAccount) []string {
	parsed, _ := parseCluster(clusterARN) // check has validated it
	ids := make([]string, len(accounts))
	for i, one := range accounts {
		ids[i] = strings.Join([]string{parsed.Region, parsed.Account, parsed.Name, one.Namespace, one.Name}, "/")
	}
	return ids
}

// allow writes one statement, without white space.
func allow(kind, principal string, actions []string, conditions string) string {
	return `{"Effect":"Allow","Principal":{` + quote(
		kind,
	) + ":" + quote(
		principal,
	) + `},"Action":` + values(
		actions,
	) + `,"Condition":{` + conditions + "}}"
}

// values writes one text, or a list of several.
func values(texts []string) string {
	if len(texts) == 1 {
		return quote(texts[0])
	}
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

// quote writes a string for which plainValue holds, apart from wildcards:
// nothing in it needs to be escaped.
func quote(text string) string { return `"` + text + `"` }

func prefixed(prefix string, texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = prefix + text
	}
	return all
}

// only reports whether a statement is an Allow with this one principal.
func only(s policy.Statement, kind, name string) bool {
	return s.Allow && !s.NotPrincipal && len(s.Principals) == 1 &&
		s.Principals[0] == policy.NamedPrincipal{Kind: kind, Name: name}
}

// valuesOf lists what a statement compares a key with.
func valuesOf(s policy.Statement, key string) []string {
	var all []string
	for _, c := range s.Conditions {
		if arn.SameKey(c.Key, key) {
			all = append(all, c.Values...)
		}
	}
	return all
}

func subset(some, all []string) bool {
	for _, one := range some {
		if !slices.Contains(all, one) {
			return false
		}
	}
	return true
}
