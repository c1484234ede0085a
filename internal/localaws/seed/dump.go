package seed

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/internal/localaws/account"
	"github.com/rolecall/rolecall/internal/localaws/iam"
)

// Dump returns the accounts as a file that makes them again, secret keys
// included. It has no unique ids, and only the default versions of managed
// policies.
func Dump(set *account.Set) ([]byte, error) {
	var file File
	err := set.View(func(state account.State) error {
		for _, one := range set.All() {
			of, err := state.In(one.ID)
			if err != nil {
				return err
			}
			declared, err := dumpAccount(of)
			if err != nil {
				return fmt.Errorf("account %s: %w", one.ID, err)
			}
			file.Accounts = append(file.Accounts, declared)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(file); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

func dumpAccount(state account.State) (Account, error) {
	declared := Account{ID: state.Account().ID}
	providers, err := state.Providers()
	if err != nil {
		return declared, err
	}
	for _, one := range providers {
		declared.Providers = append(declared.Providers, Provider{
			URL:         "https://" + one.IssuerID,
			ClientIDs:   one.ClientIDs,
			Thumbprints: one.Thumbprints,
			Tags:        tagMap(one.Tags),
		})
	}
	policies, err := state.Policies()
	if err != nil {
		return declared, err
	}
	for _, one := range policies {
		declared.Policies = append(declared.Policies, Policy{
			Name:        one.Name,
			Path:        path(one.Path),
			Description: one.Description,
			Document:    Document(one.Default().Text),
			Tags:        tagMap(one.Tags),
		})
	}
	groups, err := state.Groups()
	if err != nil {
		return declared, err
	}
	for _, one := range groups {
		declared.Groups = append(declared.Groups, Group{one.Name, path(one.Path), permissions(one.Permissions)})
	}
	if err := dumpUsers(state, &declared); err != nil {
		return declared, err
	}
	roles, err := state.Roles()
	if err != nil {
		return declared, err
	}
	for _, one := range roles {
		role := Role{
			Name:        one.Name,
			Path:        path(one.Path),
			Description: one.Description,
			Trust:       Document(iam.ShownTrust(state, one)),
			Permissions: permissions(one.Permissions),
			Boundary:    one.Boundary,
			MaxSession:  one.MaxSession,
			Tags:        tagMap(one.Tags),
		}
		if role.MaxSession == 3600 {
			role.MaxSession = 0
		}
		declared.Roles = append(declared.Roles, role)
	}
	profiles, err := iam.Profiles(state)
	for _, one := range profiles {
		declared.InstanceProfiles = append(declared.InstanceProfiles, InstanceProfile{
			Name: one.Name,
			Path: path(one.Path),
			Role: one.Role,
			Tags: tagMap(one.Tags),
		})
	}
	if err != nil {
		return declared, err
	}
	declared.Clusters, err = dumpClusters(state)
	return declared, err
}

func dumpUsers(state account.State, declared *Account) error {
	users, err := state.Users()
	if err != nil {
		return err
	}
	for _, one := range users {
		user := User{
			Name:        one.Name,
			Path:        path(one.Path),
			Permissions: permissions(one.Permissions),
			Boundary:    one.Boundary,
			Groups:      one.Groups,
			Tags:        tagMap(one.Tags),
		}
		keys, err := state.Keys(one.Name)
		if err != nil {
			return err
		}
		for _, key := range keys {
			user.AccessKeys = append(user.AccessKeys, AccessKey{key.ID, key.Secret.Reveal(), key.Inactive})
		}
		declared.Users = append(declared.Users, user)
	}
	return nil
}

// path leaves out the default path.
func path(text string) string {
	if text == "/" {
		return ""
	}
	return text
}

func permissions(given account.Permissions) Permissions {
	declared := Permissions{Attached: given.Attached}
	for _, one := range given.Policies {
		if declared.Inline == nil {
			declared.Inline = map[string]Document{}
		}
		declared.Inline[one.Name] = Document(one.Text)
	}
	return declared
}

func tagMap(tags []account.Tag) map[string]string {
	var byKey map[string]string
	for _, tag := range tags {
		if byKey == nil {
			byKey = map[string]string{}
		}
		byKey[tag.Key] = tag.Value
	}
	return byKey
}
