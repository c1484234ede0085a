package iam

import (
	"errors"
	"time"

	"github.com/rolecall/rolecall/internal/arn"
	"github.com/rolecall/rolecall/internal/localaws/account"
)

// Tables of what an account has besides identities, which package account
// keeps since every service needs them.
var (
	profileTable  = account.Table{Name: "profile", Eventual: true} // by account.UniqueName
	aliasTable    = account.Table{Name: "alias", Eventual: true}   // the account's other name, under aliasKey
	deletionTable = account.Table{Name: "deletion"}                // tasks that deleted service-linked roles, by id
)

const aliasKey = "alias"

// InstanceProfile passes a role to an EC2 instance.
type InstanceProfile struct {
	Name, Path, ID string
	Role           string        // name; empty if there is none
	Tags           []account.Tag `json:",omitempty"`
	Created        time.Time
}

func profileARN(a *account.Account, p *InstanceProfile) string {
	return arn.ARN{
		Partition: a.Partition,
		Service:   "iam",
		Account:   a.ID,
		Resource:  "instance-profile" + p.Path + p.Name,
	}.String()
}

// NewProfileID returns an instance profile's unique id: AIPA and 17 characters.
func NewProfileID() string { return account.NewID("AIPA") }

func profileRecords(s account.State) account.Records[InstanceProfile] {
	return account.In[InstanceProfile](s, profileTable)
}

// Profile returns an instance profile by name, in any letter case, or
// account.ErrNotFound.
func Profile(s account.State, name string) (*InstanceProfile, error) {
	return profileRecords(s).Get(account.UniqueName(name))
}

// Profiles returns all instance profiles by name.
func Profiles(s account.State) ([]*InstanceProfile, error) { return profileRecords(s).All() }

func profilesAfter(s account.State, name string, f func(*InstanceProfile) (more bool)) error {
	return profileRecords(s).After(account.UniqueName(name), f)
}

// CountProfiles returns how many instance profiles there are.
func CountProfiles(s account.State) int { return profileRecords(s).Count() }

// PutProfile creates or replaces an instance profile.
func PutProfile(s account.State, one *InstanceProfile) error {
	return profileRecords(s).Put(account.UniqueName(one.Name), one)
}

func dropProfile(s account.State, name string) error {
	return profileRecords(s).Delete(account.UniqueName(name))
}

// aliasOf returns the account's alias; empty if it has none.
func aliasOf(s account.State) (string, error) {
	found, err := account.In[string](s, aliasTable).Get(aliasKey)
	if errors.Is(err, account.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return *found, nil
}

// setAlias gives the account an alias, or removes it.
func setAlias(s account.State, alias string) error {
	aliases := account.In[string](s, aliasTable)
	if alias == "" {
		return aliases.Delete(aliasKey)
	}
	return aliases.Put(aliasKey, &alias)
}

// addDeletion notes that a task deleted a service-linked role.
func addDeletion(s account.State, task string) error {
	return account.In[struct{}](s, deletionTable).Put(task, &struct{}{})
}

// hasDeletion reports whether there was such a task.
func hasDeletion(s account.State, task string) bool { return deletionTable.Bytes(s).Get(task) != nil }

// arnOf returns the ARN that the user or role of a unique id has now, or
// account.ErrNotFound. It looks at all of them.
func arnOf(s account.State, id string) (string, error) {
	users, err := s.UsersMentioning(id)
	for _, one := range users {
		if one.ID == id {
			return s.Account().UserARN(one), nil
		}
	}
	roles, err2 := s.RolesMentioning(id)
	for _, one := range roles {
		if one.ID == id {
			return s.Account().RoleARN(one), nil
		}
	}
	return "", errors.Join(err, err2, account.ErrNotFound)
}

// countVersions returns how many versions all managed policies have together.
func countVersions(s account.State) (int, error) {
	count := 0
	all, err := s.Policies()
	for _, one := range all {
		count += len(one.Versions)
	}
	return count, err
}
