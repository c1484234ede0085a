package iam

import (
	"errors"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func groupOperations() map[string]service.Operation {
	group := groupKind().target
	return map[string]service.Operation{
		"CreateGroup":         {Target: group, Do: createGroup},
		"GetGroup":            {Target: group, Do: getGroup},
		"ListGroups":          {Target: below("group"), Do: listGroups},
		"UpdateGroup":         {Target: group, Do: updateGroup},
		"DeleteGroup":         {Target: group, Do: deleteGroup},
		"AddUserToGroup":      {Target: group, Do: addUserToGroup},
		"RemoveUserFromGroup": {Target: group, Do: removeUserFromGroup},
	}
}

var groups = named[*account.Group]{"group", "GroupName", longNameLimit, findGroup}

func findGroup(state account.State, name string) (*account.Group, error) {
	group, err := state.Group(name)
	if errors.Is(err, account.ErrNotFound) {
		return nil, noSuchEntity("The group with name %s cannot be found.", name)
	}
	return group, err
}

type groupXML struct {
	Path       string
	GroupName  string
	GroupID    string `xml:"GroupId" json:"GroupId"`
	ARN        string `xml:"Arn" json:"Arn"`
	CreateDate wire.Time
}

func newGroupXML(a *account.Account, g *account.Group) groupXML {
	return groupXML{g.Path, g.Name, g.ID, a.GroupARN(g), wire.Time(g.Created)}
}

type groupResult struct{ Group groupXML }

func createGroup(q *service.Call) (any, error) {
	group := &account.Group{
		Name:    q.Text("GroupName", longNameLimit),
		Path:    newPath(q),
		ID:      account.NewGroupID(),
		Created: q.Time.UTC(),
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	err := q.Account.Update(func(state account.State) error {
		if _, err := state.Group(group.Name); !errors.Is(err, account.ErrNotFound) {
			return orConflict(err, "Group with name %s already exists.", group.Name)
		}
		return errors.Join(room(state.CountGroups(), "GroupsPerAccount", maxAllGroups), state.PutGroup(group))
	})
	if err != nil {
		return nil, wrap(err, "create group %q", group.Name)
	}
	return groupResult{newGroupXML(q.Account, group)}, nil
}

// members returns the users that are in a group, by name.
func members(state account.State, group string) ([]*account.User, error) {
	users, err := state.Users()
	return slices.DeleteFunc(users, func(u *account.User) bool { return !inGroup(u, group) }), err
}

func inGroup(u *account.User, group string) bool {
	return slices.ContainsFunc(u.Groups, func(name string) bool { return strings.EqualFold(name, group) })
}

type groupWithUsers struct {
	Group groupXML
	Users wire.List[userXML]
	pageEnd
}

func getGroup(q *service.Call) (any, error) {
	name := q.Text("GroupName", longNameLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	var result groupWithUsers
	var users []*account.User
	err := q.Account.View(func(state account.State) error {
		group, err := findGroup(state, name)
		if err != nil {
			return err
		}
		result.Group = newGroupXML(q.Account, group)
		users, err = members(state, group.Name)
		return err
	})
	if err != nil {
		return nil, wrap(err, "read group %q", name)
	}
	slices.SortFunc(users, func(a, b *account.User) int { return strings.Compare(a.Name, b.Name) })
	onPage, end, err := page(q, users, func(u *account.User) string { return u.Name })
	if err != nil {
		return nil, err
	}
	result.pageEnd = end
	for _, user := range onPage {
		shown := newUserXML(q.Account, user)
		shown.Tags, shown.PermissionsBoundary = nil, nil
		result.Users = append(result.Users, shown)
	}
	return result, nil
}

type groupsResult struct {
	Groups wire.List[groupXML]
	pageEnd
}

func listGroups(q *service.Call) (any, error) {
	groups, end, err := listBelow(q, account.State.GroupsAfter, func(g *account.Group) (string, string) {
		return g.Path, g.Name
	})
	if err != nil {
		return nil, err
	}
	return groupsXML(q, groups, end), nil
}

func groupPage(q *service.Call, groups []*account.Group) (any, error) {
	onPage, end, err := page(q, groups, func(g *account.Group) string { return g.Name })
	if err != nil {
		return nil, err
	}
	return groupsXML(q, onPage, end), nil
}

func groupsXML(q *service.Call, groups []*account.Group, end pageEnd) groupsResult {
	result := groupsResult{pageEnd: end}
	for _, group := range groups {
		result.Groups = append(result.Groups, newGroupXML(q.Account, group))
	}
	return result
}

func updateGroup(q *service.Call) (any, error) {
	limit := longNameLimit
	limit.Optional = true
	name, renamed, moved := q.Text("GroupName", longNameLimit), q.Text("NewGroupName", limit), readPath(q, "NewPath")
	if err := q.Check(); err != nil {
		return nil, err
	}
	return nil, wrap(q.Account.Update(func(state account.State) error {
		group, err := findGroup(state, name)
		if err != nil {
			return err
		}
		if moved != "" {
			group.Path = moved
		}
		if renamed == "" || renamed == group.Name {
			return state.PutGroup(group)
		}
		if _, err := state.Group(renamed); !strings.EqualFold(renamed, group.Name) &&
			!errors.Is(err, account.ErrNotFound) {
			return orConflict(err, "Group with name %s already exists.", renamed)
		}
		users, err := members(state, group.Name)
		if err != nil {
			return err
		}
		for _, user := range users {
			user.Groups = append(without(user.Groups, group.Name), renamed)
			if err := state.PutUser(user); err != nil {
				return err
			}
		}
		if err := state.DeleteGroup(group.Name); err != nil {
			return err
		}
		group.Name = renamed
		return state.PutGroup(group)
	}), "update group %q", name)
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(names, func(one string) bool { return strings.EqualFold(one, name) })
}

func deleteGroup(q *service.Call) (any, error) {
	return nil, groups.update(q, "delete", func(state account.State, group *account.Group) error {
		users, err := members(state, group.Name)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return deleteConflict("Cannot delete entity, must remove users from group first.")
		}
		return errors.Join(unburdened(group.Permissions), state.DeleteGroup(group.Name))
	})
}

// onMember changes the membership of the request's user and group.
func onMember(q *service.Call, change func(*account.User, *account.Group) error) (any, error) {
	name, user := q.Text("GroupName", longNameLimit), q.Text("UserName", nameLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	return nil, wrap(q.Account.Update(func(state account.State) error {
		group, err := findGroup(state, name)
		if err != nil {
			return err
		}
		member, err := findUser(state, user)
		if err != nil {
			return err
		}
		return errors.Join(change(member, group), state.PutUser(member))
	}), "change who is in group %q", name)
}

func addUserToGroup(q *service.Call) (any, error) {
	return onMember(q, func(user *account.User, group *account.Group) error {
		if inGroup(user, group.Name) {
			return nil
		}
		if len(user.Groups) >= maxGroups {
			return limitExceeded("Cannot exceed quota for GroupsPerUser: %d", maxGroups)
		}
		user.Groups = append(user.Groups, group.Name)
		return nil
	})
}

func removeUserFromGroup(q *service.Call) (any, error) {
	return onMember(q, func(user *account.User, group *account.Group) error {
		user.Groups = without(user.Groups, group.Name)
		return nil
	})
}
