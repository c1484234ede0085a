package access

import (
	"slices"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/callerid"
)

// Table is the mappings of one source. It does not change: who reads another content
// makes another table.
//
// In lists and files the last of two mappings of one principal counts, as in the peer;
// of objects the first, so give them in the order of their creation. What is pinned to
// different unique ids is not one principal.
type Table struct {
	source   Source
	rows     []row
	byARN    map[string]int32
	byID     map[string]int32
	bySet    map[setKey]int32
	accounts map[string]int32
	pins     map[string]int32 // unique ids that are pinned to ARNs
	problems []Problem
	lost     []Duplicate
	names    func() map[string][]int32
}

// row is a mapping, and the next that is about the same principal, or none.
type row struct {
	Mapping
	next int32
	// fixed says that it has no placeholder.
	fixed bool
}

const none = int32(-1)

// setKey is a permission set in an account. The name is in lower case.
type setKey struct{ account, name string }

// Duplicate is a mapping that another of the same source and principal hides.
type Duplicate struct{ Counts, Hidden *Mapping }

// NewTable indexes the mappings of a source. What could not be about just one principal,
// or would give a name that is nobody's to give, is left out and told by Problems, after
// those that were found when the mappings were read.
func NewTable(source Source, mappings []Mapping, problems ...Problem) *Table {
	t := &Table{
		source: source, rows: make([]row, 0, len(mappings)),
		byARN: make(map[string]int32, len(mappings)),
		byID:  map[string]int32{}, bySet: map[setKey]int32{}, accounts: map[string]int32{}, pins: map[string]int32{},
		problems: slices.Clip(problems),
	}
	t.names = sync.OnceValue(t.byName)
	for _, m := range mappings {
		m.Source = source
		if text, hint := flaw(&m); text != "" {
			t.problems = append(t.problems,
				Problem{Origin: m.Origin, Refused: true, Principal: m.principal(), Text: text, Hint: hint})
			continue
		}
		if text, hint := m.oddity(); text != "" {
			t.problems = append(t.problems, Problem{
				Origin: m.Origin, Principal: m.principal(), Text: text,
				Hint: hint,
			})
		}
		fixed := !isTemplate(source, m.Username) && m.Username != "" && m.Policies == "" &&
			!slices.ContainsFunc(m.Groups, func(g string) bool { return isTemplate(source, g) })
		m.Groups = slices.Clip(m.Groups)
		t.rows = append(t.rows, row{Mapping: m, next: none, fixed: fixed})
	}
	if t.lastCounts() {
		for i := range slices.Backward(t.rows) {
			t.index(int32(i))
		}
	} else {
		for i := range t.rows {
			t.index(int32(i))
		}
	}
	return t
}

// isNoName reports a name that nobody could tell from others in a log.
func isNoName(name string) bool {
	return name != "" && strings.TrimSpace(name) == "" ||
		strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// principal is whom a mapping is about, as people know them: a member of an IAM group by
// its ARN.
func (m *Mapping) principal() string {
	if m.Match.UserID != "" && m.Written != "" {
		return m.Written
	}
	return m.Match.String()
}

// Source is whose mappings they are.
func (t *Table) Source() Source { return t.source }

// Len is how many mappings count or are hidden.
func (t *Table) Len() int { return len(t.rows) }

// Mappings are all, in the order in which they were given.
func (t *Table) Mappings() []*Mapping {
	all := make([]*Mapping, len(t.rows))
	for i := range t.rows {
		all[i] = &t.rows[i].Mapping
	}
	return all
}

// Problems are what is wrong with what was read, and what was left out.
func (t *Table) Problems() []Problem { return t.problems }

// Duplicates are the mappings that others of the table hide.
func (t *Table) Duplicates() []Duplicate { return t.lost }

// lastCounts says which of two mappings of one principal counts.
func (t *Table) lastCounts() bool {
	return t.source == MountedFile || t.source == EKSConfigMap || t.source == DynamicFile
}

// isPeers reports whether a source is one of the peer's.
func isPeers(source Source) bool {
	return source == MountedFile || source == EKSConfigMap || source == CRD || source == DynamicFile
}

// index puts a row behind those of its principal, unless one of them hides it.
func (t *Table) index(i int32) {
	r := &t.rows[i]
	switch {
	case r.Match.ARN != "":
		chainRow(t, t.byARN, loginKey(r.Match.ARN), i)
		if r.UserID != "" {
			if _, has := t.pins[r.UserID]; !has {
				t.pins[r.UserID] = i
			}
		}
	case r.Match.PermissionSet != "":
		chainRow(t, t.bySet, setKey{r.Match.Account, lower(r.Match.PermissionSet)}, i)
	case r.Match.UserID != "":
		chainRow(t, t.byID, r.Match.UserID, i)
	default:
		chainRow(t, t.accounts, r.Match.Account, i)
	}
}

func chainRow[K comparable](t *Table, rows map[K]int32, key K, i int32) {
	at, has := rows[key]
	if !has {
		rows[key] = i
		return
	}
	for {
		if t.hides(&t.rows[at].Mapping, &t.rows[i].Mapping) {
			t.lost = append(t.lost, Duplicate{&t.rows[at].Mapping, &t.rows[i].Mapping})
			return
		}
		if t.rows[at].next == none {
			t.rows[at].next = i
			return
		}
		at = t.rows[at].next
	}
}

// hides reports whether a mapping hides a later one of the same principal. One that is
// pinned hides one that is not: otherwise the principal that took its place would enter
// by the other.
func (t *Table) hides(first, second *Mapping) bool {
	if t.source == GroupMapping || first.Match.Partition != second.Match.Partition {
		return false
	}
	return first.UserID == "" || second.UserID == "" || first.UserID == second.UserID
}

// login is an identity as tables are asked for it.
type login struct {
	who *callerid.Identity
	// key is the canonical ARN in lower case, a role's without its path. If it is a role,
	// its name is what begins at name.
	key                []byte
	name               int
	partition, account string
}

// keySize is more than the canonical ARN of anybody is long. Longer ones cost memory.
const keySize = 256

// loginOf takes the canonical ARN of an identity apart. It is the zero value if that is
// not one.
func loginOf(who *callerid.Identity, room []byte) login {
	l := login{who: who, partition: "", account: who.AccountID}
	parts := [5]int{}
	colons := 0
	for i := 0; i < len(who.CanonicalARN) && colons < len(parts); i++ {
		if who.CanonicalARN[i] == ':' {
			parts[colons] = i
			colons++
		}
	}
	if colons < len(parts) || who.CanonicalARN[:parts[0]] != "arn" {
		return login{}
	}
	l.partition = who.CanonicalARN[parts[0]+1 : parts[1]]
	l.account = who.CanonicalARN[parts[3]+1 : parts[4]]
	l.key, l.name = keyOf(room, who.CanonicalARN, parts[4]+1)
	return l
}

// loginKey is an ARN as tables are indexed by.
func loginKey(text string) string {
	resource := 0
	for i, colons := 0, 0; i < len(text) && colons < 5; i++ {
		if text[i] == ':' {
			colons++
			resource = i + 1
		}
	}
	key, _ := keyOf(nil, text, resource)
	return string(key)
}

// keyOf is an ARN, whose resource begins at resource, in lower case, and a role without
// its path.
func keyOf(room []byte, text string, resource int) (key []byte, name int) {
	const kind = "role/"
	if strings.HasPrefix(text[resource:], kind) {
		name = resource + len(kind)
		last := strings.LastIndexByte(text, '/') + 1
		return appendLower(appendLower(room, text[:name]), text[last:]), name
	}
	return appendLower(room, text), 0
}

func appendLower(to []byte, text string) []byte {
	for i := range len(text) {
		to = append(to, lowerByte(text[i]))
	}
	return to
}

// find returns the mapping of an identity, or the refusal of one that is about its ARN or
// its id, and not both.
func (t *Table) find(l *login) (*row, *Refusal) {
	if len(t.rows) == 0 {
		return nil, nil
	}
	replaced := none
	if i, has := t.byARN[string(l.key)]; has {
		for at := i; at != none; at = t.rows[at].next {
			if r := &t.rows[at]; r.fits(l) {
				return r, nil
			}
		}
		replaced = i
	}
	if len(t.byID) > 0 && l.who.UserID != "" {
		if i, has := t.byID[l.who.UserID]; has {
			return &t.rows[i], nil
		}
	}
	if replaced != none {
		return nil, t.replaced(replaced, l)
	}
	if len(t.bySet) > 0 && l.name > 0 {
		if r, refusal := t.findSet(string(l.key[l.name:]), l); r != nil || refusal != nil {
			return r, refusal
		}
	}
	if len(t.pins) > 0 && l.who.UserID != "" {
		if i, has := t.pins[l.who.UserID]; has {
			return nil, &Refusal{
				Reason: PrincipalRenamed, By: &t.rows[i].Mapping,
				Text: "ARN does not match User ID: " + l.who.UserID + " is mapped as " + t.rows[i].Match.ARN,
			}
		}
	}
	return nil, nil
}

// fits reports whether the identity has the unique id that the mapping wants, if it wants
// one.
func (r *row) fits(l *login) bool { return r.UserID == "" || r.UserID == l.who.UserID }

// findSet returns the mapping of the permission set that a role is of.
func (t *Table) findSet(role string, l *login) (*row, *Refusal) {
	set, ok := permissionSet(role)
	i, has := t.bySet[setKey{l.account, set}]
	if !ok || !has {
		return nil, nil
	}
	replaced := none
	for at := i; at != none; at = t.rows[at].next {
		switch r := &t.rows[at]; {
		case !inPartition(&r.Mapping, l.partition):
		case r.fits(l):
			return r, nil
		case replaced == none:
			replaced = at
		}
	}
	if replaced == none {
		return nil, nil
	}
	return nil, t.replaced(replaced, l)
}

func (t *Table) replaced(at int32, l *login) *Refusal {
	m := &t.rows[at].Mapping
	return &Refusal{
		Reason: PrincipalReplaced, By: m,
		Text: m.Match.String() + " is mapped with the unique id " + m.UserID + ", and logs in with " + l.who.UserID +
			": it was deleted and made again",
	}
}

// inPartition reports whether a permission set or account is of a partition.
func inPartition(m *Mapping, partition string) bool {
	return m.Match.Partition == "" || m.Match.Partition == partition
}

// everybody returns the mapping of everybody of the identity's account.
func (t *Table) everybody(l *login) *row {
	if len(t.accounts) == 0 {
		return nil
	}
	i, has := t.accounts[l.account]
	for at := i; has && at != none; at = t.rows[at].next {
		if inPartition(&t.rows[at].Mapping, l.partition) {
			return &t.rows[at]
		}
	}
	return nil
}

// flaw is what makes a mapping one that must not count, and what would be right.
func flaw(m *Mapping) (text, hint string) {
	forms := 0
	count := func(has bool) {
		if has {
			forms++
		}
	}
	count(m.Match.ARN != "")
	count(m.Match.PermissionSet != "")
	count(m.Match.Account != "" && m.Match.PermissionSet == "")
	count(m.Match.UserID != "")
	switch {
	case forms != 1, m.Match.PermissionSet != "" && m.Match.Account == "":
		return "it is not about just one principal", ""
	case m.Username == "" && m.Source != AccessEntry && (!isPeers(m.Source) || m.Match.PermissionSet != "" ||
		m.Match.Account == ""):
		return "the username is empty", "Give a username; {{SessionName}} tells the people of a role apart."
	case slices.Contains(m.Groups, ""):
		return "the name of a group is empty", "Leave the group out."
	case slices.ContainsFunc(slices.Collect(m.names()), isNoName):
		return "a name is nothing but blanks, or has control characters", "Write a name that can be read."
	case m.Policies != "" && m.Source != AccessEntry:
		return "only access entries have access policies", ""
	}
	return reservedForm(m)
}
