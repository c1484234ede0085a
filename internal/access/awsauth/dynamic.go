package awsauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/internal/access"
)

// dynamicFile is the JSON file. Letter case of its keys does not count, and others are
// not looked at.
type dynamicFile struct {
	MapRoles    []dynamicEntry `json:"mapRoles"`
	MapUsers    []dynamicEntry `json:"mapUsers"`
	MapAccounts []string       `json:"mapAccounts"`
}

type dynamicEntry struct {
	RoleARN  *string     `json:"rolearn"`
	UserARN  *string     `json:"userarn"`
	GroupARN *string     `json:"grouparn"`
	Username *string     `json:"username"`
	Groups   []string    `json:"groups"`
	UserID   *string     `json:"userid"`
	SSO      *dynamicSet `json:"sso"`
}

type dynamicSet struct {
	PermissionSetName *string `json:"permissionSetName"`
	PermissionSet     *string `json:"permissionSet"`
	AccountID         *string `json:"accountID"`
	Partition         *string `json:"partition"`
}

// Dynamic reads the JSON file that another program writes. One bad entry makes all of it
// bad: then every list is broken, and what was there before is to be kept.
func Dynamic(document []byte, o Options) Content {
	var file dynamicFile
	if err := json.Unmarshal(document, &file); err != nil {
		return brokenFile(Content{Other: []access.Problem{notJSON(document, err, o)}})
	}
	c := Content{
		Roles: dynamicPart(Roles, file.MapRoles, o),
		Users: dynamicPart(Users, file.MapUsers, o),
	}
	accounts := make([]entry, len(file.MapAccounts))
	for i, id := range file.MapAccounts {
		accounts[i].item = value{isText, id}
	}
	c.Accounts = (&reader{key: Accounts, Options: o}).compile(accounts)
	for _, problem := range c.Problems() {
		if problem.Refused {
			return brokenFile(c)
		}
	}
	return c
}

// brokenFile is a content of which nothing counts.
func brokenFile(c Content) Content {
	for _, key := range Keys() {
		part := c.part(key)
		part.Broken, part.Mappings = true, nil
	}
	return c
}

func dynamicPart(key Key, list []dynamicEntry, o Options) Part {
	entries := make([]entry, len(list))
	for i := range list {
		entries[i] = list[i].entry()
	}
	r := reader{key: key, Options: o}
	p := Part{Mappings: make([]access.Mapping, 0, len(entries))}
	for i := range entries {
		at := access.Origin{Source: o.Source, Place: o.Place, Field: fmt.Sprintf("%s[%d]", key, i)}
		c := compiler{reader: &r, entry: &entries[i], at: at}
		m, ok := c.strict()
		if ok {
			p.Mappings = append(p.Mappings, m)
		}
		p.Problems = append(p.Problems, c.problems...)
	}
	return p
}

// strict is the mapping of an entry of a dynamic file. If unique ids count, each entry
// must have one, which is all it needs.
func (c *compiler) strict() (access.Mapping, bool) {
	if !c.PinUserIDs {
		return c.mapping()
	}
	if c.entry.userID.text == "" {
		return c.refuse("Give the unique id of the principal: AROA… of a role, AIDA… of a user.",
			"userid is missing, and the server takes only entries with one")
	}
	if !c.entry.roleARN.given() && !c.entry.userARN.given() && !c.entry.sso.given() {
		m := access.Mapping{Origin: c.at, Match: access.Match{UserID: c.entry.userID.text}}
		if m.Username = c.entry.username.text; m.Username == "" {
			return c.refuse("Give a username.", "username is empty")
		}
		m.Groups = c.groups()
		return m, true
	}
	return c.mapping()
}

func (d *dynamicEntry) entry() entry {
	e := entry{
		roleARN: said(d.RoleARN), userARN: said(d.UserARN), groupARN: said(d.GroupARN),
		username: said(d.Username), userID: said(d.UserID),
	}
	for i := range d.Groups {
		e.groups = append(e.groups, value{isText, d.Groups[i]})
	}
	if d.SSO != nil {
		e.sso = value{kind: nested}
		e.setName, e.setAccount = said(d.SSO.PermissionSetName), said(d.SSO.AccountID)
		e.setPartition = said(d.SSO.Partition)
		if !e.setName.given() {
			e.setName = said(d.SSO.PermissionSet)
		}
	}
	return e
}

// said is a string of JSON. An empty ARN or id is as good as none.
func said(s *string) value {
	if s == nil || *s == "" {
		return value{}
	}
	return value{isText, *s}
}

// notJSON is the problem of a file that is not what it must be.
func notJSON(document []byte, err error, o Options) access.Problem {
	p := access.Problem{Origin: access.Origin{Source: o.Source, Place: o.Place}, Refused: true, Whole: true}
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case len(bytes.TrimSpace(document)) == 0:
		p.Text, p.Hint = "the file is empty", `Write {} for no mappings, or remove the file.`
	case errors.As(err, &syntax):
		offset, p.Text = syntax.Offset, "not valid JSON: "+err.Error()
	case errors.As(err, &kind):
		offset, p.Field = kind.Offset, kind.Field
		p.Text = "a " + kind.Value + " is not what belongs there: want " + kind.Type.Kind().String()
	default:
		p.Text = strings.TrimPrefix(err.Error(), "json: ")
	}
	if offset >= 0 {
		p.Line = 1 + bytes.Count(document[:min(int(offset), len(document))], []byte("\n"))
	}
	return p
}
