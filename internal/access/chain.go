package access

import (
	"fmt"
	"slices"

	"github.com/rolecall/rolecall/internal/callerid"
)

// Chain is the sources in the order in which they are asked. It does not change.
type Chain struct {
	partition string
	tables    []*Table
	members   []*Table // GroupMapping, after all others
	usernames map[Source][]string
	groups    map[Source][]string
}

// Config is what an operator says about sources.
type Config struct {
	// Partition is the one whose identities may enter; aws if empty.
	Partition string
	// ReservedUsernames and ReservedGroups are prefixes of names that a source must not
	// give. Letter case counts.
	ReservedUsernames, ReservedGroups map[Source][]string
}

// NewChain puts tables together, of which the first that knows an identity counts.
// Members of IAM groups are looked at after all others.
func NewChain(config Config, tables ...*Table) *Chain {
	c := &Chain{partition: config.Partition, usernames: config.ReservedUsernames, groups: config.ReservedGroups}
	if c.partition == "" {
		c.partition = "aws"
	}
	for _, t := range tables {
		switch {
		case t == nil:
		case t.source == GroupMapping:
			c.members = append(c.members, t)
		default:
			c.tables = append(c.tables, t)
		}
	}
	return c
}

// Tables are the sources, in order.
func (c *Chain) Tables() []*Table { return slices.Concat(c.tables, c.members) }

// Resolve says which user an identity is. nodeName is asked for the name of an EC2
// instance if a template needs it; nil if nobody can tell it.
//
// The first source that has a mapping of the identity counts. Failing that, everybody of
// an account is the user that the mapping of the account says; at the peer's sources that ends the
// search, as it does there, and an IdentityMapping of an account counts after all. Who is
// a member of IAM groups has their groups if no mapping named them, and beside those of
// the mapping if the groups are to be merged.
func (c *Chain) Resolve(who *callerid.Identity, nodeName NodeName) (*User, *Refusal) {
	var room [keySize]byte
	l := loginOf(who, room[:0])
	if !c.isOurs(&l) {
		return nil, &Refusal{
			Reason: NotMapped,
			Text:   who.CanonicalARN + " is not of partition " + c.partition + " and account " + who.AccountID,
		}
	}
	found, account, refusal := c.search(&l)
	if found == nil && refusal != nil && refusal.stops() {
		return nil, refusal
	}
	members := c.memberships(who)
	switch {
	case found != nil:
		members = slices.DeleteFunc(members, func(r *row) bool { return !r.Merge })
	case len(members) > 0:
		found, members = members[0], members[1:]
	case account != nil:
		found = account
	case refusal != nil:
		return nil, refusal
	default:
		return nil, &Refusal{Reason: NotMapped, Text: who.CanonicalARN + ": identity is not mapped"}
	}
	user, refusal := c.user(found, who, nodeName)
	if refusal != nil {
		return nil, refusal
	}
	for _, r := range members {
		c.add(user, &r.Mapping)
	}
	return user, nil
}

// isOurs reports whether an identity is of the chain's partition, and of the account that
// it says.
func (c *Chain) isOurs(l *login) bool {
	return len(l.key) > 0 && l.partition == c.partition && l.account != "" && l.account == l.who.AccountID
}

// stops says that no later source is asked: the operator said of this source who the
// principal is, and it is another. The peer's sources go on, as they do there.
func (r *Refusal) stops() bool { return !isPeers(r.By.Source) }

// search returns the mapping of an identity, that of its account, and why the first that
// seemed to be about it was not.
func (c *Chain) search(l *login) (found, account *row, refusal *Refusal) {
	for _, t := range c.tables {
		r, refused := t.find(l)
		switch {
		case r != nil:
			return r, account, refusal
		case refused != nil:
			if refusal == nil || refused.stops() {
				refusal = refused
			}
			if refused.stops() {
				return nil, nil, refusal
			}
			continue
		}
		if r := t.everybody(l); r != nil {
			if account == nil {
				account = r
			}
			if isPeers(t.source) {
				return nil, account, refusal
			}
		}
	}
	return nil, account, refusal
}

// memberships are the mappings of all IAM groups that the identity is in.
func (c *Chain) memberships(who *callerid.Identity) []*row {
	var all []*row
	if who.Kind != callerid.User || who.UserID == "" {
		return nil
	}
	for _, t := range c.members {
		i, has := t.byID[who.UserID]
		for at := i; has && at != none; at = t.rows[at].next {
			all = append(all, &t.rows[at])
		}
	}
	return all
}

// user makes the user of a mapping.
func (c *Chain) user(r *row, who *callerid.Identity, nodeName NodeName) (*User, *Refusal) {
	user := &User{By: &r.Mapping}
	if r.fixed {
		user.Username, user.Groups = r.Username, r.Groups
	} else if refusal := user.fill(&r.Mapping, who, nodeName); refusal != nil {
		refusal.By = &r.Mapping
		return nil, refusal
	}
	if refusal := c.reserved(&r.Mapping, user); refusal != nil {
		return nil, refusal
	}
	return user, nil
}

// fill makes names of a mapping's templates.
func (u *User) fill(m *Mapping, who *callerid.Identity, nodeName NodeName) (refusal *Refusal) {
	fill := renderer{who: who, source: m.Source, nodeName: nodeName}
	if m.Username == "" {
		u.Username, refusal = fill.ownName()
	} else {
		u.Username, refusal = fill.fill(m.Username)
	}
	if refusal != nil {
		return refusal
	}
	if u.Username == "" {
		return &Refusal{Reason: Unfillable, Text: fmt.Sprintf("the username that came of %q is empty", m.Username)}
	}
	u.Groups = make([]string, 0, len(m.Groups)+1)
	for _, template := range m.Groups {
		group, refusal := fill.fill(template)
		if refusal != nil {
			return refusal
		}
		u.Groups = append(u.Groups, group)
	}
	if m.Policies != "" {
		u.Groups = append(u.Groups, m.Policies)
	}
	return nil
}

// add gives a user the groups of another mapping too, but those that its source must not
// give.
func (c *Chain) add(u *User, m *Mapping) {
	u.Also = append(u.Also, m)
	u.Groups = slices.Clip(u.Groups)
	for _, group := range m.Groups {
		if !slices.Contains(u.Groups, group) && startsWith(group, c.groups[m.Source]) == "" {
			u.Groups = append(u.Groups, group)
		}
	}
}
