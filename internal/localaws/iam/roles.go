package iam

import (
	"errors"
	"net/http"
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
	PermissionsBoundary      *boundaryXML           `xml:",omitempty" json:",omitempty"`
	Tags                     wire.List[account.Tag] `xml:",omitempty" json:",omitempty"`
	RoleLastUsed             *struct{}              `xml:",omitempty" json:",omitempty"`
}

func newRoleXML(a *account.Account, r *account.Role, withTags bool) roleXML {
	out := roleXML{
		Path: r.Path, RoleName: r.Name, RoleID: r.ID, ARN: a.RoleARN(r), CreateDate: wire.Time(r.Created),
		AssumeRolePolicyDocument: escape(r.Trust), Description: r.Description, MaxSessionDuration: r.MaxSession,
	}
	if withTags {
		out.Tags, out.PermissionsBoundary = r.Tags, shownBoundary(r.Boundary)
	}
	return out
}

func unlessNotFound(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return nil
	}
	return err
}

func createRole(q *service.Call) (any, error) {
	role := &account.Role{
		Name:     q.Text("RoleName", nameLimit),
		Path:     newPath(q),
		ID:       account.NewRoleID(),
		Created:  q.Time.UTC(),
		Boundary: newBoundary(q),
	}
	role.Description = q.Text("Description", descriptionLimit)
	var err error
	if role.MaxSession, err = q.Int("MaxSessionDuration", minSession, minSession, maxSession); err != nil {
		return nil, err
	}
	if strings.HasPrefix(role.Path, linkedPath) {
		return nil, invalidInput("Paths that begin with %s are reserved for service-linked roles.", linkedPath)
	}
	trust, err := readTrust(q, "AssumeRolePolicyDocument")
	if err != nil {
		return nil, err
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
		return errors.Join(
			room(state.CountRoles(), "RolesPerAccount", maxRoles), checkNewBoundary(state, role.Boundary),
			SetTrust(state, role, trust), state.PutRole(role),
		)
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

var roles = named[*account.Role]{"role", "RoleName", nameLimit, findRole}

// changeRole applies a change to the request's role, all or nothing.
func changeRole(q *service.Call, apply func(account.State, *account.Role) error) error {
	return roles.update(q, "change", func(state account.State, role *account.Role) error {
		if err := apply(state, role); err != nil {
			return err
		}
		return state.PutRole(role)
	})
}

// readRole gets the request's role.
func readRole(q *service.Call) (role *account.Role, err error) {
	err = roles.view(q, func(state account.State, one *account.Role) error {
		role = one
		role.Trust = ShownTrust(state, role)
		return nil
	})
	return role, err
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
	Roles wire.List[roleXML]
	pageEnd
}

func listRoles(q *service.Call) (any, error) {
	roles, end, err := listBelow(q, account.State.RolesAfter, func(r *account.Role) (string, string) {
		return r.Path, r.Name
	})
	if err != nil {
		return nil, err
	}
	result := rolesResult{pageEnd: end}
	err = q.Account.View(func(state account.State) error {
		for _, role := range roles {
			role.Trust = ShownTrust(state, role)
			result.Roles = append(result.Roles, newRoleXML(q.Account, role, false))
		}
		return nil
	})
	return result, wrap(err, "list roles")
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

func updateDescription(q *service.Call) (any, error) {
	description := q.Text("Description", descriptionLimit)
	var changed *account.Role
	err := changeRole(q, func(_ account.State, role *account.Role) error {
		role.Description, changed = description, role
		return nil
	})
	if err != nil {
		return nil, err
	}
	return roleResult{newRoleXML(q.Account, changed, false)}, nil
}

func updateTrust(q *service.Call) (any, error) {
	trust, err := readTrust(q, "PolicyDocument")
	if err != nil {
		return nil, err
	}
	return nil, changeRole(q, func(state account.State, role *account.Role) error {
		if err := modifiable(role); err != nil {
			return err
		}
		return SetTrust(state, role, trust)
	})
}

func deleteRole(q *service.Call) (any, error) {
	return nil, roles.update(q, "delete", func(state account.State, role *account.Role) error {
		if err := modifiable(role); err != nil {
			return err
		}
		holding, err := profilesOf(state, role.Name)
		if err == nil && len(holding) > 0 {
			err = deleteConflict("Cannot delete entity, must remove roles from instance profile first.")
		}
		return errors.Join(err, unburdened(role.Permissions), state.DeleteRole(role.Name))
	})
}
