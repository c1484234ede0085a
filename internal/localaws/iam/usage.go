package iam

import (
	"errors"
	"slices"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

// usage is how many users, groups and roles have each managed policy, by ARN.
type usage struct{ attached, boundary map[string]int }

// countUsage counts for all policies, or for one only, which is quicker.
func countUsage(state account.State, arn string) (usage, error) {
	used := usage{map[string]int{}, map[string]int{}}
	err := eachHolder(state, arn, func(_ string, _, _ string, permissions account.Permissions, boundary string) {
		for _, arn := range permissions.Attached {
			used.attached[arn]++
		}
		if boundary != "" {
			used.boundary[boundary]++
		}
	})
	return used, err
}

// eachHolder calls f for every user, group and role of the account, or those
// that mention a policy.
func eachHolder(
	state account.State, arn string, f func(word, name, id string, permissions account.Permissions, boundary string),
) error {
	usersOf, groupsOf, rolesOf := state.UsersMentioning, state.GroupsMentioning, state.RolesMentioning
	if arn == "" {
		usersOf = func(string) ([]*account.User, error) { return state.Users() }
		groupsOf = func(string) ([]*account.Group, error) { return state.Groups() }
		rolesOf = func(string) ([]*account.Role, error) { return state.Roles() }
	}
	users, err := usersOf(arn)
	for _, one := range users {
		f("User", one.Name, one.ID, one.Permissions, one.Boundary)
	}
	groups, err2 := groupsOf(arn)
	for _, one := range groups {
		f("Group", one.Name, one.ID, one.Permissions, "")
	}
	roles, err3 := rolesOf(arn)
	for _, one := range roles {
		f("Role", one.Name, one.ID, one.Permissions, one.Boundary)
	}
	return errors.Join(err, err2, err3)
}

type entitiesResult struct {
	PolicyGroups wire.List[entityGroup]
	PolicyUsers  wire.List[entityUser]
	PolicyRoles  wire.List[entityRole]
	pageEnd
}

type entityGroup struct {
	GroupName string
	GroupID   string `xml:"GroupId" json:"GroupId"`
}

type entityUser struct {
	UserName string
	UserID   string `xml:"UserId" json:"UserId"`
}

type entityRole struct {
	RoleName string
	RoleID   string `xml:"RoleId" json:"RoleId"`
}

func listEntities(q *service.Call) (any, error) {
	type entity struct{ word, name, id string }
	var found []entity
	err := policies.view(q, func(state account.State, _ *account.ManagedPolicy) error {
		arn, filter, asBoundary := q.Get("PolicyArn"), q.Get("EntityFilter"), q.Get("PolicyUsageFilter")
		return eachHolder(state, arn, func(word, name, id string, permissions account.Permissions, boundary string) {
			attached := slices.Contains(permissions.Attached, arn) && asBoundary != "PermissionsBoundary"
			limited := boundary == arn && asBoundary != "PermissionsPolicy"
			if (attached || limited) && (filter == "" || filter == word) {
				found = append(found, entity{word, name, id})
			}
		})
	})
	if err != nil {
		return nil, err
	}
	onPage, end, err := pageUnsorted(q, found, func(e entity) string { return e.word + "/" + e.name })
	result := entitiesResult{pageEnd: end}
	for _, one := range onPage {
		switch one.word {
		case "User":
			result.PolicyUsers = append(result.PolicyUsers, entityUser{one.name, one.id})
		case "Group":
			result.PolicyGroups = append(result.PolicyGroups, entityGroup{one.name, one.id})
		default:
			result.PolicyRoles = append(result.PolicyRoles, entityRole{one.name, one.id})
		}
	}
	return result, err
}
