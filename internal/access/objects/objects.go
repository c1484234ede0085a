// Package objects makes mappings of a cluster's objects: IdentityMapping, AccessEntry
// and GroupMapping of ours, and IAMIdentityMapping of aws-iam-authenticator (spec
// authenticator §5.4, §7.2, §9).
//
// It checks again what the definitions of the kinds check: an object may be older than
// they are. It reads no cluster and makes no RBAC.
package objects

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/api/v1alpha1"
	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
)

// Result is what became of one object.
type Result struct {
	// Mappings are what it says: one, of a GroupMapping one for each member, and none if
	// it is refused or being deleted.
	Mappings []access.Mapping
	// Problems are what is wrong with it, or what its author should know.
	Problems []access.Problem
}

// refuse is the result of an object that does not count. about is its principal.
func refuse(at access.Origin, about, field, text, hint string) Result {
	at.Field = field
	return Result{Problems: []access.Problem{{Origin: at, Refused: true, Principal: about, Text: text, Hint: hint}}}
}

// about is a principal as it is written.
func about(p v1alpha1.Principal) string {
	return cmp.Or(p.ARN, access.Match{PermissionSet: p.PermissionSet, Account: p.Account}.String())
}

// IdentityMapping reads one.
func IdentityMapping(o *v1alpha1.IdentityMapping) Result {
	at := access.Origin{Source: access.IdentityMapping, Place: "IdentityMapping " + o.Name}
	if o.DeletionTimestamp != nil {
		return Result{}
	}
	result := principal(at, o.Spec.Principal)
	if len(result.Mappings) == 0 {
		return result
	}
	m := &result.Mappings[0]
	m.Username, m.Groups, m.UserID = o.Spec.Username, o.Spec.Groups, o.Spec.UserID
	if m.UserID != "" && m.Match.ARN == "" {
		return refuse(at, about(o.Spec.Principal), "spec.userID",
			"userID is the id of one principal, and there is no principal.arn", "")
	}
	return result
}

// IdentityMappings reads all. Of two about one principal the older counts.
func IdentityMappings(list []*v1alpha1.IdentityMapping) ([]access.Mapping, []access.Problem) {
	return all(list, func(o *v1alpha1.IdentityMapping) metav1.ObjectMeta { return o.ObjectMeta }, IdentityMapping)
}

// AccessEntry reads one. The unique id in its status is the only principal that enters.
func AccessEntry(o *v1alpha1.AccessEntry) Result {
	at := access.Origin{Source: access.AccessEntry, Place: "AccessEntry " + o.Name}
	if o.DeletionTimestamp != nil {
		return Result{}
	}
	if text, hint := entryFlaw(&o.Spec); text != "" {
		return refuse(at, about(o.Spec.Principal), "spec", text, hint)
	}
	result := principal(at, o.Spec.Principal)
	if len(result.Mappings) == 0 {
		return result
	}
	m := &result.Mappings[0]
	m.Username, m.Groups, m.UserID = o.Spec.Username, o.Spec.KubernetesGroups, o.Status.UserID
	if node, isNode := nodeTypes[o.Spec.Type]; isNode {
		m.Username, m.Groups = node.username, node.groups
	} else if m.Username == "" && m.Match.ARN != "" {
		// ReadPrincipal has seen that it parses.
		if a, err := arn.Parse(m.Match.ARN); err == nil {
			m.Username = access.EntryUsername(a, "{{SessionName}}")
		}
	}
	if len(o.Spec.AccessPolicies) > 0 {
		m.Policies = access.PolicyGroup(m.Match.String())
	}
	return result
}

// AccessEntries reads all. Of two about one principal the older counts.
func AccessEntries(list []*v1alpha1.AccessEntry) ([]access.Mapping, []access.Problem) {
	return all(list, func(o *v1alpha1.AccessEntry) metav1.ObjectMeta { return o.ObjectMeta }, AccessEntry)
}

// GroupMapping reads one: a mapping for each member that its status names.
func GroupMapping(o *v1alpha1.GroupMapping) Result {
	at := access.Origin{Source: access.GroupMapping, Place: "GroupMapping " + o.Name}
	if o.DeletionTimestamp != nil {
		return Result{}
	}
	username := cmp.Or(o.Spec.Username, "{{UserName}}")
	result := Result{Mappings: make([]access.Mapping, 0, len(o.Status.Members))}
	for i := range o.Status.Members {
		member := &o.Status.Members[i]
		m := access.Mapping{
			Origin: at, Match: access.Match{UserID: member.UserID}, Written: member.ARN,
			Username: username, Groups: o.Spec.Groups, Merge: o.Spec.Merge,
		}
		m.Field = "status.members[" + member.UserID + "]"
		a, err := arn.Parse(member.ARN)
		if err != nil || member.UserID == "" || o.Spec.Account != "" && a.Account != o.Spec.Account {
			result.Problems = append(result.Problems, access.Problem{
				Origin: m.Origin, Refused: true,
				Text: "the member has no unique id, or is not of the account of the group",
			})
			continue
		}
		result.Mappings = append(result.Mappings, m)
	}
	return result
}

// GroupMappings reads all. Who is in several groups has the name that the first by name
// of the object gives.
func GroupMappings(list []*v1alpha1.GroupMapping) ([]access.Mapping, []access.Problem) {
	byName := func(o *v1alpha1.GroupMapping) metav1.ObjectMeta { return metav1.ObjectMeta{Name: o.Name} }
	return all(list, byName, GroupMapping)
}

// all reads a list in the order of age, and of names where that is equal.
func all[T any](list []*T, meta func(*T) metav1.ObjectMeta, read func(*T) Result) (
	mappings []access.Mapping, problems []access.Problem,
) {
	sorted := slices.SortedStableFunc(slices.Values(list), func(a, b *T) int {
		m, n := meta(a), meta(b)
		return cmp.Or(m.CreationTimestamp.Compare(n.CreationTimestamp.Time), cmp.Compare(m.Name, n.Name))
	})
	for _, o := range sorted {
		result := read(o)
		mappings = append(mappings, result.Mappings...)
		problems = append(problems, result.Problems...)
	}
	return mappings, problems
}

// principal reads whom an object is about.
func principal(at access.Origin, p v1alpha1.Principal) Result {
	m := access.Mapping{Origin: at}
	forms := 0
	for _, has := range []bool{p.ARN != "", p.PermissionSet != "", p.Account != "" && p.PermissionSet == ""} {
		if has {
			forms++
		}
	}
	var problems []access.Problem
	switch {
	case forms != 1:
		return refuse(at, about(p), "spec.principal",
			"give one of arn, permissionSet (with its account), or account", "")
	case p.ARN != "":
		read, err := access.ReadPrincipal(p.ARN)
		if err != nil {
			return refuse(at, about(p), "spec.principal.arn", err.Error(), hint(err))
		}
		m.Match.ARN, m.Written = read.ARN, read.Written
		problems = notes(at, p.ARN, "spec.principal.arn", read.Notes)
	case !arn.IsAccount(p.Account):
		return refuse(at, about(p), "spec.principal.account", "an account has 12 digits", "")
	case p.PermissionSet != "" && !access.IsPermissionSet(p.PermissionSet):
		return refuse(at, about(p), "spec.principal.permissionSet",
			"the name of a permission set has 1 to 32 letters, digits and _+=,.@-", "")
	default:
		m.Match.PermissionSet, m.Match.Account = p.PermissionSet, p.Account
	}
	return Result{Mappings: []access.Mapping{m}, Problems: problems}
}

func notes(at access.Origin, about, field string, texts []string) []access.Problem {
	at.Field = field
	problems := make([]access.Problem, 0, len(texts))
	for _, text := range texts {
		problems = append(problems, access.Problem{Origin: at, Principal: about, Text: text})
	}
	return problems
}

func hint(err error) string {
	hints := fault.HintsOf(err)
	if len(hints) == 0 {
		return ""
	}
	return hints[0]
}

// PeerMapping is an IAMIdentityMapping of aws-iam-authenticator. What its status says
// does not count: who may write that could let anybody in.
type PeerMapping struct {
	Name     string
	Created  time.Time
	Deleted  bool
	ARN      string
	Username string
	Groups   []string
}
