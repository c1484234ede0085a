package grouprole_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/grouprole"
	"github.com/rolecall/rolecall/internal/yamledit"
)

func wanted(edit func(*grouprole.Wanted)) *grouprole.Wanted {
	w := &grouprole.Wanted{
		Partition: "aws", Account: "111122223333", Group: "dev.rnd.group", Role: "dev.eks-access.role", Cluster: "prod",
		ClusterRole: "view", Source: grouprole.AWSAuth,
	}
	if edit != nil {
		edit(w)
	}
	w.Complete()
	return w
}

// model is an account and a cluster, in which steps are made as they are in real ones.
type model struct {
	t *testing.T
	grouprole.State
	made int
}

const nodes = "# nodes\n- rolearn: arn:aws:iam::111122223333:role/node # of the cluster\n" +
	"  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n    - system:nodes\n"

// do makes a step.
func (m *model) do(w *grouprole.Wanted, s grouprole.Step) {
	m.t.Helper()
	ours := map[string]string{grouprole.Tag: grouprole.TagValue}
	policy := map[grouprole.Kind]**grouprole.Policy{grouprole.KindAccess: &m.Access, grouprole.KindAssume: &m.Assume}
	switch s.Kind {
	case grouprole.KindRole:
		m.role(w, s)
	case grouprole.KindAccess, grouprole.KindAssume:
		p := *policy[s.Kind]
		switch s.Verb {
		case grouprole.Create:
			*policy[s.Kind] = &grouprole.Policy{Document: s.After, Tags: ours}
		case grouprole.Update:
			p.Document = s.After
		case grouprole.Attach, grouprole.Detach:
			m.attach(w, p, s)
		default:
			if len(p.Groups)+len(p.Roles)+p.Others > 0 {
				m.t.Fatalf("%s while it is attached: IAM refuses that", s.String())
			}
			*policy[s.Kind] = nil
		}
	case grouprole.KindConfigMap:
		m.configMap(w, s)
	case grouprole.KindMapping:
		if m.Mapping = nil; s.Verb != grouprole.Delete {
			m.Mapping = &grouprole.Mapping{
				Ours: true, ARN: w.RoleARN(), UserID: m.Role.ID, Username: w.Username, Groups: w.Groups,
			}
		}
	case grouprole.KindBinding:
		if m.Binding = nil; s.Verb != grouprole.Delete {
			m.Binding = &grouprole.Binding{Ours: true, ClusterRole: w.ClusterRole, Groups: w.Groups}
		}
	}
}

func (m *model) role(w *grouprole.Wanted, s grouprole.Step) {
	switch s.Verb {
	case grouprole.Create:
		m.made++
		m.Role = &grouprole.Role{ID: fmt.Sprintf("AROA%d", m.made), Trust: s.After, Tags: w.RoleTags()}
	case grouprole.Update:
		m.Role.Trust = s.After
	case grouprole.TagIt:
		key, value, _ := strings.Cut(s.After, "=")
		m.Role.Tags[key] = value
	case grouprole.UntagIt:
		key, _, _ := strings.Cut(s.Before, "=")
		delete(m.Role.Tags, key)
	default:
		if len(m.Role.Attached) > 0 {
			m.t.Fatal("the role is deleted while it has policies: IAM refuses that")
		}
		m.Role = nil
	}
}

func (m *model) attach(w *grouprole.Wanted, p *grouprole.Policy, s grouprole.Step) {
	if name, is := strings.CutPrefix(s.To, "group "); is {
		p.Groups = slices.DeleteFunc(p.Groups, func(g string) bool { return g == name })
		if s.Verb == grouprole.Attach {
			p.Groups = append(p.Groups, name)
		}
		return
	}
	arn := w.PolicyARN(s.Name)
	p.Roles = slices.DeleteFunc(p.Roles, func(r string) bool { return r == w.Role })
	m.Role.Attached = slices.DeleteFunc(m.Role.Attached, func(a string) bool { return a == arn })
	if s.Verb == grouprole.Attach {
		p.Roles, m.Role.Attached = append(p.Roles, w.Role), append(m.Role.Attached, arn)
	}
}

func (m *model) configMap(w *grouprole.Wanted, s grouprole.Step) {
	key, value := w.EntryAnnotation()
	switch s.Verb {
	case grouprole.Create:
		m.ConfigMap = &grouprole.ConfigMap{Alone: true, MapRoles: s.After, Annotations: map[string]string{
			key: value, grouprole.MadeAnnotation: grouprole.LabelValue,
		}}
	case grouprole.Delete:
		m.ConfigMap = nil
	default:
		if m.ConfigMap.MapRoles = s.After; m.ConfigMap.Annotations == nil {
			m.ConfigMap.Annotations = map[string]string{}
		}
		if delete(m.ConfigMap.Annotations, key); s.Mark {
			m.ConfigMap.Annotations[key] = value
		}
	}
}

func (m *model) plan(w *grouprole.Wanted) []grouprole.Step {
	m.t.Helper()
	steps, _, err := w.Plan(&m.State)
	if err != nil {
		m.t.Fatal(err)
	}
	return steps
}

func (m *model) undo(w *grouprole.Wanted) []grouprole.Step {
	m.t.Helper()
	steps, _, err := w.Undo(&m.State)
	if err != nil {
		m.t.Fatal(err)
	}
	return steps
}

// all makes all steps, being killed at random now and then, and wants nothing left to do.
func (m *model) all(w *grouprole.Wanted, plan func(*grouprole.Wanted) []grouprole.Step, chance *rand.Rand) {
	m.t.Helper()
	for range 100 {
		steps := plan(w)
		if len(steps) == 0 {
			return
		}
		if chance != nil {
			steps = steps[:1+chance.IntN(len(steps))]
		}
		for _, s := range steps {
			m.do(w, s)
		}
	}
	m.t.Fatalf("it does not come to an end: %v", plan(w))
}

func text(state grouprole.State) string {
	if state.ConfigMap != nil && len(state.ConfigMap.Annotations) == 0 {
		state.ConfigMap.Annotations = nil
	}
	out, _ := json.MarshalIndent(state, "", " ")
	return string(out)
}

// TestStepByStep: what the steps of a plan do, and that those of an undo leave what was
// there, wherever either is killed, from many states and for many wishes.
func TestStepByStep(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		chance := rand.New(rand.NewPCG(seed, 1))
		m := &model{t: t, State: grouprole.State{GroupExists: true}}
		if chance.IntN(3) > 0 {
			m.ConfigMap = &grouprole.ConfigMap{MapRoles: nodes, Alone: chance.IntN(2) == 0}
		}
		before := text(m.State)
		wish := func() *grouprole.Wanted {
			return wanted(func(w *grouprole.Wanted) {
				w.Source = []grouprole.Source{grouprole.AWSAuth, grouprole.IdentityMapping}[chance.IntN(2)]
				w.ClusterRole = []string{"", "view", "edit"}[chance.IntN(3)]
				if w.ClusterRole == "" || chance.IntN(2) == 0 {
					w.Groups = []string{"developers", "more"}[:1+chance.IntN(2)]
				}
				w.OwnSessionName = chance.IntN(2) == 0
				w.Username = []string{"", "aws_eks_access_role"}[chance.IntN(2)]
				w.Region = []string{"", "eu-west-1"}[chance.IntN(2)]
			})
		}
		var last *grouprole.Wanted
		for range 1 + chance.IntN(3) { // the operator changes their mind
			last = wish()
			m.all(last, m.plan, chance)
		}
		if !slices.Contains(m.Assume.Groups, last.Group) || !slices.Contains(m.Assume.Roles, "") && m.Role == nil {
			t.Fatalf("seed %d: the group has no role: %s", seed, text(m.State))
		}
		m.all(last, m.undo, chance)
		if after := text(m.State); after != before {
			t.Fatalf("seed %d: left over:\n%s\nwant\n%s", seed, after, before)
		}
	}
}

// TestLast: the group has the policy to assume the role only when all else is there, and
// loses it before anything else goes.
func TestLast(t *testing.T) {
	t.Parallel()
	m := &model{t: t, State: grouprole.State{GroupExists: true}}
	w := wanted(nil)
	steps := m.plan(w)
	if last := steps[len(steps)-1]; last.Verb != grouprole.Attach || last.To != "group dev.rnd.group" {
		t.Errorf("last of the plan: %s", last.String())
	}
	m.all(w, m.plan, nil)
	if first := m.undo(w)[0]; first.Verb != grouprole.Detach || first.To != "group dev.rnd.group" {
		t.Errorf("first of the undo: %s", first.String())
	}
}

// TestForeign: what somebody else made is never changed, and never removed. If it is not as
// it is wanted, nothing is done at all, and it is shown.
func TestForeign(t *testing.T) {
	t.Parallel()
	const other = `{"Version":"2012-10-17","Statement":[]}`
	entry := nodes + "- rolearn: arn:aws:iam::111122223333:role/dev.eks-access.role\n  username: admin\n  groups: [system:masters]\n"
	for name, row := range map[string]struct {
		put  func(*grouprole.State)
		edit func(*grouprole.Wanted)
	}{
		"role":          {func(s *grouprole.State) { s.Role = &grouprole.Role{ID: "AROAX", Trust: other} }, nil},
		"access policy": {func(s *grouprole.State) { s.Access = &grouprole.Policy{Document: other} }, nil},
		"assume policy": {func(s *grouprole.State) {
			s.Assume = &grouprole.Policy{Document: other, Tags: map[string]string{"rolecall.io/made-by": "me"}}
		}, nil},
		"entry": {func(s *grouprole.State) { s.ConfigMap = &grouprole.ConfigMap{MapRoles: entry} }, nil},
		"entry in capitals": {func(s *grouprole.State) {
			s.ConfigMap = &grouprole.ConfigMap{MapRoles: strings.Replace(entry, "role/dev", "role/DEV", 1)}
		}, nil},
		"mapping": {func(s *grouprole.State) { s.Mapping = &grouprole.Mapping{ARN: "arn:x"} }, func(w *grouprole.Wanted) { w.Source = grouprole.IdentityMapping }},
		"binding": {func(s *grouprole.State) { s.Binding = &grouprole.Binding{ClusterRole: "cluster-admin"} }, nil},
		"binding of more": {func(s *grouprole.State) {
			s.Binding = &grouprole.Binding{ClusterRole: "view", Groups: []string{"dev.rnd.group"}, Others: 1}
		}, nil},
	} {
		m := &model{t: t, State: grouprole.State{GroupExists: true}}
		row.put(&m.State)
		before := text(m.State)
		steps, _, err := wanted(row.edit).Plan(&m.State)
		foreign, is := errors.AsType[*grouprole.Foreign](err)
		if !is || len(steps) != 0 || len(foreign.Objects) != 1 || foreign.Objects[0].Before == foreign.Objects[0].After ||
			fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: %v, %v", name, steps, err)
		}
		steps, _, err = wanted(row.edit).Undo(&m.State)
		if err != nil || len(steps) != 0 || text(m.State) != before {
			t.Errorf("%s: undone by %v, %v", name, steps, err)
		}
	}
}

// TestForeignAsWanted: what somebody else made just as it is wanted is used, and stays.
func TestForeignAsWanted(t *testing.T) {
	t.Parallel()
	w := wanted(nil)
	full := &model{t: t, State: grouprole.State{GroupExists: true}}
	full.all(w, full.plan, nil)
	for name, put := range map[string]func(*grouprole.State){
		"role": func(s *grouprole.State) {
			s.Role = &grouprole.Role{ID: "AROAX", Trust: w.Trust(), Tags: map[string]string{}}
		},
		"assume":  func(s *grouprole.State) { s.Assume = &grouprole.Policy{Document: full.Assume.Document} },
		"entry":   func(s *grouprole.State) { s.ConfigMap = &grouprole.ConfigMap{MapRoles: full.ConfigMap.MapRoles} },
		"binding": func(s *grouprole.State) { s.Binding = &grouprole.Binding{ClusterRole: "view", Groups: w.Groups} },
	} {
		m := &model{t: t, State: grouprole.State{GroupExists: true}}
		put(&m.State)
		kept := m.State
		m.all(w, m.plan, nil)
		m.all(w, m.undo, nil)
		if name == "assume" { // attached to the group, which is not ours to take away
			continue
		}
		if (m.Role == nil) != (kept.Role == nil) || (m.ConfigMap == nil) != (kept.ConfigMap == nil) ||
			(m.Binding == nil) != (kept.Binding == nil) {
			t.Errorf("%s: left %s", name, text(m.State))
		}
	}
}

// TestForeignStays: an undo tells each object of its names that it did not make, and
// touches none.
func TestForeignStays(t *testing.T) {
	t.Parallel()
	w := wanted(nil)
	s := grouprole.State{GroupExists: true}
	none := func() {
		t.Helper()
		if steps, notes, err := w.Undo(&s); len(steps)+len(notes) > 0 || err != nil {
			t.Errorf("%v %q %v", steps, notes, err)
		}
	}
	none()
	s.ConfigMap = &grouprole.ConfigMap{MapRoles: nodes}
	none()
	seen := 0
	for _, row := range []struct {
		want string
		put  func()
	}{
		{"role dev.eks-access.role", func() { s.Role = &grouprole.Role{Trust: w.Trust()} }},
		{"policy dev.eks-access.policy", func() { s.Access = &grouprole.Policy{} }},
		{"policy dev.assume-eks-access-role.policy", func() { s.Assume = &grouprole.Policy{} }},
		{"group dev.rnd.group still has", func() { s.Assume.Groups = []string{w.Group} }},
		{"the entry of " + w.RoleARN(), func() {
			s.ConfigMap.MapRoles += "- rolearn: " + w.RoleARN() + "\n  username: theirs\n"
		}},
		{"IdentityMapping " + w.MappingName(), func() { s.Mapping = &grouprole.Mapping{ARN: w.RoleARN()} }},
		{"ClusterRoleBinding " + w.BindingName(), func() { s.Binding = &grouprole.Binding{ClusterRole: "view"} }},
	} {
		row.put()
		seen++
		steps, notes, err := w.Undo(&s)
		if len(steps) > 0 || err != nil || len(notes) != seen ||
			!slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, row.want) }) {
			t.Errorf("%s: %v %q %v", row.want, steps, notes, err)
		}
	}
}

// TestChangedEntry: an entry that somebody has changed since is theirs.
func TestChangedEntry(t *testing.T) {
	t.Parallel()
	w := wanted(nil)
	m := &model{t: t, State: grouprole.State{GroupExists: true}}
	m.all(w, m.plan, nil)
	m.ConfigMap.MapRoles = strings.Replace(m.ConfigMap.MapRoles, `"dev.rnd.group"`, `"system:masters"`, 1)
	if _, _, err := w.Plan(&m.State); fault.KindOf(err) != fault.Conflict {
		t.Errorf("planned: %v", err)
	}
	if _, _, err := w.Undo(&m.State); fault.KindOf(err) != fault.Conflict {
		t.Errorf("undone: %v", err)
	}
	m.ConfigMap.MapRoles = ""
	m.all(w, m.undo, nil) // somebody has taken it out
	if m.Role != nil {
		t.Error("the role is still there")
	}
}

// TestShared: a role that another cluster or another group has, too, stays for them.
func TestShared(t *testing.T) {
	t.Parallel()
	prod, dev := wanted(nil), wanted(func(w *grouprole.Wanted) { w.Cluster, w.Region = "dev", "eu-west-1" })
	m := &model{t: t, State: grouprole.State{GroupExists: true}}
	m.all(prod, m.plan, nil)
	one := text(m.State)
	inProd := m.ConfigMap
	m.ConfigMap, m.Binding = nil, nil // the other cluster
	m.all(dev, m.plan, nil)
	for _, cluster := range []string{":eks:*:111122223333:cluster/prod", ":eks:eu-west-1:111122223333:cluster/dev"} {
		if !strings.Contains(m.Access.Document, cluster) {
			t.Errorf("the role may not describe %s: %s", cluster, m.Access.Document)
		}
	}
	m.all(dev, m.undo, nil)
	if m.ConfigMap != nil || m.Binding != nil {
		t.Error("left over in the other cluster")
	}
	m.ConfigMap, m.Binding = inProd, &grouprole.Binding{Ours: true, ClusterRole: "view", Groups: prod.Groups}
	if got := text(m.State); got != one {
		t.Errorf("undone in one cluster, the other has\n%s\nwant\n%s", got, one)
	}
	other := wanted(func(w *grouprole.Wanted) { w.Group, w.Groups = "ops", prod.Groups })
	m.all(other, m.plan, nil)
	m.all(other, m.undo, nil)
	if got := text(m.State); got != one {
		t.Errorf("undone for one group, the other has\n%s\nwant\n%s", got, one)
	}
}

// TestLetterCase: a group that is named in other letters is the same one.
func TestLetterCase(t *testing.T) {
	t.Parallel()
	m := &model{t: t, State: grouprole.State{GroupExists: true}}
	m.all(wanted(nil), m.plan, nil)
	if steps := m.plan(wanted(func(w *grouprole.Wanted) { w.Group, w.Groups = "DEV.RND.GROUP", []string{"dev.rnd.group"} })); len(steps) != 0 {
		t.Errorf("%+v", steps)
	}
}

// TestReplacedRole: the mapping pins the id of the role; when that was made again, the
// mapping is made for the new one.
func TestReplacedRole(t *testing.T) {
	t.Parallel()
	w := wanted(func(w *grouprole.Wanted) { w.Source = grouprole.IdentityMapping })
	m := &model{t: t, State: grouprole.State{GroupExists: true}}
	m.all(w, m.plan, nil)
	if m.Mapping.UserID != "AROA1" {
		t.Errorf("%+v", m.Mapping)
	}
	m.Role, m.Access.Roles = nil, nil // somebody deletes it
	m.all(w, m.plan, nil)
	if m.Mapping.UserID != m.Role.ID || m.Role.ID != "AROA2" {
		t.Errorf("%+v of %+v", m.Mapping, m.Role)
	}
}

// TestDocuments: the names are those that people know, and the trust is narrow.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for role, want := range map[string][2]string{
		"dev.eks-access.role": {"dev.eks-access.policy", "dev.assume-eks-access-role.policy"},
		"eks-access.role":     {"eks-access.policy", "assume-eks-access-role.policy"},
		"eks-access":          {"eks-access.policy", "assume-eks-access.policy"},
		".role":               {".role.policy", "assume-.role.policy"},
	} {
		w := wanted(func(w *grouprole.Wanted) { w.Role = role })
		if got := [2]string{w.AccessPolicyName(), w.AssumePolicyName()}; got != want {
			t.Errorf("%s: %q, want %q", role, got, want)
		}
	}
	w := wanted(func(w *grouprole.Wanted) { w.OwnSessionName = true })
	var trust any
	_ = json.Unmarshal([]byte(w.Trust()), &trust)
	var want any
	_ = json.Unmarshal([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["sts:AssumeRole"],
		"Condition":{"StringEquals":{"aws:PrincipalType":"User","sts:RoleSessionName":"${aws:username}"}}}]}`), &want)
	if !reflect.DeepEqual(trust, want) {
		t.Error(w.Trust())
	}
	names := map[string]bool{}
	for _, role := range []string{"a", "A", "a.", "a_", "a..b", "a.b", "a.-b", "a+b", "a@b"} {
		names[wanted(func(w *grouprole.Wanted) { w.Role = role }).MappingName()] = true
	}
	if len(names) != 9 {
		t.Errorf("roles share names of IdentityMappings: %v", slices.Sorted(maps.Keys(names)))
	}
}

// TestCheck: what would do nothing, or more than it says, is refused.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*grouprole.Wanted){
		"no group at all":     func(w *grouprole.Wanted) { w.ClusterRole = "" },
		"everybody":           func(w *grouprole.Wanted) { w.Groups = []string{"system:authenticated"} },
		"a system's name":     func(w *grouprole.Wanted) { w.Username = "system:admin" },
		"an access entry's":   func(w *grouprole.Wanted) { w.Groups = []string{"Access-Entry:0123456789abcdef"} },
		"a path":              func(w *grouprole.Wanted) { w.Role = "team/dev" },
		"an ARN":              func(w *grouprole.Wanted) { w.Group = "arn:aws:iam::111122223333:group/dev" },
		"no cluster":          func(w *grouprole.Wanted) { w.Cluster = "" },
		"another source":      func(w *grouprole.Wanted) { w.Source = "file" },
		"what is no policy":   func(w *grouprole.Wanted) { w.AccessPolicy = `{"Statement": 1}` },
		"an empty group":      func(w *grouprole.Wanted) { w.Groups = []string{""} },
		"a name without room": func(w *grouprole.Wanted) { w.Role = strings.Repeat("x", 65) },
	} {
		if err := wanted(edit).Check(); err == nil {
			t.Errorf("%s was let through", name)
		}
	}
	if err := wanted(func(w *grouprole.Wanted) { w.ClusterRole, w.Groups = "", []string{"system:masters"} }).Check(); err != nil {
		t.Errorf("what the operator may want: %v", err)
	}
}

// TestNoGroup: a group that is not there is not made.
func TestNoGroup(t *testing.T) {
	t.Parallel()
	if _, _, err := wanted(nil).Plan(&grouprole.State{}); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// FuzzMapRoles: whatever mapRoles says, planning an entry and undoing it leaves the rest.
func FuzzMapRoles(f *testing.F) {
	for _, text := range []string{"", "[]\n", nodes, "# only words\n", "- {rolearn: a}\n", "[{\"rolearn\":\"a\"}]", "a: b", "- a\n---\n- b\n"} {
		f.Add(text)
	}
	w := wanted(nil)
	f.Fuzz(func(t *testing.T, mapRoles string) {
		m := &model{t: t, State: grouprole.State{GroupExists: true, ConfigMap: &grouprole.ConfigMap{MapRoles: mapRoles}}}
		steps, _, err := w.Plan(&m.State)
		if err != nil {
			return
		}
		for _, s := range steps {
			m.do(w, s)
		}
		if again, _, err := w.Plan(&m.State); err != nil || len(again) != 0 {
			t.Fatalf("planned again: %v, %v, with %q", again, err, m.ConfigMap.MapRoles)
		}
		if _, _, err := w.Undo(&m.State); err != nil && !errors.Is(err, yamledit.ErrLayout) {
			t.Fatalf("undone: %v, with %q", err, m.ConfigMap.MapRoles)
		}
	})
}
