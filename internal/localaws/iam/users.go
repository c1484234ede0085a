package iam

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
	"github.com/rolecall/rolecall/internal/policy"
)

func userOperations() map[string]service.Operation {
	user := userKind().target
	return map[string]service.Operation{
		"CreateUser":        {Target: user, Do: createUser},
		"GetUser":           {Target: ownTarget, Do: getUser},
		"ListUsers":         {Target: below("user"), Do: listUsers},
		"UpdateUser":        {Target: user, Do: updateUser},
		"DeleteUser":        {Target: user, Do: deleteUser},
		"ListGroupsForUser": {Target: user, Do: listGroupsForUser},
	}
}

var users = named[*account.User]{"user", "UserName", nameLimit, findUser}

func findUser(state account.State, name string) (*account.User, error) {
	user, err := state.User(name)
	if errors.Is(err, account.ErrNotFound) {
		return nil, noSuchEntity("The user with name %s cannot be found.", name)
	}
	return user, err
}

// ownName is the user that an operation is about when none is named: the
// caller.
func ownName(q *service.Call) (string, error) {
	if q.Has("UserName") {
		return q.Text("UserName", nameLimit), q.Check()
	}
	if q.Caller.Principal.Kind != policy.User {
		return "", wire.Errorf(
			http.StatusBadRequest, "ValidationError", "Must specify userName when calling with non-User credentials",
		)
	}
	return q.Caller.Principal.UserName, nil
}

// ownTarget is that user.
func ownTarget(q *service.Call) (service.Target, error) {
	if !q.Has("UserName") && q.Caller.Principal.Kind == policy.User {
		return service.Target{ARN: q.Caller.Principal.ARN}, nil
	}
	return userKind().target(q)
}

type userResult struct{ User userXML }

type userXML struct {
	Path                string
	UserName            string
	UserID              string `xml:"UserId" json:"UserId"`
	ARN                 string `xml:"Arn" json:"Arn"`
	CreateDate          wire.Time
	PermissionsBoundary *boundaryXML           `xml:",omitempty" json:",omitempty"`
	Tags                wire.List[account.Tag] `xml:",omitempty" json:",omitempty"`
}

func newUserXML(a *account.Account, u *account.User) userXML {
	return userXML{
		Path: u.Path, UserName: u.Name, UserID: u.ID, ARN: a.UserARN(u), CreateDate: wire.Time(u.Created),
		PermissionsBoundary: shownBoundary(u.Boundary), Tags: u.Tags,
	}
}

func createUser(q *service.Call) (any, error) {
	user := &account.User{
		Name:     q.Text("UserName", nameLimit),
		Path:     newPath(q),
		ID:       account.NewUserID(),
		Created:  q.Time.UTC(),
		Boundary: newBoundary(q),
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	if user.Tags, err = mergeTags(nil, tags); err != nil {
		return nil, err
	}
	err = q.Account.Update(func(state account.State) error {
		if _, err := state.User(user.Name); !errors.Is(err, account.ErrNotFound) {
			return orConflict(err, "User with name %s already exists.", user.Name)
		}
		return errors.Join(
			room(state.CountUsers(), "UsersPerAccount", maxUsers), checkNewBoundary(state, user.Boundary),
			state.PutUser(user),
		)
	})
	if err != nil {
		return nil, wrap(err, "create user %q", user.Name)
	}
	return userResult{newUserXML(q.Account, user)}, nil
}

func getUser(q *service.Call) (any, error) {
	name, err := ownName(q)
	if err != nil {
		return nil, err
	}
	var result userResult
	err = q.Account.View(func(state account.State) error {
		user, err := findUser(state, name)
		if err == nil {
			result.User = newUserXML(q.Account, user)
		}
		return err
	})
	return result, wrap(err, "read user %q", name)
}

type usersResult struct {
	Users wire.List[userXML]
	pageEnd
}

func listUsers(q *service.Call) (any, error) {
	users, end, err := listBelow(q, account.State.UsersAfter, func(u *account.User) (string, string) {
		return u.Path, u.Name
	})
	if err != nil {
		return nil, err
	}
	result := usersResult{pageEnd: end}
	for _, user := range users {
		shown := newUserXML(q.Account, user)
		shown.Tags, shown.PermissionsBoundary = nil, nil
		result.Users = append(result.Users, shown)
	}
	return result, nil
}

// updateUser renames or moves a user; its access keys and groups move with it,
// and policies that named it still refer to it.
func updateUser(q *service.Call) (any, error) {
	limit := nameLimit
	limit.Optional = true
	name, renamed, moved := q.Text("UserName", nameLimit), q.Text("NewUserName", limit), readPath(q, "NewPath")
	if err := q.Check(); err != nil {
		return nil, err
	}
	return nil, wrap(q.Account.Update(func(state account.State) error {
		user, err := findUser(state, name)
		if err != nil {
			return err
		}
		keys, err := state.Keys(user.Name)
		if err != nil {
			return err
		}
		if renamed != "" && !strings.EqualFold(renamed, user.Name) {
			if _, err := state.User(renamed); !errors.Is(err, account.ErrNotFound) {
				return orConflict(err, "User with name %s already exists.", renamed)
			}
		}
		if err := state.DeleteUser(user.Name); err != nil {
			return err
		}
		if renamed != "" {
			user.Name = renamed
		}
		if moved != "" {
			user.Path = moved
		}
		for _, key := range keys {
			key.User = user.Name
			if err := state.PutKey(key); err != nil {
				return err
			}
		}
		return state.PutUser(user)
	}), "update user %q", name)
}

func deleteUser(q *service.Call) (any, error) {
	return nil, users.update(q, "delete", func(state account.State, user *account.User) error {
		keys, err := state.Keys(user.Name)
		switch {
		case err != nil:
			return err
		case len(user.Groups) > 0:
			return deleteConflict("Cannot delete entity, must remove users from group first.")
		case len(keys) > 0:
			return deleteConflict("Cannot delete entity, must delete access keys first.")
		}
		return errors.Join(unburdened(user.Permissions), state.DeleteUser(user.Name))
	})
}

func deleteConflict(text string) error {
	return wire.Errorf(http.StatusConflict, "DeleteConflict", "%s", text)
}

// unburdened refuses an entity that still has policies.
func unburdened(permissions account.Permissions) error {
	switch {
	case len(permissions.Attached) > 0:
		return deleteConflict("Cannot delete entity, must detach all policies first.")
	case len(permissions.Policies) > 0:
		return deleteConflict("Cannot delete entity, must delete policies first.")
	}
	return nil
}

func listGroupsForUser(q *service.Call) (any, error) {
	name := q.Text("UserName", nameLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	var groups []*account.Group
	err := q.Account.View(func(state account.State) error {
		user, err := findUser(state, name)
		if err != nil {
			return err
		}
		for _, name := range user.Groups {
			group, err := state.Group(name)
			if err != nil {
				return err
			}
			groups = append(groups, group)
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err, "list groups of user %q", name)
	}
	slices.SortFunc(groups, func(a, b *account.Group) int { return strings.Compare(a.Name, b.Name) })
	return groupPage(q, groups)
}
