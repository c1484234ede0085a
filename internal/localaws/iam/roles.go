package iam

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

type roleResult struct{ Role roleXML }

type roleXML struct {
	Path                     string
	RoleName                 string
	RoleID                   string `xml:"RoleId" json:"RoleId"`
	ARN                      string `xml:"Arn" json:"Arn"`
	CreateDate               wire.Time
	AssumeRolePolicyDocument string
	Description              string `xml:",omitempty" json:",omitempty"`
	MaxSessionDuration       int
	Tags                     *[]account.Tag `xml:"Tags>member,omitempty" json:",omitempty"`
	RoleLastUsed             *struct{}      `xml:",omitempty" json:",omitempty"`
}

func newRoleXML(a *account.Account, r *account.Role, withTags bool) roleXML {
	out := roleXML{
		Path: r.Path, RoleName: r.Name, RoleID: r.ID, ARN: a.RoleARN(r), CreateDate: wire.Time(r.Created),
		AssumeRolePolicyDocument: escape(r.Trust), Description: r.Description, MaxSessionDuration: r.MaxSession,
	}
	if withTags && len(r.Tags) > 0 {
		out.Tags = &r.Tags
	}
	return out
}

// roleTarget is what policies see. For a role that does not exist yet, or any
// more, it is put together from the request.
func roleTarget(q *service.Call) (service.Target, error) {
	role := &account.Role{Name: q.Get("RoleName"), Path: q.Get("Path")}
	if role.Path == "" {
		role.Path = "/"
	}
	err := q.Account.View(func(state account.State) error {
		stored, err := state.Role(role.Name)
		if err == nil {
			role = stored
		}
		return unlessNotFound(err)
	})
	return service.Target{ARN: q.Account.RoleARN(role), Tags: role.Tags}, err
}

func unlessNotFound(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return nil
	}
	return err
}

// rolesTarget is that of operations on all roles below a path.
func rolesTarget(q *service.Call) (service.Target, error) {
	prefix := q.Get("PathPrefix")
	if prefix == "" {
		prefix = "/"
	}
	return service.Target{ARN: "arn:" + q.Account.Partition + ":iam::" + q.Account.ID + ":role" + prefix}, nil
}

func createRole(q *service.Call) (any, error) {
	role := &account.Role{Name: q.Text("RoleName", nameLimit), Path: "/", ID: account.NewRoleID(), Created: q.Time.UTC()}
	if path := q.Text("Path", wire.Constraint{Min: 1, Max: 512, Optional: true}); path != "" {
		if !validPath.MatchString(path) {
			q.Violate("The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
		}
		role.Path = path
	}
	role.Description = q.Text("Description", descriptionLimit)
	var err error
	if role.MaxSession, err = q.Int("MaxSessionDuration", minSession, minSession, maxSession); err != nil {
		return nil, err
	}
	trust, err := readTrust(q, "AssumeRolePolicyDocument")
	if err != nil {
		return nil, err
	}
	for _, later := range []string{"PermissionsBoundary"} {
		if q.Has(later) {
			return nil, wire.Errorf(http.StatusNotImplemented, "NotImplemented", "%s is not emulated yet; the role was not created without it.", later)
		}
	}
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	if role.Tags, err = mergeTags(nil, tags); err != nil {
		return nil, err
	}
	err = q.Account.Update(func(state account.State) error {
		if _, err := state.Role(role.Name); !errors.Is(err, account.ErrNotFound) {
			return orConflict(err, "Role with name %s already exists.", role.Name)
		}
		if err := SetTrust(state, role, trust); err != nil {
			return err
		}
		return state.PutRole(role)
	})
	if err != nil {
		return nil, wrap(err, "create role %q", role.Name)
	}
	return roleResult{newRoleXML(q.Account, role, true)}, nil
}

func orConflict(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return wire.Errorf(http.StatusConflict, "EntityAlreadyExists", format, args...)
}

// findRole reads the role of the request's RoleName.
func findRole(state account.State, name string) (*account.Role, error) {
	role, err := state.Role(name)
	if errors.Is(err, account.ErrNotFound) {
		return nil, noSuchEntity("The role with name %s cannot be found.", name)
	}
	return role, err
}

// changeRole applies a change to the request's role, all or nothing.
func changeRole(q *service.Call, apply func(account.State, *account.Role) error) error {
	name := q.Text("RoleName", nameLimit)
	if err := q.Check(); err != nil {
		return err
	}
	return wrap(q.Account.Update(func(state account.State) error {
		role, err := findRole(state, name)
		if err != nil {
			return err
		}
		if err := apply(state, role); err != nil {
			return err
		}
		return state.PutRole(role)
	}), "change role %q", name)
}

// readRole gets the request's role.
func readRole(q *service.Call) (*account.Role, error) {
	name := q.Text("RoleName", nameLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	var role *account.Role
	err := q.Account.View(func(state account.State) (err error) {
		if role, err = findRole(state, name); err == nil {
			role.Trust = ShownTrust(state, role)
		}
		return err
	})
	return role, wrap(err, "read role %q", name)
}

func getRole(q *service.Call) (any, error) {
	role, err := readRole(q)
	if err != nil {
		return nil, err
	}
	out := newRoleXML(q.Account, role, true)
	out.RoleLastUsed = &struct{}{}
	return roleResult{out}, nil
}

type rolesResult struct {
	Roles       []roleXML `xml:"Roles>member"`
	IsTruncated bool
	Marker      string `xml:",omitempty" json:",omitempty"`
}

func listRoles(q *service.Call) (any, error) {
	prefix := q.Text("PathPrefix", wire.Constraint{Min: 1, Max: 512, Optional: true})
	var roles []*account.Role
	if err := q.Account.View(func(state account.State) (err error) {
		roles, err = state.Roles()
		for _, role := range roles {
			role.Trust = ShownTrust(state, role)
		}
		return err
	}); err != nil {
		return nil, wrap(err, "list roles")
	}
	roles = slices.DeleteFunc(roles, func(r *account.Role) bool { return !strings.HasPrefix(r.Path, prefix) })
	slices.SortFunc(roles, func(a, b *account.Role) int { return strings.Compare(a.Name, b.Name) })
	onPage, next, err := page(q, roles, func(r *account.Role) string { return r.Name })
	if err != nil {
		return nil, err
	}
	result := rolesResult{IsTruncated: next != "", Marker: next}
	for _, role := range onPage {
		result.Roles = append(result.Roles, newRoleXML(q.Account, role, false))
	}
	return result, nil
}

func updateRole(q *service.Call) (any, error) {
	description := q.Text("Description", descriptionLimit)
	seconds, err := q.Int("MaxSessionDuration", 0, minSession, maxSession)
	if err != nil {
		return nil, err
	}
	return struct{}{}, changeRole(q, func(_ account.State, role *account.Role) error {
		if q.Has("Description") {
			role.Description = description
		}
		if seconds != 0 {
			role.MaxSession = seconds
		}
		return nil
	})
}

func updateTrust(q *service.Call) (any, error) {
	trust, err := readTrust(q, "PolicyDocument")
	if err != nil {
		return nil, err
	}
	return nil, changeRole(q, func(state account.State, role *account.Role) error {
		return SetTrust(state, role, trust)
	})
}

func deleteRole(q *service.Call) (any, error) {
	name := q.Text("RoleName", nameLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	return nil, wrap(q.Account.Update(func(state account.State) error {
		if _, err := findRole(state, name); err != nil {
			return err
		}
		return state.DeleteRole(name)
	}), "delete role %q", name)
}

func tagRole(q *service.Call) (any, error) {
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	return nil, changeRole(q, func(_ account.State, role *account.Role) (err error) {
		role.Tags, err = mergeTags(role.Tags, tags)
		return err
	})
}

func untagRole(q *service.Call) (any, error) {
	return nil, changeRole(q, func(_ account.State, role *account.Role) error {
		role.Tags = removeTags(role.Tags, q.List("TagKeys"))
		return nil
	})
}

func listRoleTags(q *service.Call) (any, error) {
	role, err := readRole(q)
	if err != nil {
		return nil, err
	}
	return listTags(q, role.Tags)
}
