package access

import (
	"slices"
	"strings"

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
// or would give a name that is nobody's to give, is left out and told by Problems.
func NewTable(source Source, mappings []Mapping) *Table {
	t := &Table{
		source: source, rows: make([]row, 0, len(mappings)),
		byARN: make(map[string]int32, len(mappings)),
		byID:  map[string]int32{}, bySet: map[setKey]int32{}, accounts: map[string]int32{}, pins: map[string]int32{},
	}
	for _, m := range mappings {
		m.Source = source
		if text, hint := flaw(&m); text != "" {
			t.problems = append(t.problems, Problem{Origin: m.Origin, Refused: true, Text: text, Hint: hint})
			continue
		}
		fixed := !isTemplate(source, m.Username) && m.Username != "" && m.Policies == "" &&
			!slices.ContainsFunc(m.Groups, func(g string) bool { return isTemplate(source, g) })
		m.Groups = slices.Clip(m.Groups)
		t.rows = append(t.rows, row{Mapping: m, next: none, fixed: fixed})
	}
	if t.lastCounts() {
		for i := len(t.rows) - 1; i >= 0; i-- {
			t.index(int32(i))
		}
	} else {
		for i := range t.rows {
			t.index(int32(i))
		}
	}
	return t
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

// Problems are what was left out.
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
		key, _ := loginKey(nil, r.Match.ARN)
		chainRow(t, t.byARN, string(key), i)
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

// keySize is more than the canonical ARN of anybody is long. Longer ones cost memory.
const keySize = 256

// find returns the mapping of an identity, or the refusal of one that is about its ARN or
// its id, and not both.
func (t *Table) find(who *callerid.Identity, partition string) (*row, *Refusal) {
	if len(t.rows) == 0 {
		return nil, nil
	}
	var room [keySize]byte
	key, name := loginKey(room[:0], who.CanonicalARN)
	replaced := none
	if i, has := t.byARN[string(key)]; has {
		for at := i; at != none; at = t.rows[at].next {
			if r := &t.rows[at]; r.UserID == "" || r.UserID == who.UserID {
				return r, nil
			}
		}
		replaced = i
	}
	if i, has := t.byID[who.UserID]; has && who.UserID != "" {
		return &t.rows[i], nil
	}
	if replaced != none {
		return nil, t.replaced(replaced, who)
	}
	if len(t.bySet) > 0 && name > 0 {
		if r, refusal := t.findSet(string(key[name:]), who, partition); r != nil || refusal != nil {
			return r, refusal
		}
	}
	if i, has := t.pins[who.UserID]; has && who.UserID != "" {
		return nil, &Refusal{
			Reason: PrincipalRenamed, By: &t.rows[i].Mapping,
			Text: "ARN does not match User ID: " + who.UserID + " is mapped as " + t.rows[i].Match.ARN,
		}
	}
	return nil, nil
}

// findSet returns the mapping of the permission set that a role is of.
func (t *Table) findSet(role string, who *callerid.Identity, partition string) (*row, *Refusal) {
	set, ok := permissionSet(role)
	i, has := t.bySet[setKey{who.AccountID, set}]
	if !ok || !has {
		return nil, nil
	}
	replaced := none
	for at := i; at != none; at = t.rows[at].next {
		switch r := &t.rows[at]; {
		case !inPartition(&r.Mapping, partition):
		case r.UserID == "" || r.UserID == who.UserID:
			return r, nil
		case replaced == none:
			replaced = at
		}
	}
	if replaced == none {
		return nil, nil
	}
	return nil, t.replaced(replaced, who)
}

func (t *Table) replaced(at int32, who *callerid.Identity) *Refusal {
	m := &t.rows[at].Mapping
	return &Refusal{
		Reason: PrincipalReplaced, By: m,
		Text: m.Match.String() + " is mapped with the unique id " + m.UserID + ", and logs in with " + who.UserID +
			": it was deleted and made again",
	}
}

// inPartition reports whether a permission set or account is of the server's partition.
func inPartition(m *Mapping, partition string) bool {
	return m.Match.Partition == "" || m.Match.Partition == partition
}

// account returns the mapping of everybody of the identity's account.
func (t *Table) account(who *callerid.Identity, partition string) *row {
	if who.AccountID == "" {
		return nil
	}
	i, has := t.accounts[who.AccountID]
	for at := i; has && at != none; at = t.rows[at].next {
		if inPartition(&t.rows[at].Mapping, partition) {
			return &t.rows[at]
		}
	}
	return nil
}

// loginKey is a canonical ARN as tables are indexed by: in lower case, a role without
// its path. If it is a role, its name is what begins at name.
func loginKey(room []byte, canonical string) (key []byte, name int) {
	resource := 0
	for i, colons := 0, 0; i < len(canonical) && colons < 5; i++ {
		if canonical[i] == ':' {
			colons++
			resource = i + 1
		}
	}
	const kind = "role/"
	if strings.HasPrefix(canonical[resource:], kind) {
		name = resource + len(kind)
		last := strings.LastIndexByte(canonical, '/') + 1
		return appendLower(appendLower(room, canonical[:name]), canonical[last:]), name
	}
	return appendLower(room, canonical), 0
}

func appendLower(to []byte, text string) []byte {
	for i := range len(text) {
		to = append(to, lowerByte(text[i]))
	}
	return to
}

// flaw is what makes a mapping one that must not count, and what would be right.
func flaw(m *Mapping) (text, hint string) {
	forms := 0
	for _, has := range []bool{
		m.Match.ARN != "", m.Match.PermissionSet != "", m.Match.Account != "" && m.Match.PermissionSet == "",
		m.Match.UserID != "",
	} {
		if has {
			forms++
		}
	}
	switch {
	case forms != 1, m.Match.PermissionSet != "" && m.Match.Account == "":
		return "it is not about just one principal", ""
	case m.Username == "" && m.Source != AccessEntry && (!isPeers(m.Source) || m.Match.PermissionSet != "" ||
		m.Match.Account == ""):
		return "the username is empty", "Give a username; {{SessionName}} tells the people of a role apart."
	case slices.Contains(m.Groups, ""):
		return "the name of a group is empty", "Leave the group out."
	case m.Policies != "" && m.Source != AccessEntry:
		return "only access entries have access policies", ""
	}
	return reservedForm(m)
}
