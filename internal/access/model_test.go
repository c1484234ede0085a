package access_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/callerid"
)

// model resolves as the documentation says, mapping by mapping: slowly, and in other words
// than Resolve.
type model struct {
	lists []list
	who   *callerid.Identity
}

type list struct {
	source access.Source
	all    []access.Mapping
}

func (m *model) about(one access.Mapping) bool {
	what := strings.SplitN(m.who.CanonicalARN, ":", 6)[5]
	if i := strings.LastIndex(what, "/"); strings.HasPrefix(what, "role/") {
		what = "role/" + what[i+1:]
	}
	subject := "arn:aws:iam::" + m.who.AccountID + ":" + what
	switch {
	case one.Match.ARN != "":
		return strings.EqualFold(subject, one.Match.ARN)
	case one.Match.UserID != "":
		return one.Match.UserID == m.who.UserID
	case one.Match.PermissionSet != "":
		head := strings.ToLower("role/AWSReservedSSO_" + one.Match.PermissionSet + "_")
		rest, is := strings.CutPrefix(strings.ToLower(what), head)
		return is && rest != "" && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyz") == "" &&
			one.Match.Account == m.who.AccountID && (one.Match.Partition == "" || one.Match.Partition == "aws")
	}
	return false
}

// form ranks the forms of a mapping: an ARN before an id before a permission set.
func form(one access.Mapping) int {
	switch {
	case one.Match.ARN != "":
		return 0
	case one.Match.UserID != "":
		return 1
	}
	return 2
}

// pick is the mapping of a list that counts, or why none does.
func (m *model) pick(l list) (*access.Mapping, access.Reason) {
	for rank := range 3 {
		var mine []access.Mapping
		for _, one := range l.all {
			if m.about(one) && form(one) == rank {
				mine = append(mine, one)
			}
		}
		if l.source != access.AccessEntry && l.source != access.IdentityMapping && l.source != access.CRD {
			slices.Reverse(mine)
		}
		// Those that are pinned to other ids, as long as no mapping without an id comes first.
		for _, one := range mine {
			if one.UserID == "" && one.Match.Partition == mine[0].Match.Partition && mine[0].UserID != "" {
				continue
			}
			if one.UserID == "" || one.UserID == m.who.UserID {
				return &one, ""
			}
		}
		if len(mine) > 0 && rank != 1 {
			// An id alone is not in doubt because of an ARN.
			if rank == 0 {
				if i := slices.IndexFunc(l.all, func(one access.Mapping) bool {
					return form(one) == 1 &&
						m.about(one)
				}); i >= 0 {
					continue
				}
			}
			return nil, access.PrincipalReplaced
		}
	}
	for _, one := range l.all {
		if one.Match.ARN != "" && one.UserID == m.who.UserID && m.who.UserID != "" {
			return nil, access.PrincipalRenamed
		}
	}
	return nil, ""
}

// resolve returns usernames and groups, as templates, or a reason.
func (m *model) resolve() string {
	var account *access.Mapping
	remembered := access.NotMapped
	var found *access.Mapping
	peers := func(s access.Source) bool {
		return s == access.MountedFile || s == access.EKSConfigMap || s == access.CRD || s == access.DynamicFile
	}
	var groups []access.Mapping
search:
	for _, l := range m.lists {
		if l.source == access.GroupMapping {
			continue
		}
		one, reason := m.pick(l)
		switch {
		case one != nil:
			found = one
			break search
		case reason != "" && !peers(l.source):
			return "! " + string(reason)
		case reason != "" && remembered == access.NotMapped:
			remembered = reason
		case reason != "":
		default:
			i := slices.IndexFunc(l.all, func(one access.Mapping) bool {
				return one.Match.Account == m.who.AccountID && one.Match.PermissionSet == ""
			})
			if l.source == access.EKSConfigMap || l.source == access.MountedFile || l.source == access.DynamicFile {
				for j := range l.all {
					if l.all[j].Match.Account == m.who.AccountID && l.all[j].Match.PermissionSet == "" {
						i = j
					}
				}
			}
			if i >= 0 && account == nil {
				account = &l.all[i]
			}
			if i >= 0 && peers(l.source) {
				break search
			}
		}
	}
	for _, l := range m.lists {
		for _, one := range l.all {
			if l.source == access.GroupMapping && m.who.Kind == callerid.User && one.Match.UserID == m.who.UserID {
				groups = append(groups, one)
			}
		}
	}
	if found == nil && len(groups) > 0 {
		found = &groups[0]
		for i := range groups {
			groups[i].Merge = true
		}
		groups = groups[1:]
	}
	if found == nil {
		found = account
	}
	if found == nil {
		return "! " + string(remembered)
	}
	names := slices.Clone(found.Groups)
	for _, one := range groups {
		for _, name := range one.Groups {
			if one.Merge && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return found.Username + " " + fmt.Sprint(names)
}

// TestModel: of generated sources and identities, Resolve says what the model says, and
// Explain what Resolve says.
func TestModel(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(13, 4))
	roles := []string{
		"Dev", "dev", "AWSReservedSSO_View_abc", "AWSReservedSSO_View_Only_abc",
		"awsreservedsso_view_ABC",
	}
	users := []string{"dev", "ops/dev", "AWSReservedSSO_View_abc", "role/dev"}
	ids := []string{"AROAROLE", "AIDAUSER", "AIDAOTHER", ""}
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	mapping := func(source access.Source, n int) access.Mapping {
		name := fmt.Sprintf("u%d", n)
		groups := []string{pick([]string{"a", "b", "c"})}
		var m access.Mapping
		switch r.IntN(7) {
		case 0, 1:
			m = role(pick(roles), name, groups...)
		case 2:
			m = user(pick(users), name, groups...)
		case 3:
			m = set(pick([]string{"View", "view", "View_Only"}), name, groups...)
			m.Match.Partition = pick([]string{"", "", "aws", "aws-cn"})
		case 4:
			return everybody(name, groups...)
		case 5:
			return access.Mapping{Match: access.Match{Account: "444455556666"}, Username: name}
		default:
			if source == access.IdentityMapping || source == access.CRD {
				return role(pick(roles), name)
			}
			return member(pick(ids[:3]), name, false, groups...)
		}
		if r.IntN(3) == 0 {
			m.UserID = pick(ids)
		}
		return m
	}
	sources := []access.Source{
		access.AccessEntry, access.IdentityMapping, access.MountedFile, access.EKSConfigMap, access.CRD,
		access.DynamicFile,
	}
	callers := []string{"user/dev", "user/ops/dev", "user/role/dev", "user/AWSReservedSSO_View_abc", "root"}
	for _, name := range roles {
		callers = append(callers, "role/"+name+"/s")
	}
	outcomes := map[string]int{}
	for range 60_000 {
		m := model{who: caller(t, pick(callers))}
		if r.IntN(4) == 0 {
			m.who.UserID = pick(ids[:3])
		}
		r.Shuffle(len(sources), func(i, j int) { sources[i], sources[j] = sources[j], sources[i] })
		for _, source := range sources[:r.IntN(4)] {
			l := list{source: source}
			for n := range r.IntN(4) {
				l.all = append(l.all, mapping(source, n))
			}
			m.lists = append(m.lists, l)
		}
		if r.IntN(2) == 0 {
			l := list{source: access.GroupMapping}
			for n := range r.IntN(4) {
				l.all = append(l.all, member(pick(ids[:3]), fmt.Sprintf("m%d", n), r.IntN(2) == 0,
					pick([]string{"a", "x", "y"})))
			}
			m.lists = append(m.lists, l)
		}
		tables := []*access.Table{}
		for _, l := range m.lists {
			tables = append(tables, access.NewTable(l.source, l.all))
		}
		chain := access.NewChain(access.Config{}, tables...)
		got := "!"
		u, refusal := chain.Resolve(m.who, nil)
		if refusal != nil {
			got += " " + string(refusal.Reason)
			outcomes[got]++
		} else {
			got = u.Username + " " + fmt.Sprint(u.Groups)
			outcomes["mapped by "+string(u.By.Source)]++
		}
		if want := m.resolve(); got != want {
			t.Fatalf("%s %s: got %s, want %s, of %+v", m.who.CanonicalARN, m.who.UserID, got, want, m.lists)
		}
		agrees(t, chain, m.who)
	}
	for _, want := range []string{
		"! not_mapped", "! principal_replaced", "! principal_renamed", "mapped by AccessEntry",
		"mapped by IdentityMapping",
		"mapped by MountedFile", "mapped by EKSConfigMap", "mapped by CRD", "mapped by DynamicFile",
		"mapped by GroupMapping",
	} {
		if outcomes[want] < 100 {
			t.Errorf("%s: only %d times", want, outcomes[want])
		}
	}
}

// agrees holds what Explain says to what Resolve says.
func agrees(t *testing.T, chain *access.Chain, who *callerid.Identity) {
	t.Helper()
	user, refusal := chain.Resolve(who, nil)
	e := chain.Explain(who, nil)
	if (e.User == nil) != (user == nil) || user != nil && (e.User.By != user.By || e.User.Username != user.Username) {
		t.Fatalf("Explain: %+v, Resolve: %+v", e.User, user)
	}
	var by *access.Mapping
	adds, refuses := 0, false
	for _, v := range e.Verdicts {
		switch v.Outcome {
		case access.Hidden, access.Nothing:
		case access.Counts:
			if by != nil {
				t.Fatalf("two mappings count: %+v", e.Verdicts)
			}
			by = v.Mapping
		case access.Adds:
			adds++
		case access.Refused:
			refuses = refuses || refusal != nil && v.Refusal.Reason == refusal.Reason && v.Mapping == refusal.By
		}
		if v.Text == "" || (v.Outcome == access.Nothing) != (v.Mapping == nil) {
			t.Fatalf("%+v", v)
		}
	}
	switch {
	case user != nil && (by != user.By || adds != len(user.Also)):
		t.Fatalf("%d add, %+v counts; Resolve: %+v", adds, by, user)
	case user == nil && by != nil:
		t.Fatalf("%+v counts, and Resolve refuses: %v", by, refusal)
	case refusal != nil && refusal.Reason != access.NotMapped && !refuses:
		t.Fatalf("nothing refuses, and Resolve does: %v; %+v", refusal, e.Verdicts)
	}
}
