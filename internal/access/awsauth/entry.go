package awsauth

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/access"
	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/fault"
)

// kind is what a value is, as far as it matters.
type kind uint8

const (
	absent kind = iota
	isText      // a string, or what the peer takes for one
	other       // a number or a boolean: of the peer's decoders an empty string
	nested      // a list or map where a string should be
)

// value is one value of an entry.
type value struct {
	kind kind
	text string
}

// given reports whether it says anything.
func (v value) given() bool { return v.kind != absent }

// entry is one item of a list, before its meaning is looked at.
type entry struct {
	line int
	// item is the item itself if it is no map.
	item value

	roleARN, userARN, groupARN, username, userID value

	groups []value
	// groupsAs is what groups are in place of a list.
	groupsAs value

	sso                               value // nested if there is one
	setName, setAccount, setPartition value

	unknown []string
}

// principal is whom an entry is about, as it is written.
func (e *entry) principal() string {
	for _, v := range []value{e.roleARN, e.userARN, e.groupARN} {
		if v.text != "" {
			return v.text
		}
	}
	if e.setName.text != "" {
		return access.Match{PermissionSet: e.setName.text, Account: e.setAccount.text}.String()
	}
	return ""
}

// reader reads one list.
type reader struct {
	Options
	key Key
}

// isNothing reports whether a value counts as absent.
func isNothing(text string) bool {
	switch strings.TrimSpace(text) {
	case "", "``", `""`, "''":
		return true
	}
	return false
}

// compile makes mappings of entries.
func (r *reader) compile(entries []entry) Part {
	p := Part{Mappings: make([]access.Mapping, 0, len(entries))}
	for i := range entries {
		e := &entries[i]
		at := access.Origin{
			Source: r.Source, Place: r.Place, Field: string(r.key) + "[" + strconv.Itoa(i) + "]", Line: e.line,
		}
		c := compiler{reader: r, entry: e, at: at}
		m, ok := c.mapping()
		if ok {
			p.Mappings = append(p.Mappings, m)
		}
		p.Problems = append(p.Problems, c.problems...)
	}
	return p
}

// compiler makes a mapping of one entry.
type compiler struct {
	*reader
	entry    *entry
	at       access.Origin
	problems []access.Problem
}

func (c *compiler) note(hint, format string, args ...any) {
	c.problems = append(c.problems, access.Problem{
		Origin: c.at, Principal: c.entry.principal(), Text: fmt.Sprintf(format, args...), Hint: hint,
	})
}

func (c *compiler) refuse(hint, format string, args ...any) (access.Mapping, bool) {
	c.note(hint, format, args...)
	c.problems[len(c.problems)-1].Refused = true
	return access.Mapping{}, false
}

func (c *compiler) mapping() (access.Mapping, bool) {
	if c.key == Accounts {
		return c.account()
	}
	e := c.entry
	if e.item.given() {
		return c.refuse("", "the entry is not a map: want %s, username and groups", c.idKey())
	}
	m := access.Mapping{Origin: c.at}
	if !c.principal(&m) {
		return m, false
	}
	switch e.username.kind {
	case isText:
	case absent:
		return c.refuse("Give a username; {{SessionName}} tells the people of a role apart.",
			"username is missing, so that it would be empty")
	case other:
		return c.refuse("Write username: "+strconv.Quote(e.username.text),
			"username is %.80q without quotes, which is no text, so that it would be empty", e.username.text)
	case nested:
		return c.refuse("", "username is not a text")
	}
	if m.Username = e.username.text; m.Username == "" {
		return c.refuse("Give a username; {{SessionName}} tells the people of a role apart.", "username is empty")
	}
	m.Groups = c.groups()
	if c.PinUserIDs {
		switch {
		case e.userID.kind == isText && e.userID.text != "":
			m.UserID = e.userID.text
		case e.userID.given():
			return c.refuse("", "userid is not the id of a principal")
		}
	}
	for _, key := range e.unknown {
		c.note(nearest(key), "the key %.80q is not known, and ignored", key)
	}
	return m, true
}

// idKey is the key that names the principal of an entry.
func (c *compiler) idKey() string {
	if c.key == Users {
		return "userarn"
	}
	return "rolearn"
}

// principal reads whom an entry is about.
func (c *compiler) principal(m *access.Mapping) bool {
	e := c.entry
	id, wrong, wrongKey, wrongHome := e.roleARN, e.userARN, "userarn", Users
	if c.key == Users {
		id, wrong, wrongKey, wrongHome = e.userARN, e.roleARN, "rolearn", Roles
	}
	refuse := func(hint, format string, args ...any) bool {
		_, ok := c.refuse(hint, format, args...)
		return ok
	}
	hasSet := c.key == Roles && e.sso.given()
	switch {
	case id.given() && (id.kind != isText || id.text == ""):
		return refuse("", "%s is not the text of an ARN", c.idKey())
	case id.given() && hasSet:
		return refuse("Leave one out.", "one of rolearn and sso must be supplied, and there are both")
	case hasSet:
		return c.permissionSet(m)
	case !id.given() && e.groupARN.given():
		return refuse(groupHint(e.groupARN.text), "grouparn: IAM groups are not principals: STS never tells them")
	case !id.given() && wrong.given():
		return refuse(fmt.Sprintf("Move the entry to %s.", wrongHome), "%s is not a key of %s", wrongKey, c.key)
	case !id.given() && c.key == Roles:
		return refuse("", "one of rolearn and sso must be supplied")
	case !id.given():
		return refuse("", "%s is missing", c.idKey())
	}
	read, err := access.ReadPrincipal(id.text)
	if err != nil {
		hint := ""
		if hints := fault.HintsOf(err); len(hints) > 0 {
			hint = hints[0]
		}
		return refuse(hint, "%s", err)
	}
	m.Match.ARN, m.Written = read.ARN, read.Written
	for _, text := range read.Notes {
		c.note(fmt.Sprintf("Write %s: %s", c.idKey(), read.ARN), "%s", text)
	}
	return true
}

func groupHint(text string) string {
	if _, err := access.ReadPrincipal(text); err != nil {
		if hints := fault.HintsOf(err); len(hints) > 0 {
			return hints[0]
		}
	}
	return "Make a GroupMapping."
}

// permissionSet reads an entry about a permission set.
func (c *compiler) permissionSet(m *access.Mapping) bool {
	e := c.entry
	refuse := func(hint, text string) bool {
		_, ok := c.refuse(hint, "%s", text)
		return ok
	}
	switch {
	case e.sso.kind != nested:
		return refuse("Write sso: {permissionSetName: NAME, accountID: \"111122223333\"}", "sso is not a map")
	case e.setName.kind != isText || !access.IsPermissionSet(e.setName.text):
		return refuse("", "sso.permissionSetName must be 1 to 32 letters, digits and _+=,.@-")
	case e.setAccount.kind == other:
		return refuse("Write accountID: "+strconv.Quote(e.setAccount.text),
			"sso.accountID is a number without quotes, and numbers lose a zero that they begin with")
	case e.setAccount.kind != isText || !arn.IsAccount(e.setAccount.text):
		return refuse("", "sso.accountID must be 12 digits")
	case e.setPartition.given() && (e.setPartition.kind != isText ||
		e.setPartition.text != "" && !arn.IsPartition(e.setPartition.text)):
		return refuse("Leave it out for the server's own.", "sso.partition is not a partition of AWS")
	}
	m.Match = access.Match{
		PermissionSet: e.setName.text, Account: e.setAccount.text, Partition: e.setPartition.text,
	}
	return true
}

// groups are those that count: what is no name of a group is a problem, and left out.
func (c *compiler) groups() []string {
	e := c.entry
	switch {
	case c.Source == access.MountedFile && e.groupsAs.kind == isText && e.groupsAs.text != "":
		// The peer's file takes one text for a list with commas.
		return strings.Split(e.groupsAs.text, ",")
	case e.groupsAs.given():
		c.note("Write groups: ["+e.groupsAs.text+"]", "groups is not a list, so that the entry has none")
		return nil
	}
	bad := func(v value) bool { return v.kind != isText || v.text == "" }
	if slices.ContainsFunc(e.groups, bad) {
		for i, v := range e.groups {
			if bad(v) {
				c.note("", "groups[%d] is not the name of a group, and left out", i)
			}
		}
	}
	names := make([]string, 0, len(e.groups))
	for _, v := range e.groups {
		if !bad(v) {
			names = append(names, v.text)
		}
	}
	return names
}

// account reads an item of mapAccounts: whatever its type, what is written.
func (c *compiler) account() (access.Mapping, bool) {
	id := c.entry.item
	switch {
	case id.kind != isText && id.kind != other || strings.TrimSpace(id.text) != id.text || id.text == "":
		return c.refuse("Write the 12 digits in quotes.", "the item is not an account")
	case id.kind == other && c.Source != access.EKSConfigMap && strings.HasPrefix(id.text, "0"):
		return c.refuse("Write "+strconv.Quote(id.text),
			"account %.40s without quotes is a number, and loses its zero", id.text)
	case !arn.IsAccount(id.text):
		c.note("Write 12 digits in quotes.", "account %.40q has not 12 digits: no login of AWS has it", id.text)
	}
	return access.Mapping{Origin: c.at, Match: access.Match{Account: id.text}}, true
}

// fields are the keys of entries, in lower case.
var fields = []string{"rolearn", "userarn", "username", "groups", "userid", "sso"}

// nearest suggests a key for one that is not known.
func nearest(key string) string {
	folded := fold(key)
	for _, field := range fields {
		if strings.HasPrefix(folded, field) || strings.HasPrefix(field, folded) && len(folded) > 2 ||
			strings.ReplaceAll(strings.ReplaceAll(folded, "_", ""), "-", "") == field {
			return "Write " + field + " if that is meant."
		}
	}
	return ""
}

// fold is a key in lower case: ASCII only.
func fold(key string) string {
	for i := range len(key) {
		if 'A' <= key[i] && key[i] <= 'Z' {
			b := []byte(key)
			for i, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[i] = c + ('a' - 'A')
				}
			}
			return string(b)
		}
	}
	return key
}

func compare(a, b string) int { return cmp.Compare(a, b) }
