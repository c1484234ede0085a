package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/callerid"
	"github.com/rolecall/rolecall/internal/glob"
)

// Difference is what keeps a mapping from being about an identity, in a stable word.
type Difference string

// The differences, the likeliest to be meant first.
const (
	EntryInvalid   Difference = "invalid"     // it is about the identity, and refused
	CannotFill     Difference = "template"    // it is about the identity, and its names cannot be made
	Replaced       Difference = "replaced"    // it is about the ARN with another unique id
	EntryHidden    Difference = "duplicate"   // another mapping of the source hides it
	RoleSuffix     Difference = "sso_suffix"  // the ending of the role of a permission set
	UserPath       Difference = "user_path"   // the path of a user
	OtherKind      Difference = "kind"        // a user for a role, or the other way round
	OtherAccount   Difference = "account"     // the same name in another account
	OtherPartition Difference = "partition"   // the same name in another partition
	OtherID        Difference = "user_id"     // a member of the ARN, with another id
	IsPattern      Difference = "wildcard"    // a pattern that would fit
	LooksAlike     Difference = "name"        // a name that is nearly the same
	IsGroup        Difference = "iam_group"   // the ARN of an IAM group of the account
	IsRoot         Difference = "root"        // the root of the account, which is not everybody
	ListBroken     Difference = "list_broken" // the whole list cannot be read

	// These are of mappings that are about the identity, and that the peer would not map.
	RolePath   Difference = "role_path"   // a role is written with its path
	SessionARN Difference = "session_arn" // the ARN of a session is written for its role
	LetterCase Difference = "letter_case" // it is written in other letter case
)

// order is the rank of differences.
var order = []Difference{
	EntryInvalid, CannotFill, Replaced, EntryHidden, RoleSuffix, UserPath, OtherKind, OtherAccount, OtherPartition,
	OtherID, IsPattern, LooksAlike, IsGroup, IsRoot, ListBroken, SessionARN, RolePath, LetterCase,
}

// Near is a mapping that nearly is about an identity, or would be if it were right.
type Near struct {
	Difference Difference
	// Mapping is the one that is near. If there is none, Problem is why.
	Mapping *Mapping
	Problem *Problem
	// Text says what differs, Edit what to write there.
	Text, Edit string
}

// mostNear bounds how many near misses of a source are told.
const mostNear = 5

// Nearest returns what nearly is about an identity, the likeliest first: for the log of a
// refusal. It looks at names that are the same, and never at all mappings.
func (c *Chain) Nearest(who *callerid.Identity) []Near {
	var all []Near
	if l := loginOf(who, nil); c.isOurs(&l) {
		for _, t := range c.Tables() {
			all = append(all, t.near(who, nil, false)...)
		}
	}
	return likeliest(all)
}

func likeliest(all []Near) []Near {
	slices.SortStableFunc(all, func(a, b Near) int {
		return cmp.Compare(slices.Index(order, a.Difference), slices.Index(order, b.Difference))
	})
	return all[:min(len(all), mostNear)]
}

// subject is an identity as near misses are looked for.
type subject struct {
	who *callerid.Identity
	arn arn.ARN
	key string // as tables are indexed by
	// kind is role, user or another; name is what follows the last slash, in lower case; set
	// is that of a role of a permission set.
	kind, name, set string
}

func subjectOf(who *callerid.Identity) subject {
	s := subject{who: who, key: loginKey(who.CanonicalARN)}
	s.arn, _ = arn.Parse(who.CanonicalARN)
	s.kind, s.name = kindAndName(s.arn)
	if s.kind == "role" {
		s.set, _ = permissionSet(s.name)
	}
	return s
}

func kindAndName(a arn.ARN) (kind, name string) {
	resource := lower(a.Resource)
	kind, _, _ = strings.Cut(resource, "/")
	return kind, resource[strings.LastIndexByte(resource, '/')+1:]
}

// byName are the rows by the names of their principals.
func (t *Table) byName() map[string][]int32 {
	names := make(map[string][]int32, len(t.rows))
	for i := range t.rows {
		m := &t.rows[i].Mapping
		add := func(name string) { names[name] = append(names[name], int32(i)) }
		text := cmp.Or(m.Match.ARN, m.Written)
		a, err := arn.Parse(text)
		switch {
		case m.Match.PermissionSet != "":
			add(lower(ssoPrefix + m.Match.PermissionSet))
		case err == nil:
			kind, name := kindAndName(a)
			add(name)
			if set, isSet := permissionSet(name); isSet && kind == "role" {
				add(lower(ssoPrefix) + set)
			}
		}
	}
	return names
}

// near are the near misses of a source. found is the mapping that is about the identity;
// if there is one, only what would be about it too is told. wide looks at all mappings
// for names that look alike.
func (t *Table) near(who *callerid.Identity, found *Mapping, wide bool) []Near {
	s := subjectOf(who)
	var all []Near
	for i := range t.problems {
		if n, is := s.nearProblem(&t.problems[i]); is {
			all = append(all, n)
		}
	}
	for _, d := range t.lost {
		if s.is(d.Hidden) {
			all = append(all, Near{
				Difference: EntryHidden, Mapping: d.Hidden, Edit: d.advice(),
				Text: d.Hidden.describe() + " is about the same principal, and " + d.Counts.describe() + " counts",
			})
		}
	}
	if found != nil {
		if n, is := s.asWritten(found); is {
			all = append(all, n)
		}
		return likeliest(all)
	}
	seen := map[int32]bool{}
	for _, name := range s.names() {
		for _, i := range t.names()[name] {
			if n, is := s.nearMapping(&t.rows[i].Mapping); is && !seen[i] && len(seen) < 100 {
				seen[i] = true
				all = append(all, n)
			}
		}
	}
	if wide && len(all) == 0 {
		for i := range t.rows {
			if n, is := s.alike(&t.rows[i].Mapping); is && len(all) < 100 {
				all = append(all, n)
			}
		}
	}
	return likeliest(all)
}

// names are those by which rows are looked up: the root's is that of every account.
func (s *subject) names() []string {
	names := []string{s.name, "root"}
	if s.set != "" {
		names = append(names, lower(ssoPrefix)+s.set)
	}
	return names
}

// is reports whether a mapping is about the identity, its unique id aside.
func (s *subject) is(m *Mapping) bool {
	switch {
	case m.Match.ARN != "":
		return loginKey(m.Match.ARN) == s.key
	case m.Match.PermissionSet != "":
		return s.set == lower(m.Match.PermissionSet) && s.arn.Account == m.Match.Account &&
			inPartition(m, s.arn.Partition)
	}
	return m.Match.UserID != "" && m.Match.UserID == s.who.UserID
}

// advice is how to do without a duplicate.
func (d Duplicate) advice() string {
	if d.Counts.Username != d.Hidden.Username && strings.Contains(d.Counts.Match.String(), ":role/") {
		return "Remove one of the two: a role is one identity for all its people, whom {{SessionName}} tells apart."
	}
	return "Remove one of the two."
}

// asWritten says what is unusual about how a mapping of the identity is written.
func (s *subject) asWritten(m *Mapping) (Near, bool) {
	n := Near{Mapping: m, Edit: s.edit(m.Source)}
	if m.Match.ARN == "" {
		return n, false
	}
	written := cmp.Or(m.Written, m.Match.ARN)
	_, name, _ := strings.Cut(written, "/")
	switch {
	case strings.Contains(lower(written), ":assumed-role/"):
		n.Difference = SessionARN
		n.Text = m.describe() + " has the ARN of one session, and counts for all of the role"
	case s.kind == "role" && strings.Contains(name, "/"):
		n.Difference = RolePath
		n.Text = m.describe() + " has the role's path, which STS never tells; it counts all the same"
	case written != s.arn.String():
		n.Difference = LetterCase
		n.Text = m.describe() + " has other letter case, which does not count"
	}
	return n, n.Difference != ""
}

// refused is what to do about a mapping that is about the identity and refuses it.
func (s *subject) refused(r *Refusal) (Near, bool) {
	n := Near{Mapping: r.By, Text: r.Text}
	switch r.Reason {
	case Unfillable, NodeUnknown, ReservedName:
		n.Difference = CannotFill
		n.Edit = "Give names that the identity can fill in."
		switch {
		case r.Reason == ReservedName:
			n.Edit = "Give names that are not reserved."
		case s.kind != "role":
			n.Edit = "Only roles have sessions: write the name of the " + s.kind + ", such as " + lastOf(s.arn) + "."
		case strings.Contains(r.By.Username, holdNode):
			n.Edit = "It is for instances of EC2, whose session has the instance's id: map people with {{SessionName}}."
		}
	case PrincipalReplaced, PrincipalRenamed:
		n.Difference = Replaced
		n.Edit = "If the principal is the one that is meant, write its unique id " + s.who.UserID + "."
		if r.By.Source == AccessEntry {
			n.Edit = "If the principal is the one that is meant, delete the entry and create it again."
		}
	case NotMapped:
	}
	return n, n.Difference != ""
}

// nearProblem looks whether what is wrong has to do with the identity.
func (s *subject) nearProblem(p *Problem) (Near, bool) {
	n := Near{Problem: p, Text: p.Error(), Edit: p.Hint}
	switch {
	case !p.Refused:
		return n, false
	case p.Whole:
		n.Difference = ListBroken
		return n, true
	case p.Principal == "":
		return n, false
	case s.set != "" && lower(p.Principal) == lower(Match{PermissionSet: s.set, Account: s.arn.Account}.String()):
		n.Difference = EntryInvalid
		return n, true
	case strings.ContainsAny(p.Principal, "*?"):
		n.Difference = IsPattern
		return n, glob.Match(loginKey(foldScheme(strings.TrimSpace(p.Principal))), s.key)
	}
	text := strings.TrimSpace(p.Principal)
	if read, err := ReadPrincipal(text); err == nil {
		n.Difference = EntryInvalid
		return n, s.is(&Mapping{Match: Match{ARN: read.ARN}})
	}
	a, err := arn.Parse(foldScheme(text))
	n.Difference = IsGroup
	return n, err == nil && strings.HasPrefix(a.Resource, "group/") && a.Account == s.arn.Account && s.kind == "user"
}

// nearMapping looks whether just one thing keeps a mapping from being about the identity.
func (s *subject) nearMapping(m *Mapping) (Near, bool) {
	if s.is(m) {
		return Near{}, false
	}
	n := Near{Mapping: m, Edit: s.edit(m.Source)}
	say := func(d Difference, format string, args ...any) (Near, bool) {
		n.Difference = d
		n.Text = m.describe() + " is about " + fmt.Sprintf(format, args...)
		return n, true
	}
	if m.Match.PermissionSet != "" {
		same, partition := m.Match.Account == s.arn.Account, inPartition(m, s.arn.Partition)
		switch {
		case same == partition:
			return n, false
		case !same:
			return say(OtherAccount, "the permission set %s in account %s, and not %s", m.Match.PermissionSet,
				m.Match.Account, s.arn.Account)
		}
		n.Edit = "Leave the partition out."
		return say(OtherPartition, "the permission set in partition %s", m.Match.Partition)
	}
	text := m.Match.ARN
	if text == "" {
		// A member, who has the ARN and not the id.
		n.Edit = "The user was deleted and made again: wait for the next sync, or map the id " + s.who.UserID + "."
		n.Difference = OtherID
		n.Text = fmt.Sprintf("%s is about %s with the unique id %s, and not %s", m.describe(), m.Written,
			m.Match.UserID,
			s.who.UserID)
		return n, loginKey(m.Written) == s.key && m.Match.UserID != s.who.UserID && s.who.UserID != ""
	}
	a, err := arn.Parse(text)
	kind, name := kindAndName(a)
	switch account, partition := a.Account == s.arn.Account, a.Partition == s.arn.Partition; {
	case err != nil:
		return n, false
	case a.Resource == "root":
		n.Edit = "Put the account into mapAccounts, or make an IdentityMapping with principal.account."
		say(IsRoot, "the root user of account %s, and not everybody of it", a.Account)
		return n, account && partition
	case account != partition && kind == s.kind && name == s.name:
		if !account {
			return say(OtherAccount, "%s in account %s, and not %s", lastOf(a), a.Account, s.arn.Account)
		}
		return say(OtherPartition, "%s in partition %s, and not %s", lastOf(a), a.Partition, s.arn.Partition)
	case !account || !partition:
		return n, false
	case kind != s.kind && name == s.name:
		return say(OtherKind, "the %s %s, and not the %s", kind, lastOf(a), s.kind)
	case kind == "user" && s.kind == "user":
		return say(UserPath, "%s: users have their path, and it is another", a)
	case kind == "role" && s.set != "" && name != s.name:
		n.Edit = s.setEdit(m.Source)
		return say(RoleSuffix, "%s: the role of permission set %s has another ending, as after it was made again",
			lastOf(a), s.set)
	}
	return n, false
}

// alike looks whether a name is nearly that of the identity.
func (s *subject) alike(m *Mapping) (Near, bool) {
	n := Near{Mapping: m, Difference: LooksAlike, Edit: s.edit(m.Source)}
	if m.Match.PermissionSet != "" {
		if s.set == "" {
			return n, false
		}
		n.Edit = s.setEdit(m.Source)
		n.Text = m.describe() + " is about the permission set " + m.Match.PermissionSet
		return n, m.Match.Account == s.arn.Account && nearly(lower(m.Match.PermissionSet), s.set)
	}
	a, err := arn.Parse(cmp.Or(m.Match.ARN, m.Written))
	if err != nil || a.Account != s.arn.Account || a.Partition != s.arn.Partition {
		return n, false
	}
	kind, name := kindAndName(a)
	n.Text = m.describe() + " is about " + a.String()
	return n, kind == s.kind && nearly(name, s.name)
}

func lastOf(a arn.ARN) string { return a.Resource[strings.LastIndexByte(a.Resource, '/')+1:] }

// edit is what to write in a source so that a mapping is about the identity.
func (s *subject) edit(source Source) string {
	switch field, principal := "", s.arn.String(); {
	case source == GroupMapping:
		return "Add the user to the IAM group."
	case source == CRD:
		return "Write spec.arn: " + principal
	case !isPeers(source):
		return "Write spec.principal.arn: " + principal
	default:
		field = "rolearn: "
		if s.kind != "role" {
			field = "userarn: "
		}
		return "Write " + field + principal
	}
}

// setEdit is the same of the permission set.
func (s *subject) setEdit(source Source) string {
	set := lastOf(s.arn)[len(ssoPrefix):][:len(s.set)]
	switch {
	case source == CRD:
		return s.edit(source)
	case !isPeers(source):
		return fmt.Sprintf("Write spec.principal: {permissionSet: %s, account: %q}", set, s.arn.Account)
	}
	return fmt.Sprintf("Write sso: {permissionSetName: %s, accountID: %q} in place of rolearn.", set, s.arn.Account)
}

// describe is a mapping's place, for texts.
func (m *Mapping) describe() string { return cmp.Or(m.String(), string(m.Source)) }

// nearly reports whether two names are one or two edits apart, and long enough for that to
// mean something.
func nearly(a, b string) bool {
	const most = 2
	if len(a) < 4 || len(b) < 4 || a == b || len(a)-len(b) > most || len(b)-len(a) > most {
		return false
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range before {
		before[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			change := before[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, before[j+1]+1, row[j]+1)
		}
		before, row = row, before
	}
	return before[len(b)] <= most
}
