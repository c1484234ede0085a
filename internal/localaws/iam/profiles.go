package iam

import (
	"errors"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/service"
	"github.com/rolecall/rolecall/internal/localaws/wire"
)

func profileOperations() map[string]service.Operation {
	return map[string]service.Operation{
		"CreateInstanceProfile":         {Target: profileTarget, Do: createProfile},
		"GetInstanceProfile":            {Target: profileTarget, Do: getProfile},
		"ListInstanceProfiles":          {Target: below("instance-profile"), Do: listProfiles},
		"ListInstanceProfilesForRole":   {Target: roleKind().target, Do: listProfilesForRole},
		"DeleteInstanceProfile":         {Target: profileTarget, Do: deleteProfile},
		"AddRoleToInstanceProfile":      {Target: profileTarget, Do: addRole},
		"RemoveRoleFromInstanceProfile": {Target: profileTarget, Do: removeRole},
		"TagInstanceProfile":            {Target: profileTarget, Do: tagProfile},
		"UntagInstanceProfile":          {Target: profileTarget, Do: untagProfile},
		"ListInstanceProfileTags":       {Target: profileTarget, Do: listProfileTags},
	}
}

func profileTarget(q *service.Call) (service.Target, error) {
	one := &InstanceProfile{Name: q.Get("InstanceProfileName"), Path: q.Get("Path")}
	if one.Path == "" {
		one.Path = "/"
	}
	err := q.Account.View(func(state account.State) error {
		stored, err := Profile(state, one.Name)
		if err == nil {
			one = stored
		}
		return unlessNotFound(err)
	})
	return service.Target{ARN: profileARN(q.Account, one), Tags: one.Tags}, err
}

type profileResult struct{ InstanceProfile profileXML }

type profileXML struct {
	Path                string
	InstanceProfileName string
	InstanceProfileID   string `xml:"InstanceProfileId" json:"InstanceProfileId"`
	ARN                 string `xml:"Arn" json:"Arn"`
	CreateDate          wire.Time
	Roles               wire.List[roleXML]
	Tags                wire.List[account.Tag] `xml:",omitempty" json:",omitempty"`
}

func newProfileXML(state account.State, p *InstanceProfile) (profileXML, error) {
	a := state.Account()
	shown := profileXML{
		Path:                p.Path,
		InstanceProfileName: p.Name,
		InstanceProfileID:   p.ID,
		ARN:                 profileARN(a, p),
		CreateDate:          wire.Time(p.Created),
		Tags:                p.Tags,
	}
	if p.Role == "" {
		return shown, nil
	}
	role, err := state.Role(p.Role)
	if err != nil {
		return shown, err
	}
	role.Trust = ShownTrust(state, role)
	shown.Roles = append(shown.Roles, newRoleXML(a, role, false))
	return shown, nil
}

func createProfile(q *service.Call) (any, error) {
	one := &InstanceProfile{
		Name:    q.Text("InstanceProfileName", longNameLimit),
		Path:    newPath(q),
		ID:      NewProfileID(),
		Created: q.Time.UTC(),
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	if one.Tags, err = mergeTags(nil, tags); err != nil {
		return nil, err
	}
	var result profileResult
	err = q.Account.Update(func(state account.State) error {
		if _, err := Profile(state, one.Name); !errors.Is(err, account.ErrNotFound) {
			return orConflict(err, "Instance Profile %s already exists.", one.Name)
		}
		result.InstanceProfile, err = newProfileXML(state, one)
		return errors.Join(
			err, room(CountProfiles(state), "InstanceProfilesPerAccount", maxProfiles), PutProfile(state, one),
		)
	})
	if err != nil {
		return nil, wrap(err, "create instance profile %q", one.Name)
	}
	return result, nil
}

func findProfile(state account.State, name string) (*InstanceProfile, error) {
	one, err := Profile(state, name)
	if errors.Is(err, account.ErrNotFound) {
		return nil, noSuchEntity("Instance Profile %s cannot be found.", name)
	}
	return one, err
}

var profiles = named[*InstanceProfile]{"instance profile", "InstanceProfileName", longNameLimit, findProfile}

func getProfile(q *service.Call) (any, error) {
	var result profileResult
	err := profiles.view(q, func(state account.State, one *InstanceProfile) (err error) {
		result.InstanceProfile, err = newProfileXML(state, one)
		return err
	})
	return result, err
}

type profilesResult struct {
	InstanceProfiles wire.List[profileXML]
	pageEnd
}

func listProfiles(q *service.Call) (any, error) {
	found, end, err := listBelow(q, profilesAfter, func(p *InstanceProfile) (string, string) { return p.Path, p.Name })
	if err != nil {
		return nil, err
	}
	return profilesXML(q, found, end)
}

func profilesXML(q *service.Call, found []*InstanceProfile, end pageEnd) (any, error) {
	result := profilesResult{pageEnd: end}
	err := q.Account.View(func(state account.State) error {
		for _, one := range found {
			shown, err := newProfileXML(state, one)
			if err != nil {
				return err
			}
			shown.Tags = nil
			result.InstanceProfiles = append(result.InstanceProfiles, shown)
		}
		return nil
	})
	return result, wrap(err, "list instance profiles")
}

// profilesOf returns the instance profiles that hold a role.
func profilesOf(state account.State, role string) ([]*InstanceProfile, error) {
	found, err := profileRecords(state).Mentioning(role)
	return slices.DeleteFunc(found, func(p *InstanceProfile) bool { return !strings.EqualFold(p.Role, role) }), err
}

func listProfilesForRole(q *service.Call) (any, error) {
	name := q.Text("RoleName", nameLimit)
	if err := q.Check(); err != nil {
		return nil, err
	}
	var found []*InstanceProfile
	err := q.Account.View(func(state account.State) error {
		role, err := findRole(state, name)
		if err != nil {
			return err
		}
		found, err = profilesOf(state, role.Name)
		return err
	})
	if err != nil {
		return nil, wrap(err, "list instance profiles of role %q", name)
	}
	slices.SortFunc(found, func(a, b *InstanceProfile) int { return strings.Compare(a.Name, b.Name) })
	onPage, end, err := page(q, found, func(p *InstanceProfile) string { return p.Name })
	if err != nil {
		return nil, err
	}
	return profilesXML(q, onPage, end)
}

func deleteProfile(q *service.Call) (any, error) {
	return nil, profiles.update(q, "change", func(state account.State, one *InstanceProfile) error {
		if one.Role != "" {
			return deleteConflict("Cannot delete entity, must remove roles from instance profile first.")
		}
		return dropProfile(state, one.Name)
	})
}

func addRole(q *service.Call) (any, error) {
	name := q.Text("RoleName", nameLimit)
	return nil, profiles.update(q, "change", func(state account.State, one *InstanceProfile) error {
		role, err := findRole(state, name)
		if err != nil {
			return err
		}
		if one.Role != "" {
			return limitExceeded("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
		}
		one.Role = role.Name
		return PutProfile(state, one)
	})
}

func removeRole(q *service.Call) (any, error) {
	name := q.Text("RoleName", nameLimit)
	return nil, profiles.update(q, "change", func(state account.State, one *InstanceProfile) error {
		if one.Role == "" || !strings.EqualFold(one.Role, name) {
			return noSuchEntity("The role with name %s cannot be found.", name)
		}
		one.Role = ""
		return PutProfile(state, one)
	})
}

func tagProfile(q *service.Call) (any, error) {
	tags, err := readTags(q)
	if err != nil {
		return nil, err
	}
	return nil, profiles.update(q, "change", func(state account.State, one *InstanceProfile) (err error) {
		if one.Tags, err = mergeTags(one.Tags, tags); err != nil {
			return err
		}
		return PutProfile(state, one)
	})
}

func untagProfile(q *service.Call) (any, error) {
	return nil, profiles.update(q, "change", func(state account.State, one *InstanceProfile) error {
		one.Tags = removeTags(one.Tags, q.List("TagKeys"))
		return PutProfile(state, one)
	})
}

func listProfileTags(q *service.Call) (any, error) {
	var tags []account.Tag
	if err := profiles.view(q, func(_ account.State, one *InstanceProfile) error {
		tags = one.Tags
		return nil
	}); err != nil {
		return nil, err
	}
	return listTags(q, tags)
}
