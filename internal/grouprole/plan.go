package grouprole

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// State is what there is; nil is nothing.
type State struct {
	GroupExists bool
	Role        *Role
	// Access and Assume are the policies of those names.
	Access, Assume *Policy
	ConfigMap      *ConfigMap
	Mapping        *Mapping
	Binding        *Binding
}

// Role is an IAM role.
type Role struct {
	ID, Trust string
	Tags      map[string]string
	// Attached are the ARNs of its managed policies.
	Attached []string
}

// Policy is a managed policy of the account.
type Policy struct {
	Document string
	Tags     map[string]string
	// Groups and Roles are the names of those that it is attached to, and Others counts users.
	Groups, Roles []string
	Others        int
}

// Mapping is an IdentityMapping.
type Mapping struct {
	Ours                  bool
	ARN, UserID, Username string
	Groups                []string
}

// Binding is a ClusterRoleBinding.
type Binding struct {
	Ours        bool
	ClusterRole string
	Groups      []string
	// Others are subjects that are no groups.
	Others int
}

// Verb is what a step does.
type Verb string

// The verbs.
const (
	Create  Verb = "create"
	Update  Verb = "update"
	Delete  Verb = "delete"
	Attach  Verb = "attach"
	Detach  Verb = "detach"
	TagIt   Verb = "tag"
	UntagIt Verb = "untag"
)

// Kind is what a step is about.
type Kind string

// The kinds.
const (
	KindRole      Kind = "role"
	KindAccess    Kind = "access policy"
	KindAssume    Kind = "assume policy"
	KindConfigMap Kind = "ConfigMap"
	KindMapping   Kind = "IdentityMapping"
	KindBinding   Kind = "ClusterRoleBinding"
)

// Step is one change.
type Step struct {
	Verb Verb `json:"verb"`
	Kind Kind `json:"kind"`
	// Name is of what is changed, To of what it is attached to or detached from.
	Name string `json:"name"`
	To   string `json:"to,omitempty"`
	// Before and After are what it says; of tags, the tag.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Mark, of the ConfigMap, says whether it marks the role's entry as ours afterwards.
	Mark bool `json:"-"`
}

// String tells the step in a line.
func (s *Step) String() string {
	switch s.Verb {
	case Attach:
		return fmt.Sprintf("attach policy %s to %s", s.Name, s.To)
	case Detach:
		return fmt.Sprintf("detach policy %s from %s", s.Name, s.To)
	case TagIt:
		return fmt.Sprintf("tag role %s: %s", s.Name, s.After)
	case UntagIt:
		return fmt.Sprintf("untag role %s: %s", s.Name, s.Before)
	default:
		return fmt.Sprintf("%s %s", s.Verb, s.object())
	}
}

// object is what a step is about, as people call it.
func (s *Step) object() string {
	if s.Kind == KindAccess || s.Kind == KindAssume {
		return "policy " + s.Name
	}
	return string(s.Kind) + " " + s.Name
}

// plan collects steps, and what keeps them from being made.
type plan struct {
	w     *Wanted
	steps []Step
	// refused are the objects that are somebody else's, and other than is wanted.
	refused []Step
	notes   []string
	failed  error
}

// Foreign says that what is there was not made by this command, and is not what is wanted.
type Foreign struct {
	// Objects are told as steps that are not made.
	Objects []Step
}

// Error names them.
func (f *Foreign) Error() string {
	var names []string
	for i := range f.Objects {
		names = append(names, f.Objects[i].object())
	}
	return "there already, other than is wanted, and not made by this command: " + strings.Join(names, ", ")
}

func (p *plan) end() ([]Step, []string, error) {
	if p.failed != nil {
		return nil, nil, p.failed
	}
	if len(p.refused) > 0 {
		return nil, nil, fault.New(fault.Conflict, "%w", &Foreign{p.refused}).
			Hint("compare them with what is wanted; remove what is not needed, or name another role")
	}
	return p.steps, p.notes, nil
}

func (p *plan) add(s Step) { p.steps = append(p.steps, s) }

// object plans one that is created, replaced or left: ours says whether it carries our mark.
func (p *plan) object(kind Kind, name string, exists, ours, same bool, before, after string) {
	switch step := (Step{Verb: Update, Kind: kind, Name: name, Before: before, After: after}); {
	case !exists:
		step.Verb, step.Before = Create, ""
		p.add(step)
	case same && !ours:
		p.notes = append(p.notes, fmt.Sprintf("%s is there as it is wanted, and was not made by this command: "+
			"it stays, also when this is undone", step.object()))
	case same:
	case !ours:
		p.refused = append(p.refused, step)
	default:
		p.add(step)
	}
}

func marked(tags map[string]string) bool { return tags[Tag] == TagValue }

// clusters are those that the tags of the role tell, by name: the region, or *.
func clusters(tags map[string]string) map[string]string {
	all := map[string]string{}
	for key, region := range tags {
		if name, is := strings.CutPrefix(key, ClusterTagPrefix); is {
			all[name] = region
			if region == anyRegion {
				all[name] = "*"
			}
		}
	}
	return all
}

// anyRegion stands for * in a tag, whose values may not have it.
const anyRegion = "any"

// ClusterTag is the role's tag that says that it is for this cluster.
func (w *Wanted) ClusterTag() (key, value string) {
	if w.Region == "" {
		return ClusterTagPrefix + w.Cluster, anyRegion
	}
	return ClusterTagPrefix + w.Cluster, w.Region
}

// RoleTags are those of a new role.
func (w *Wanted) RoleTags() map[string]string {
	key, value := w.ClusterTag()
	return map[string]string{Tag: TagValue, key: value}
}

// Plan says what is to be done so that the group has its role. Notes are for people.
func (w *Wanted) Plan(s *State) (steps []Step, notes []string, err error) {
	if !s.GroupExists {
		return nil, nil, fault.New(fault.NotFound, "account %s has no IAM group %s", w.Account, w.Group).
			Hint("aws iam create-group --group-name %s", fault.Quote(w.Group))
	}
	p := &plan{w: w}
	key, value := w.ClusterTag()
	roleTags, roleID := w.RoleTags(), ""
	attached := false
	if s.Role != nil {
		roleTags, roleID = maps.Clone(s.Role.Tags), s.Role.ID
		attached = slices.Contains(s.Role.Attached, w.PolicyARN(w.AccessPolicyName()))
	}
	if roleTags == nil {
		roleTags = map[string]string{}
	}
	p.object(KindRole, w.Role, s.Role != nil, s.Role != nil && marked(s.Role.Tags),
		s.Role != nil && sameJSON(s.Role.Trust, w.Trust()), trustOf(s.Role), w.Trust())
	if s.Role != nil && marked(s.Role.Tags) && roleTags[key] != value {
		p.add(Step{Verb: TagIt, Kind: KindRole, Name: w.Role, After: key + "=" + value})
	}
	roleTags[key] = value
	p.policy(KindAccess, w.AccessPolicyName(), s.Access, w.accessPolicy(clusters(roleTags)))
	if !attached {
		p.add(Step{Verb: Attach, Kind: KindAccess, Name: w.AccessPolicyName(), To: "role " + w.Role})
	}
	p.policy(KindAssume, w.AssumePolicyName(), s.Assume, w.assumePolicy())
	if w.Source == AWSAuth {
		p.awsAuth(s.ConfigMap)
		p.dropMapping(s.Mapping)
	} else {
		p.mapping(s.Mapping, roleID)
		if err := p.dropEntry(s.ConfigMap); err != nil {
			return nil, nil, err
		}
	}
	p.binding(s.Binding)
	// Last, so that nobody has the role before all of it is there.
	if s.Assume == nil || !w.isIn(s.Assume.Groups) {
		p.add(Step{Verb: Attach, Kind: KindAssume, Name: w.AssumePolicyName(), To: "group " + w.Group})
	}
	return p.end()
}

// isIn reports whether the group is among names: letter case makes no other group.
func (w *Wanted) isIn(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return strings.EqualFold(g, w.Group) })
}

func trustOf(r *Role) string {
	if r == nil {
		return ""
	}
	return indented(r.Trust)
}

func (p *plan) policy(kind Kind, name string, is *Policy, want string) {
	if is == nil {
		p.object(kind, name, false, false, false, "", want)
		return
	}
	p.object(kind, name, true, marked(is.Tags), sameJSON(is.Document, want), indented(is.Document), indented(want))
}

// Undo says what is to be done so that the group has the role no longer, in this cluster.
// What other groups and clusters have of it stays.
func (w *Wanted) Undo(s *State) (steps []Step, notes []string, err error) {
	p := &plan{w: w}
	p.foreign(s)
	otherClusters, otherGroups := false, false
	if s.Role != nil && marked(s.Role.Tags) {
		for name := range clusters(s.Role.Tags) {
			otherClusters = otherClusters || name != w.Cluster
		}
	}
	if s.Assume != nil {
		otherGroups = slices.ContainsFunc(s.Assume.Groups, func(g string) bool { return !strings.EqualFold(g, w.Group) }) ||
			len(s.Assume.Roles)+s.Assume.Others > 0
	}
	assumeOurs := s.Assume != nil && marked(s.Assume.Tags)
	in := s.Assume != nil && w.isIn(s.Assume.Groups)
	switch {
	case otherClusters:
		p.notes = append(p.notes, "the role stays with the group for its other clusters")
	case in && assumeOurs:
		p.add(Step{Verb: Detach, Kind: KindAssume, Name: w.AssumePolicyName(), To: "group " + w.Group})
	}
	if otherGroups {
		p.notes = append(p.notes, "others than this group have the role: it stays, and so does what it has in the cluster")
		return p.end()
	}
	p.dropBinding(s.Binding)
	p.dropMapping(s.Mapping)
	if err := p.dropEntry(s.ConfigMap); err != nil {
		return nil, nil, err
	}
	if otherClusters {
		return w.undoCluster(p, s)
	}
	if assumeOurs {
		p.add(Step{Verb: Delete, Kind: KindAssume, Name: w.AssumePolicyName(), Before: indented(s.Assume.Document)})
	}
	if s.Access != nil && marked(s.Access.Tags) {
		if s.Role != nil && slices.Contains(s.Role.Attached, w.PolicyARN(w.AccessPolicyName())) {
			p.add(Step{Verb: Detach, Kind: KindAccess, Name: w.AccessPolicyName(), To: "role " + w.Role})
		}
		if held := len(s.Access.Groups) + s.Access.Others + len(slices.DeleteFunc(slices.Clone(s.Access.Roles),
			func(r string) bool { return strings.EqualFold(r, w.Role) })); held > 0 {
			p.notes = append(p.notes, fmt.Sprintf("policy %s is attached to others, too: it stays", w.AccessPolicyName()))
		} else {
			p.add(Step{Verb: Delete, Kind: KindAccess, Name: w.AccessPolicyName(), Before: indented(s.Access.Document)})
		}
	}
	if s.Role != nil && marked(s.Role.Tags) {
		for _, policy := range s.Role.Attached {
			if policy != w.PolicyARN(w.AccessPolicyName()) {
				return nil, nil, fault.New(fault.Conflict, "role %s has policy %s, which this command did not attach", w.Role,
					policy).Hint("aws iam detach-role-policy --role-name %s --policy-arn %s", fault.Quote(w.Role), policy)
			}
		}
		p.add(Step{Verb: Delete, Kind: KindRole, Name: w.Role, Before: trustOf(s.Role)}) // its tags tell what there is: last
	}
	return p.end()
}

// foreign notes what has one of the names, and stays because it carries no mark.
func (p *plan) foreign(s *State) {
	stays := func(kind Kind, name string) {
		step := Step{Kind: kind, Name: name}
		p.notes = append(p.notes, step.object()+" was not made by this command: it stays")
	}
	if s.Role != nil && !marked(s.Role.Tags) {
		stays(KindRole, p.w.Role)
	}
	if s.Access != nil && !marked(s.Access.Tags) {
		stays(KindAccess, p.w.AccessPolicyName())
	}
	if s.Assume != nil && !marked(s.Assume.Tags) {
		stays(KindAssume, p.w.AssumePolicyName())
		if p.w.isIn(s.Assume.Groups) {
			p.notes = append(p.notes, "group "+p.w.Group+" still has policy "+p.w.AssumePolicyName()+
				", and may assume what it names")
		}
	}
	if s.ConfigMap == nil {
		return
	}
	if _, isMarked := p.w.marked(s.ConfigMap); isMarked {
		return
	}
	// What cannot be read has no entry that could be told.
	if roles, err := p.w.readMapRoles(s.ConfigMap.MapRoles); err == nil && len(roles.found) > 0 {
		p.notes = append(p.notes, "the entry of "+p.w.RoleARN()+" in ConfigMap "+ConfigMapName+
			" was not made by this command: it stays")
	}
}

// undoCluster leaves the role to its other clusters.
func (w *Wanted) undoCluster(p *plan, s *State) ([]Step, []string, error) {
	key, _ := w.ClusterTag()
	left := clusters(s.Role.Tags)
	delete(left, w.Cluster)
	if s.Access != nil && marked(s.Access.Tags) && w.AccessPolicy == "" {
		if want := w.accessPolicy(left); !sameJSON(s.Access.Document, want) {
			p.add(Step{Verb: Update, Kind: KindAccess, Name: w.AccessPolicyName(), Before: indented(s.Access.Document), After: indented(want)})
		}
	}
	if value, there := s.Role.Tags[key]; there {
		p.add(Step{Verb: UntagIt, Kind: KindRole, Name: w.Role, Before: key + "=" + value})
	}
	return p.end()
}
