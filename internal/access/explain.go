package access

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/callerid"
)

// Outcome is what became of a source, or of a mapping of it, for one identity.
type Outcome string

// The outcomes.
const (
	Counts  Outcome = "counts"  // it says who the identity is
	Adds    Outcome = "adds"    // its groups are added
	Hidden  Outcome = "hidden"  // it is about the identity, and another mapping counts
	Refused Outcome = "refused" // it is about the identity, and lets nobody in
	Nothing Outcome = "nothing" // nothing of it is about the identity
)

// Verdict is what one source says of an identity.
type Verdict struct {
	Source  Source
	Outcome Outcome
	// Mapping is the one that is about the identity; nil if nothing is.
	Mapping *Mapping
	// Refusal is why it lets nobody in.
	Refusal *Refusal
	// Text says it in words.
	Text string
	// Near are mappings that nearly are about the identity, and what hides or refuses
	// those that are; the likeliest first.
	Near []Near
}

// Explanation is who an identity is, and why: what each source says of it, in the order
// in which they are asked.
type Explanation struct {
	User     *User
	Refusal  *Refusal
	Verdicts []Verdict
	// AssumedID is the unique id that the identity is taken to have, as none was known and
	// a mapping wants that one.
	AssumedID string
}

// Explain is Resolve, with what each source says. If the unique id of the identity is
// not known, it is taken to be the one that mappings of its ARN want.
func (c *Chain) Explain(who *callerid.Identity, nodeName NodeName) *Explanation {
	e := &Explanation{}
	if who.UserID == "" {
		if e.AssumedID = c.idOf(who); e.AssumedID != "" {
			known := *who
			known.UserID = e.AssumedID
			who = &known
		}
	}
	e.User, e.Refusal = c.Resolve(who, nodeName)
	for _, t := range c.tables {
		e.Verdicts = append(e.Verdicts, c.verdict(t, who, e))
	}
	for _, t := range c.members {
		e.Verdicts = append(e.Verdicts, c.memberVerdicts(t, who, e)...)
	}
	return e
}

// verdict is what a source other than GroupMapping says.
func (c *Chain) verdict(t *Table, who *callerid.Identity, e *Explanation) Verdict {
	v := Verdict{Source: t.source, Outcome: Nothing, Text: "nothing is about " + who.CanonicalARN}
	l := loginOf(who, nil)
	if !c.isOurs(&l) {
		v.Text = "only identities of partition " + c.partition + " enter"
		return v
	}
	r, refused := t.find(&l)
	everybody := false
	if r == nil && refused == nil {
		r = t.everybody(&l)
		everybody = r != nil
	}
	switch {
	case refused != nil:
		v.Outcome, v.Mapping, v.Refusal, v.Text = Refused, refused.By, refused, refused.Text
	case r == nil:
	default:
		v.Mapping = &r.Mapping
		v.Outcome, v.Refusal, v.Text = e.standing(v.Mapping)
		if everybody {
			v.Text += ": it is about everybody of account " + who.AccountID
		}
	}
	v.Near = t.near(who, v.Mapping, true)
	if v.Refusal != nil {
		s := subjectOf(who)
		if n, is := s.refused(v.Refusal); is {
			v.Near = likeliest(append(v.Near, n))
		}
	}
	return v
}

// standing is what became of a mapping that is about the identity.
func (e *Explanation) standing(m *Mapping) (Outcome, *Refusal, string) {
	switch {
	case e.User != nil && e.User.By == m:
		return Counts, nil, "counts"
	case e.User != nil && slices.Contains(e.User.Also, m):
		return Adds, nil, "adds groups"
	case e.User != nil:
		return Hidden, nil, e.User.By.Place + " counts before it"
	case e.Refusal != nil && e.Refusal.By == m:
		return Refused, e.Refusal, e.Refusal.Text
	case e.Refusal != nil && e.Refusal.By != nil:
		return Hidden, nil, e.Refusal.By.Place + " refuses before it is asked"
	}
	return Hidden, nil, "it is not asked"
}

// memberVerdicts are what IAM groups say: one for each of them that the identity is in.
func (c *Chain) memberVerdicts(t *Table, who *callerid.Identity, e *Explanation) []Verdict {
	var all []Verdict
	if l := loginOf(who, nil); c.isOurs(&l) && who.Kind == callerid.User && who.UserID != "" {
		i, has := t.byID[who.UserID]
		for at := i; has && at != none; at = t.rows[at].next {
			v := Verdict{Source: t.source, Mapping: &t.rows[at].Mapping}
			v.Outcome, v.Refusal, v.Text = e.standing(v.Mapping)
			if v.Outcome == Hidden && !v.Mapping.Merge && e.User != nil {
				v.Text += ", and without merge its groups are not added"
			}
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		all = []Verdict{{
			Source: t.source, Outcome: Nothing, Text: "no member is " + who.CanonicalARN,
			Near: t.near(who, nil, true),
		}}
	}
	return all
}

// idOf is the unique id that mappings of an identity's ARN want.
func (c *Chain) idOf(who *callerid.Identity) string {
	key := loginKey(who.CanonicalARN)
	for _, t := range c.tables {
		if i, has := t.byARN[key]; has && t.rows[i].UserID != "" {
			return t.rows[i].UserID
		}
	}
	for _, t := range slices.Concat(c.tables, c.members) {
		for i := range t.rows {
			m := &t.rows[i].Mapping
			if m.Match.UserID == "" || m.Written == "" {
				continue
			}
			if loginKey(m.Written) == key {
				return m.Match.UserID
			}
		}
	}
	return ""
}

// Identity makes an identity of an ARN, as its token would: of a role, user, session,
// root or federated user. Of a role, session is the name of the session, if its ARN has
// none. The unique id is not known.
func Identity(text, session string) (*callerid.Identity, error) {
	if err := spelledOut(text); err != nil {
		return nil, err
	}
	canonical, kind, err := callerid.Canonical(foldScheme(text))
	if err != nil {
		return nil, notPrincipal(text)
	}
	who := &callerid.Identity{Kind: kind, ARN: text, AccountID: canonical.Account}
	if name, isRole := strings.CutPrefix(canonical.Resource, "role/"); isRole {
		canonical.Resource = "role/" + name[strings.LastIndexByte(name, '/')+1:]
		who.SessionName = session
		if kind == callerid.AssumedRole {
			who.SessionName = text[strings.LastIndexByte(text, '/')+1:]
		}
	}
	who.CanonicalARN = canonical.String()
	return who, nil
}

// Hidden returns the mappings that never count, with those that count in their place: of
// one source, and of sources that are asked earlier.
func (c *Chain) Hidden() []Duplicate {
	var all []Duplicate
	for i, t := range c.tables {
		all = append(all, t.lost...)
		hidden := map[*Mapping]bool{}
		for _, d := range t.lost {
			hidden[d.Hidden] = true
		}
		for j := range t.rows {
			m := &t.rows[j].Mapping
			if by := c.hider(c.tables[:i], m); by != nil && !hidden[m] {
				all = append(all, Duplicate{Counts: by, Hidden: m})
			}
		}
	}
	for _, t := range c.members {
		for j := range t.rows {
			if m := &t.rows[j].Mapping; !m.Merge {
				if by := c.hider(c.tables, m); by != nil && by.named() {
					all = append(all, Duplicate{Counts: by, Hidden: m})
				}
			}
		}
	}
	return all
}

// named reports whether a mapping names its principals, and is not about everybody of an
// account.
func (m *Mapping) named() bool { return m.Match.Account == "" || m.Match.PermissionSet != "" }

// hider returns the mapping of earlier sources by which all enter, or are refused, whom a
// mapping is about.
func (c *Chain) hider(earlier []*Table, m *Mapping) *Mapping {
	who := &callerid.Identity{
		UserID: cmp.Or(m.UserID, m.Match.UserID), AccountID: m.Match.Account, CanonicalARN: cmp.Or(m.Match.ARN,
			m.Written),
	}
	l := loginOf(who, nil)
	if m.Match.Account != "" {
		l.account, l.partition = m.Match.Account, cmp.Or(m.Match.Partition, c.partition)
	}
	if l.partition != c.partition {
		return nil // it is about nobody who enters
	}
	for _, t := range earlier {
		switch {
		case m.Match.PermissionSet != "":
			i, has := t.bySet[setKey{m.Match.Account, lower(m.Match.PermissionSet)}]
			for at := i; has && at != none; at = t.rows[at].next {
				if by := &t.rows[at].Mapping; inPartition(by, c.partition) && by.UserID == "" {
					return by
				}
			}
		case !m.named():
			if r := t.everybody(&l); r != nil {
				return &r.Mapping
			}
			continue
		default:
			r, refused := t.find(&l)
			if r != nil {
				return &r.Mapping
			}
			if refused != nil && refused.stops() {
				return refused.By
			}
		}
		if r := t.everybody(&l); r != nil && isPeers(t.source) {
			return &r.Mapping
		}
	}
	return nil
}
