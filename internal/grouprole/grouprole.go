// Package grouprole plans what gives the members of an IAM group a role in a cluster: the
// role that they assume for kubectl alone, the policies that let them, the mapping of the
// role, and its RBAC. IAM groups are no principals, and this is how aws-auth admits one
// (spec authenticator §9).
//
// [Wanted.Plan] and [Wanted.Undo] compare what is wanted with what is there, and say each
// step as it was and will be. Steps are such that what was killed between any two of them
// is finished by planning again. What carries no mark of ours is never changed or removed.
//
// It makes no call; see the command `rolecall access group-role`.
package grouprole

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/lazyregexp"
	"github.com/rolecall/rolecall/internal/policy"
)

// Marks of what this package plans: a tag in AWS, a label in clusters, and the prefix of
// annotations of the ConfigMap aws-auth, whose entries have no room for one.
const (
	Tag              = "rolecall.io/made-by"
	TagValue         = "access group-role"
	ClusterTagPrefix = "rolecall.io/cluster/"
	Label            = "rolecall.io/made-by"
	LabelValue       = "access-group-role"
	Annotation       = "rolecall.io/entry-"
)

// Source is where the role is mapped.
type Source string

// The sources.
const (
	AWSAuth         Source = "aws-auth"
	IdentityMapping Source = "identity-mapping"
)

// Wanted is what the operator asks for.
type Wanted struct {
	Partition, Account, Region string
	// Group and Role are names, Cluster that of the cluster.
	Group, Role, Cluster string
	// Username is the template of usernames, Groups the Kubernetes groups.
	Username string
	Groups   []string
	// ClusterRole is bound to the groups; none is if it is empty.
	ClusterRole string
	Source      Source
	// AccessPolicy replaces what the role may do in AWS.
	AccessPolicy string
	// OwnSessionName lets members assume the role under their own user names only.
	OwnSessionName bool
}

var (
	groupName = lazyregexp.New(`^[\w+=,.@-]{1,128}$`)
	roleName  = lazyregexp.New(`^[\w+=,.@-]{1,64}$`)
)

// Complete fills what was left out: people's names in the audit, and a Kubernetes group of
// the IAM group's name where a ClusterRole is to be bound.
func (w *Wanted) Complete() {
	if w.Username == "" {
		w.Username = w.Role + ":{{SessionName}}"
	}
	if len(w.Groups) == 0 && w.ClusterRole != "" {
		w.Groups = []string{w.Group}
	}
}

// Check says what is wrong with it.
func (w *Wanted) Check() error {
	switch {
	case !groupName.MatchString(w.Group):
		return fault.New(fault.Usage, "--group %q: want the name of an IAM group, without its path", w.Group)
	case !roleName.MatchString(w.Role):
		return fault.New(fault.Usage, "--role %q: want the name of an IAM role, 1 to 64 of letters, digits and _+=,.@-",
			w.Role)
	case len(w.AssumePolicyName()) > 128:
		return fault.New(fault.Usage, "--role %q is too long for the names of its policies", w.Role)
	case !arn.IsClusterName(w.Cluster):
		return fault.New(fault.Usage, "--cluster %w", arn.CheckClusterName(w.Cluster))
	case w.Source != AWSAuth && w.Source != IdentityMapping:
		return fault.New(fault.Usage, "--source %q: want aws-auth or identity-mapping", string(w.Source))
	case len(w.Groups) == 0:
		return fault.New(fault.Usage, "a role that is in no Kubernetes group may do nothing in the cluster").
			Hint("add --cluster-role view, or --kubernetes-group GROUP for one that is bound already")
	case slices.Contains(w.Groups, ""):
		return fault.New(fault.Usage, "--kubernetes-group is empty")
	case w.ClusterRole != "" && slices.ContainsFunc(w.Groups, func(g string) bool { return strings.HasPrefix(g, "system:") }):
		return fault.New(fault.Usage, "--cluster-role is not bound to groups of the system: others are in them").
			Hint("leave out --cluster-role, or name a group of your own")
	case strings.HasPrefix(w.Username, "system:"):
		return fault.New(fault.Usage, "--username %q: names that begin with system: are the cluster's own", w.Username)
	case slices.ContainsFunc(append(slices.Clone(w.Groups), w.Username), func(name string) bool {
		return strings.HasPrefix(strings.ToLower(name), "access-entry:")
	}):
		return fault.New(fault.Usage, "names that begin with access-entry: are of access entries")
	}
	if w.AccessPolicy != "" {
		if _, err := policy.ParseManaged("the policy", []byte(w.AccessPolicy)); err != nil {
			return fault.New(fault.Invalid, "--access-policy: %w", err)
		}
	}
	return nil
}

// RoleARN is the role's.
func (w *Wanted) RoleARN() string {
	return "arn:" + w.Partition + ":iam::" + w.Account + ":role/" + w.Role
}

// PolicyARN is that of a policy by its name.
func (w *Wanted) PolicyARN(name string) string {
	return "arn:" + w.Partition + ":iam::" + w.Account + ":policy/" + name
}

// names of the policies: of dev.eks-access.role they are dev.eks-access.policy and
// dev.assume-eks-access-role.policy.
func (w *Wanted) names() (access, assume string) {
	stem, dotted := strings.CutSuffix(w.Role, ".role")
	if !dotted || stem == "" {
		return w.Role + ".policy", "assume-" + w.Role + ".policy"
	}
	cut := strings.LastIndexByte(stem, '.') + 1
	return stem + ".policy", stem[:cut] + "assume-" + stem[cut:] + "-role.policy"
}

// AccessPolicyName is the name of the policy that says what the role may do in AWS.
func (w *Wanted) AccessPolicyName() string { access, _ := w.names(); return access }

// AssumePolicyName is the name of the policy that lets the group assume the role.
func (w *Wanted) AssumePolicyName() string { _, assume := w.names(); return assume }

// document is a policy as JSON that people can read.
func document(statements ...statement) string {
	text, _ := json.MarshalIndent(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", statements}, "", "  ") // strings only
	return string(text)
}

type statement struct {
	Sid       string                       `json:",omitempty"`
	Effect    string                       //
	Principal map[string]string            `json:",omitempty"`
	Action    []string                     //
	Resource  []string                     `json:",omitempty"`
	Condition map[string]map[string]string `json:",omitempty"`
}

// Trust is the role's trust policy. It trusts the account, which then needs a policy of
// its own to assume the role, and of the account IAM users alone: only they are in groups.
func (w *Wanted) Trust() string {
	equals := map[string]string{"aws:PrincipalType": "User"}
	if w.OwnSessionName {
		equals["sts:RoleSessionName"] = "${aws:username}"
	}
	return document(statement{
		Effect: "Allow", Principal: map[string]string{"AWS": "arn:" + w.Partition + ":iam::" + w.Account + ":root"},
		Action: []string{"sts:AssumeRole"}, Condition: map[string]map[string]string{"StringEquals": equals},
	})
}

// accessPolicy lets the role find the clusters, and describe those that it is for.
func (w *Wanted) accessPolicy(clusters map[string]string) string {
	if w.AccessPolicy != "" {
		return w.AccessPolicy
	}
	var resources []string
	for name, region := range clusters {
		resources = append(resources, "arn:"+w.Partition+":eks:"+region+":"+w.Account+":cluster/"+name)
	}
	slices.Sort(resources)
	return document(
		statement{Sid: "Find", Effect: "Allow", Action: []string{"eks:ListClusters"}, Resource: []string{"*"}},
		statement{Sid: "Describe", Effect: "Allow", Action: []string{"eks:DescribeCluster"}, Resource: resources},
	)
}

func (w *Wanted) assumePolicy() string {
	return document(statement{
		Sid: "Assume", Effect: "Allow", Action: []string{"sts:AssumeRole"}, Resource: []string{w.RoleARN()},
	})
}

// sameJSON compares documents; one that is not JSON is like no other.
func sameJSON(a, b string) bool {
	left, right := sorted(a), sorted(b)
	return left != nil && bytes.Equal(left, right)
}

// sorted is a document with its members in order, nil if it is not JSON.
func sorted(text string) []byte {
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return nil
	}
	out, _ := json.Marshal(value) // it was JSON
	return out
}

// indented is a document with a line for each of its parts.
func indented(text string) string {
	var out bytes.Buffer
	if json.Indent(&out, []byte(text), "", "  ") != nil {
		return text
	}
	return out.String()
}
